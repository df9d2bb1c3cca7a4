"""Who may ask: passwords and the token bucket, without a server around them."""

from __future__ import annotations

import asyncio
import base64
import threading

import bcrypt
import pytest

from exporter.simulation import ManualClock
from exporter.web import access
from exporter.web.access import Access, Bucket, parse_basic
from exporter.web.config import RateLimit, WebConfig
from exporter.web.message import Request

PASSWORD = "correct horse"  # noqa: S105 - nobody's
CHEAP = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
CONFIG = WebConfig(basic_auth_users={"alice": CHEAP})


def basic(user: str, password: str) -> dict[str, str]:
    """Return the headers that a client sends."""
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"authorization": f"Basic {encoded}"}


def status(rights: Access, headers: dict[str, str] | None = None) -> int:
    """Ask once."""
    request = Request(method="GET", path="/", headers=headers or {})
    refusal = asyncio.run(rights.refusal(request))
    return refusal.status if refusal else 200


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Count what bcrypt is asked."""
    seen: list[bytes] = []
    real = bcrypt.checkpw

    def counting(password: bytes, hashed: bytes) -> bool:
        seen.append(password)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    return seen


def test_a_password_is_verified_once(checks: list[bytes]) -> None:
    """What was right is remembered; what was wrong is asked again."""
    rights = Access(CONFIG)

    assert [status(rights, basic("alice", PASSWORD)) for _ in range(3)] == [200] * 3
    assert len(checks) == 1
    assert [status(rights, basic("alice", "wrong")) for _ in range(2)] == [401] * 2
    assert len(checks) == 3


def test_an_unknown_user_takes_as_long(checks: list[bytes]) -> None:
    """Nobody learns by time which names there are."""
    assert status(Access(CONFIG), basic("bob", PASSWORD)) == 401
    assert len(checks) == 1


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic ", "Bearer x", "Basic ???", "Basic YWxpY2U=", "Basic " + "A" * 5000],
)
def test_what_is_no_password_is_not_verified(header: str, checks: list[bytes]) -> None:
    """It is asked for."""
    request = Request(method="GET", path="/", headers={"authorization": header})
    refusal = asyncio.run(Access(CONFIG).refusal(request))

    assert refusal is not None
    assert refusal.status == 401
    assert ("www-authenticate", "Basic") in refusal.headers
    assert not checks


def test_odd_passwords_are_wrong_and_no_errors() -> None:
    """A null byte, more than bcrypt takes, bytes that are no text."""
    rights = Access(CONFIG)
    for password in ("\0", "x" * 500, "ü", ":"):
        assert status(rights, basic("alice", password)) == 401
    assert parse_basic("Basic " + base64.b64encode(b"\xff:\xff").decode()) == (
        "\udcff",
        b"\xff",
    )


def test_of_a_long_password_the_first_72_bytes_count() -> None:
    """As for htpasswd, which wrote the hash, and for Go."""
    hashed = bcrypt.hashpw(b"y" * 72, bcrypt.gensalt(4)).decode()
    rights = Access(WebConfig(basic_auth_users={"alice": hashed}))

    assert status(rights, basic("alice", "y" * 100)) == 200
    assert status(rights, basic("alice", "y" * 71)) == 401


def test_a_crowd_that_guesses_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of queued; who is known already is let in meanwhile."""
    rights, go_on = Access(CONFIG), threading.Event()
    assert status(rights, basic("alice", PASSWORD)) == 200
    monkeypatch.setattr(bcrypt, "checkpw", lambda *_: go_on.wait(10) and False)

    async def crowd() -> list[int]:
        def ask(password: str) -> asyncio.Task[int]:
            return asyncio.create_task(one(password))

        async def one(password: str) -> int:
            request = Request(method="GET", path="/", headers=basic("alice", password))
            refusal = await rights.refusal(request)
            return refusal.status if refusal else 200

        waiting = [ask(f"guess {number}") for number in range(access.MAX_WAITING)]
        await asyncio.sleep(0)
        late, known = await ask("one more"), await ask(PASSWORD)
        go_on.set()
        return [late, known, *await asyncio.gather(*waiting)]

    assert asyncio.run(crowd()) == [429, 200, *[401] * access.MAX_WAITING]


def test_the_bucket_gives_a_burst_and_then_one_each_interval() -> None:
    """And never more than the burst, however long nobody asked."""
    clock = ManualClock()
    bucket = Bucket(2.0, 3, clock=clock)

    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock.now += 2.0
    assert [bucket.take() for _ in range(2)] == [True, False]
    clock.now += 1000.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_above_the_rate_nobody_is_verified(checks: list[bytes]) -> None:
    """The cheap refusal comes first."""
    limited = RateLimit(interval="1h", burst=1)
    rights = Access(WebConfig(basic_auth_users={"alice": CHEAP}, rate_limit=limited))

    assert status(rights, basic("alice", "wrong")) == 401
    assert status(rights, basic("alice", PASSWORD)) == 429
    assert len(checks) == 1
