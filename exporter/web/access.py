"""Who may ask, and how often: HTTP's basic authentication, and a token bucket for all.

Verifying a password takes a tenth of a second of processor time by design. It is done in one
thread, so that requests which need none of it go on. The hosts that ask take turns, so that
one that guesses does not shut out another that knows; what was right once is remembered.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from exporter.web.config import WebConfig
from exporter.web.message import Request, Response, text

# Of one host, the last one included; all together are bounded by the connections.
MAX_WAITING = 8
MAX_REMEMBERED = 100
MAX_BCRYPT_BYTES = 72  # what follows counts neither in Go nor in htpasswd
MAX_CREDENTIALS_BYTES = 1024
LOWEST_COST = 4

Credentials = tuple[str, bytes]


class Access:
    """Decides for each request; `refusal` is None where it may be answered.

    `verifier` is the one of the configuration before, which knows who was right.
    """

    def __init__(
        self,
        config: WebConfig,
        verifier: Verifier | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._users = {user: key.encode() for user, key in config.basic_auth_users.items()}
        limit = config.rate_limit
        self._bucket = Bucket(limit.interval_seconds, limit.burst, clock=clock)
        self.verifier = verifier or Verifier()

    async def refusal(self, request: Request) -> Response | None:
        """Say why a request is not answered."""
        if not self._bucket.take():
            return text("Too many requests", 429)
        if not self._users:
            return None
        credentials = parse_basic(request.header("authorization"))
        if credentials is None:
            return _unauthorized()
        is_right = await self.verifier.is_right(
            self._users, *credentials, origin=request.origin
        )
        if is_right is None:
            return text("Too many requests that need a password verified", 429)
        return None if is_right else _unauthorized()


def _unauthorized() -> Response:
    return text("Unauthorized", 401, **{"www-authenticate": "Basic"})


class Bucket:
    """A token for each request: `burst` at once, and one more every `interval_seconds`."""

    def __init__(
        self, interval_seconds: float, burst: int, *, clock: Callable[[], float]
    ) -> None:
        self._interval = interval_seconds
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._at = clock()

    def take(self) -> bool:
        """Take a token; false if there is none. Without an interval there always is one."""
        if not self._interval:
            return True
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) / self._interval)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Verifier:
    """Holds passwords against bcrypt's hashes, one at a time; for an event loop's thread.

    `users` are hashes by name. What was right counts as long as the user has the same hash.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="bcrypt")
        self._secret = os.urandom(32)
        self._right: dict[bytes, None] = {}
        # Who waits for the thread, by host; the host whose turn is next comes first.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._is_busy = False

    async def is_right(
        self, users: Mapping[str, bytes], user: str, password: bytes, *, origin: str
    ) -> bool | None:
        """Whether this is the user's password; None: too many of its host wait to know."""
        key = self._key(users.get(user, b""), user, password)
        if key in self._right:
            return True
        if len(self._waiting.get(origin, ())) >= MAX_WAITING:
            return None
        await self._take_turn(origin)
        try:
            if key in self._right:  # of the same scraper's other connection
                return True
            loop = asyncio.get_running_loop()
            is_right = await loop.run_in_executor(self._executor, check, users, user, password)
        finally:
            self._give_turn()
        if is_right:
            while len(self._right) >= MAX_REMEMBERED:
                del self._right[next(iter(self._right))]
            self._right[key] = None
        return is_right

    async def _take_turn(self, origin: str) -> None:
        """Wait until the thread is free, and those of the other hosts have had theirs."""
        if not self._is_busy:
            self._is_busy = True
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(origin, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_turn()
            raise

    def _give_turn(self) -> None:
        """Let the next one have the thread: the first of the host that has waited longest."""
        while self._waiting:
            origin, turns = next(iter(self._waiting.items()))
            del self._waiting[origin]
            turn = turns.popleft()
            if turns:  # the others' turn first
                self._waiting[origin] = turns
            if not turn.done():  # else its client has left
                turn.set_result(None)
                return
        self._is_busy = False

    def _key(self, hashed: bytes, user: str, password: bytes) -> bytes:
        """Remember no password: what is right once is known by a hash of this process' own."""
        name = user.encode("utf-8", "surrogateescape")
        words = (hashed, name, password[:MAX_BCRYPT_BYTES])
        message = b"".join(len(word).to_bytes(4, "big") + word for word in words)
        return hmac.new(self._secret, message, hashlib.sha256).digest()


def check(users: Mapping[str, bytes], user: str, password: bytes) -> bool:
    """Hold a password against its user's hash.

    What is wrong takes as long as the dearest hash of all, so that nobody learns by time which
    names there are: after a cheaper one of cost N, hashes of cost N, N + 1, … add up to it.
    """
    import bcrypt  # noqa: PLC0415 - nobody without users needs it

    password = password[:MAX_BCRYPT_BYTES]
    highest = max(map(cost_of, users.values()))
    hashed = users.get(user)
    try:
        is_same = bcrypt.checkpw(password, hashed or nobodys_hash(highest))
    except ValueError:
        return False  # a password with a null byte
    if is_same and hashed:
        return True
    for cost in range(cost_of(hashed) if hashed else highest, highest):
        bcrypt.checkpw(password, nobodys_hash(cost))
    return False


def cost_of(hashed: bytes) -> int:
    """Read the cost of a bcrypt hash: one more takes twice the time.

    Shape: `$2b$10$…`.
    """
    return int(hashed.split(b"$")[2])


def nobodys_hash(cost: int) -> bytes:
    """Return the hash of a password that nobody knows."""
    return b"$2b$%02d$VY0roEV6320Rayq/JAgEwePiFeWNOxJaJV1msuMnvPc2YB4WN0.ji" % cost


def parse_basic(header: str) -> Credentials | None:
    """Read an Authorization header; None where it holds no name and password.

    Shape: `Basic dXNlcjpwYXNz`. Source: RFC 7617.
    """
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic" or len(encoded) > MAX_CREDENTIALS_BYTES:
        return None
    try:
        raw = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = raw.partition(b":")
    return (user.decode("utf-8", "surrogateescape"), password) if colon else None
