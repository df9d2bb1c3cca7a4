"""One client, from its socket on: streams, TLS, and what hypercorn makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import cast

import h11
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ASGIFramework
from msgspec import Struct

from exporter.web.traffic import Traffic

MAX_HEADER_BYTES = 16384
NO_LINGER = struct.pack("ii", 1, 0)  # socket(7)
REQUESTS_PER_CONNECTION = 100_000  # a scraper stays for weeks
HANDSHAKE_SECONDS = 10.0  # takes a tenth of a second on a slow network


class Limits(Struct, frozen=True, kw_only=True):
    """What clients may take; `connections` of those that talk, and as many in silence."""

    # With the silent ones below the 1,024 descriptors of a process, and above every crowd
    # that was tried: whoever is thrown out comes back and shakes hands anew.
    connections: int = 400
    idle_seconds: int = 75  # longer than a scrape interval of a minute, to keep its connection
    # A scraper waits for ten seconds; who reads a byte now and then holds a page in memory.
    answer_seconds: float = 30.0


class Connection:
    """One client, served by an application until either side ends the connection."""

    def __init__(self, client: socket.socket, traffic: Traffic, inflow: memoryview) -> None:
        self._client = client
        self._traffic = traffic
        self._inflow = inflow
        self._context = WorkerContext(max_requests=None)
        self._has_begun = False
        self._writer: asyncio.StreamWriter | None = None
        self.task: asyncio.Task[None] | None = None

    def speaks_plain_http(self) -> bool:
        """Whether its first byte is the letter of a method, and no TLS. Raises OSError."""
        first = self._client.recv(1, socket.MSG_PEEK)
        return first.isalpha() and first.isupper()

    async def open(
        self, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Make streams of the socket; shake hands where there is TLS.

        Raises OSError, of which ssl.SSLError is one, where that fails or takes too long.
        """
        self._has_begun = True
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_HEADER_BYTES, loop=loop)
        protocol = Inflow(reader, self._inflow)
        seconds = HANDSHAKE_SECONDS if context else None
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, self._client, ssl=context, ssl_handshake_timeout=seconds
        )
        self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return reader, self._writer

    async def serve(
        self,
        app: ASGIFramework,
        config: Config,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Answer until either side ends the connection."""
        loop = asyncio.get_running_loop()
        heard = cast("asyncio.StreamReader", Input(reader, self))
        await Server(ASGIWrapper(app), loop, config, self._context, {}, heard, writer)

    def hear(self) -> None:
        """Note that the client has said something."""
        self._traffic.arrive()

    async def end(self) -> None:
        """Ask hypercorn to end the connection as soon as nothing is under way."""
        await self._context.terminated.set()
        if self._writer is None:
            self.abort()

    def abort(self) -> None:
        """End the connection whatever is under way."""
        if self._writer is not None:
            self._writer.transport.abort()
        elif self.task is not None:
            self.task.cancel()
            self.discard()  # a task that has not begun either closes nothing

    def discard(self) -> None:
        """Hang up on a client that nothing has been made of."""
        if not self._has_begun:
            self._client.close()

    def reset(self) -> None:
        """End it, and have the kernel not go on offering what has not been taken."""
        if self._writer is not None:
            client = self._writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # closed already
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.abort()


class Http1(H11Protocol):
    """HTTP/1 alone: frames of HTTP/2 are small and cost much, and no scraper asks for it."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Change to no other protocol; who asks may be answered without (RFC 9110, 7.8)."""


class Server(TCPServer):
    """hypercorn's, with another protocol than it would make by itself."""

    @property
    def protocol(self) -> ProtocolWrapper:
        """What handles the input."""
        return cast("ProtocolWrapper", self._http1)

    @protocol.setter
    def protocol(self, made: ProtocolWrapper) -> None:
        self._http1 = Http1(
            made.app,
            made.config,
            made.context,
            made.task_group,
            made.state,
            made.ssl,
            made.client,
            made.server,
            made.send,
        )


class Inflow(asyncio.StreamReaderProtocol, asyncio.BufferedProtocol):
    """Receives into a buffer that all connections share, since each copies at once.

    A protocol without one is sent up to 256 KiB at a time, from whoever sends so much.
    """

    def __init__(self, reader: asyncio.StreamReader, buffer: memoryview) -> None:
        super().__init__(reader, loop=asyncio.get_running_loop())
        self._buffer = buffer

    def get_buffer(self, sizehint: int) -> memoryview:
        """See BufferedProtocol."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See BufferedProtocol."""
        self.data_received(bytes(self._buffer[:nbytes]))


class Input:
    """What hypercorn reads from; this is how it sees the input end."""

    def __init__(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        self._reader = reader
        self._connection = connection
        self._has_ended = False

    async def read(self, size: int) -> bytes:
        """Read input; at its end, or when waiting for it ends, the connection is over."""
        data = b""
        try:
            data = await self._reader.read(size)
            self._connection.hear()
        finally:
            if not data:
                self._has_ended = True
                await self._connection.end()
        return data

    def at_eof(self) -> bool:
        """Whether the end has been read: hypercorn stops reading where this is true.

        A reader of asyncio's is there as soon as the end waits behind the last request,
        and nobody would end the connection before the keep-alive time is over.
        """
        return self._has_ended


def make_config(idle_seconds: int) -> Config:
    """Make hypercorn's settings: silent, and with limits on all that a client sends."""
    config = Config()
    config.accesslog = config.errorlog = None
    config.include_server_header = False
    # Who has not sent a whole request by then is cut off.
    config.keep_alive_timeout = config.read_timeout = idle_seconds
    config.keep_alive_max_requests = REQUESTS_PER_CONNECTION
    config.h11_max_incomplete_size = config.h2_max_header_list_size = MAX_HEADER_BYTES
    # None: with a limit, a body of many chunks blocks its connection for good once the
    # answer is sent. The application reads or refuses all that comes.
    config.max_app_queue_size = 0
    return config
