"""Who may ask: passwords and the token bucket, without a server around them."""

from __future__ import annotations

import asyncio
import base64
import threading

import bcrypt
import pytest

from exporter.simulation import ManualClock
from exporter.web.access import (
    MAX_WAITING,
    Access,
    Bucket,
    check,
    cost_of,
    nobodys_hash,
    parse_basic,
)
from exporter.web.config import RateLimit, WebConfig
from exporter.web.message import Request
from tests.waiting import PATIENCE_SECONDS

PASSWORD = "correct horse"  # noqa: S105 - nobody's
CHEAP = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
CONFIG = WebConfig(basic_auth_users={"alice": CHEAP})


def basic(user: str, password: str) -> dict[str, str]:
    """Return the headers that a client sends."""
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"authorization": f"Basic {encoded}"}


async def ask(rights: Access, user: str, password: str, origin: str = "here") -> int:
    """Ask once, from a host."""
    request = Request(method="GET", path="/", headers=basic(user, password), origin=origin)
    refusal = await rights.refusal(request)
    return refusal.status if refusal else 200


def status(rights: Access, user: str, password: str) -> int:
    """Ask once, with nobody else there."""
    return asyncio.run(ask(rights, user, password))


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the cost of each hash that bcrypt is asked about."""
    seen: list[int] = []
    real = bcrypt.checkpw

    def counting(password: bytes, hashed: bytes) -> bool:
        seen.append(cost_of(hashed))
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    return seen


def test_a_password_is_verified_once(checks: list[int]) -> None:
    """What was right is remembered; what was wrong is asked again."""
    rights = Access(CONFIG)

    assert [status(rights, "alice", PASSWORD) for _ in range(3)] == [200] * 3
    assert len(checks) == 1
    assert [status(rights, "alice", "wrong") for _ in range(2)] == [401] * 2
    assert len(checks) == 3


@pytest.mark.parametrize("user", ["cheap", "middling", "dear", "nobody", ""])
def test_a_wrong_password_takes_as_long_for_every_name(user: str, checks: list[int]) -> None:
    """Nobody learns by time which names there are: the dearest hash of all is the measure."""
    costs = {"cheap": 4, "middling": 6, "dear": 7}
    users = {
        name: bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(cost)).decode()
        for name, cost in costs.items()
    }
    rights = Access(WebConfig(basic_auth_users=users))

    assert status(rights, user, "wrong") == 401
    assert sum(2**cost for cost in checks) == 2**7
    checks.clear()
    assert status(rights, user, PASSWORD) == (200 if user in costs else 401)
    assert checks == [costs.get(user, 7)]


def test_nobodys_password_is_never_right() -> None:
    """Also not one that happens to fit the hash that stands for an unknown user."""
    hashed = bcrypt.hashpw(b"known", nobodys_hash(4)[:29])

    assert len(hashed) == len(nobodys_hash(4))
    assert not check({"alice": CHEAP.encode()}, "bob", b"known")


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic ", "Bearer x", "Basic ???", "Basic YWxpY2U=", "Basic " + "A" * 5000],
)
def test_what_is_no_password_is_not_verified(header: str, checks: list[int]) -> None:
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
        assert status(rights, "alice", password) == 401
    assert parse_basic("Basic " + base64.b64encode(b"\xff:\xff").decode()) == (
        "\udcff",
        b"\xff",
    )


def test_of_a_long_password_the_first_72_bytes_count() -> None:
    """As for htpasswd, which wrote the hash, and for Go."""
    hashed = bcrypt.hashpw(b"y" * 72, bcrypt.gensalt(4)).decode()
    rights = Access(WebConfig(basic_auth_users={"alice": hashed}))

    assert status(rights, "alice", "y" * 100) == 200
    assert status(rights, "alice", "y" * 71) == 401


class Bcrypt:
    """Takes the place of bcrypt; each check lasts until it is let go."""

    def __init__(self) -> None:
        self.go_on = threading.Semaphore(0)
        self.asked: list[bytes] = []

    def checkpw(self, password: bytes, _hashed: bytes) -> bool:
        """Be the slow function; with cost 4 for all, it is called once for a password."""
        self.asked.append(password)
        assert self.go_on.acquire(timeout=PATIENCE_SECONDS)
        return password == PASSWORD.encode()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Bcrypt:
    """Slow bcrypt down as far as the test likes."""
    made = Bcrypt()
    monkeypatch.setattr(bcrypt, "checkpw", made.checkpw)
    return made


async def settle(tasks: list[asyncio.Task[int]]) -> None:
    """Let each task go as far as it can without a check's end."""
    for _ in range(3 * len(tasks) + 3):
        await asyncio.sleep(0)


def test_hosts_take_turns(slow: Bcrypt) -> None:
    """Another host waits for the check under way and one more, however many guess."""
    rights = Access(CONFIG)

    async def crowd() -> list[int]:
        tasks = [
            asyncio.create_task(ask(rights, "alice", f"guess {number}", "there"))
            for number in range(6)
        ]
        await settle(tasks)
        tasks.append(asyncio.create_task(ask(rights, "alice", PASSWORD, "here")))
        await settle(tasks)
        slow.go_on.release(3)  # for both, and for its own
        first = await asyncio.wait_for(tasks[-1], PATIENCE_SECONDS)
        slow.go_on.release(9)
        return [first, *await asyncio.gather(*tasks[:-1])]

    assert asyncio.run(crowd()) == [200, *[401] * 6]
    assert slow.asked[2] == PASSWORD.encode()


def test_a_crowd_of_one_host_is_turned_away(slow: Bcrypt) -> None:
    """Instead of queued; who is known already is let in meanwhile, and other hosts may wait."""
    rights = Access(CONFIG)
    slow.go_on.release()
    assert status(rights, "alice", PASSWORD) == 200

    async def crowd() -> list[int]:
        # One more than may wait: the first is being checked.
        tasks = [
            asyncio.create_task(ask(rights, "alice", f"guess {number}", "there"))
            for number in range(MAX_WAITING + 1)
        ]
        await settle(tasks)
        late = await ask(rights, "alice", "one more", "there")
        known = await ask(rights, "alice", PASSWORD, "there")
        elsewhere = asyncio.create_task(ask(rights, "alice", "wrong", "elsewhere"))
        await settle([*tasks, elsewhere])
        slow.go_on.release(MAX_WAITING + 2)
        return [late, known, await elsewhere, *await asyncio.gather(*tasks)]

    assert asyncio.run(crowd()) == [429, 200, 401, *[401] * (MAX_WAITING + 1)]


def test_who_leaves_gives_up_the_turn(slow: Bcrypt) -> None:
    """Whether it waits, or has just been given its turn, or is being checked."""
    rights = Access(CONFIG)

    async def crowd() -> int:
        tasks = [
            asyncio.create_task(ask(rights, "alice", f"guess {number}", f"host {number}"))
            for number in range(4)
        ]
        await settle(tasks)
        for task in (tasks[2], tasks[0]):  # the one under way hands over to the second
            task.cancel()
        await asyncio.sleep(0)
        tasks[1].cancel()
        slow.go_on.release(9)
        await asyncio.gather(*tasks, return_exceptions=True)
        return await asyncio.wait_for(ask(rights, "alice", PASSWORD), PATIENCE_SECONDS)

    assert asyncio.run(crowd()) == 200


def test_a_password_that_two_requests_bring_is_verified_once(checks: list[int]) -> None:
    """As of a scraper's two connections after a restart."""
    rights = Access(CONFIG)

    async def both() -> list[int]:
        return await asyncio.gather(*(ask(rights, "alice", PASSWORD) for _ in range(2)))

    assert asyncio.run(both()) == [200, 200]
    assert len(checks) == 1


def test_who_was_right_stays_known_while_the_hash_does(checks: list[int]) -> None:
    """Through reloads of the configuration, that of other users included."""
    first = Access(CONFIG)
    assert status(first, "alice", PASSWORD) == 200
    other = WebConfig(basic_auth_users={"alice": CHEAP, "bob": CHEAP})
    second = Access(other, first.verifier)
    assert status(second, "alice", PASSWORD) == 200
    assert len(checks) == 1
    # The same password by another hash is another matter, as is none.
    new = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
    third = Access(WebConfig(basic_auth_users={"alice": new}), second.verifier)
    assert status(third, "alice", PASSWORD) == 401
    fourth = Access(WebConfig(basic_auth_users={"bob": CHEAP}), third.verifier)
    assert status(fourth, "alice", PASSWORD) == 401
    assert status(fourth, "bob", PASSWORD) == 200


def test_the_bucket_gives_a_burst_and_then_one_each_interval() -> None:
    """And never more than the burst, however long nobody asked."""
    clock = ManualClock()
    bucket = Bucket(2.0, 3, clock=clock)

    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock.now += 2.0
    assert [bucket.take() for _ in range(2)] == [True, False]
    clock.now += 1000.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_above_the_rate_nobody_is_verified(checks: list[int]) -> None:
    """The cheap refusal comes first."""
    limited = RateLimit(interval="1h", burst=1)
    rights = Access(WebConfig(basic_auth_users={"alice": CHEAP}, rate_limit=limited))

    assert status(rights, "alice", "wrong") == 401
    assert status(rights, "alice", PASSWORD) == 429
    assert len(checks) == 1
