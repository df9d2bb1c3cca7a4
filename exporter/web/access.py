"""Who may ask, and how often: HTTP's basic authentication, and a token bucket for all.

Verifying a password takes a tenth of a second of processor time by design. It is done in one
thread, so that requests which need none of it go on; what was right once is remembered, and
a crowd that guesses is turned away instead of queued.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from exporter.web.config import WebConfig
from exporter.web.message import Request, Response, text

# Of a password that nobody knows, so that an unknown user takes as long as a known one.
NOBODYS_HASH = b"$2b$10$VY0roEV6320Rayq/JAgEwePiFeWNOxJaJV1msuMnvPc2YB4WN0.ji"
MAX_WAITING = 8
MAX_REMEMBERED = 100
MAX_BCRYPT_BYTES = 72  # what follows counts neither in Go nor in htpasswd
MAX_CREDENTIALS_BYTES = 1024

Credentials = tuple[str, bytes]


class Access:
    """Decides for each request; `refusal` is None where it may be answered."""

    def __init__(
        self, config: WebConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._users = config.basic_auth_users
        limit = config.rate_limit
        self._bucket = Bucket(limit.interval_seconds, limit.burst, clock=clock)
        self._verifier = Verifier(config.basic_auth_users)

    async def refusal(self, request: Request) -> Response | None:
        """Say why a request is not answered."""
        if not self._bucket.take():
            return text("Too many requests", 429)
        if not self._users:
            return None
        credentials = parse_basic(request.header("authorization"))
        if credentials is None:
            return _unauthorized()
        is_right = await self._verifier.is_right(*credentials)
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
    """Holds passwords against bcrypt's hashes."""

    def __init__(self, users: dict[str, str]) -> None:
        self._users = {name: hashed.encode() for name, hashed in users.items()}
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="bcrypt")
        self._secret = os.urandom(32)
        self._right: dict[bytes, None] = {}
        self._waiting = 0

    async def is_right(self, user: str, password: bytes) -> bool | None:
        """Whether this is the user's password; None: too many others wait to know."""
        key = self._key(user, password)
        if key in self._right:
            return True
        if self._waiting >= MAX_WAITING:
            return None
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            is_right = await loop.run_in_executor(self._executor, self._check, user, password)
        finally:
            self._waiting -= 1
        if is_right:
            while len(self._right) >= MAX_REMEMBERED:
                del self._right[next(iter(self._right))]
            self._right[key] = None
        return is_right

    def _check(self, user: str, password: bytes) -> bool:
        import bcrypt  # noqa: PLC0415 - nobody without users needs it

        hashed = self._users.get(user)
        try:
            is_same = bcrypt.checkpw(password[:MAX_BCRYPT_BYTES], hashed or NOBODYS_HASH)
        except ValueError:
            return False  # a password with a null byte
        return is_same and hashed is not None

    def _key(self, user: str, password: bytes) -> bytes:
        """Remember no password: what is right once is known by a hash of this process' own."""
        name = user.encode("utf-8", "surrogateescape")
        message = len(name).to_bytes(4, "big") + name + password
        return hmac.new(self._secret, message, hashlib.sha256).digest()


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
