"""One hypercorn connection per client, up to a limit; all of them end when told to.

hypercorn's own `serve` has no limit, and keeps a connection that its client has closed
for the whole keep-alive time (0.18.0: the idle task outlives the end of the input).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import cast

import structlog
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework

from exporter.web.app import App, Event, Receive, Send
from exporter.web.tls import is_allowed
from exporter.web.traffic import Traffic

MAX_HEADER_BYTES = 16384
REQUESTS_PER_CONNECTION = 100_000  # a scraper stays for weeks
HANDSHAKE_SECONDS = 10.0  # takes a tenth of a second on a slow network
# Who has said nothing for so long has to make room for others where there is none.
SILENT_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Connections:
    """Serves clients, each from its socket on; TLS as the settings in force have it."""

    def __init__(
        self,
        app: App,
        *,
        traffic: Traffic,
        limit: int,
        idle_seconds: int,
    ) -> None:
        async def answer(scope: Event, receive: Receive, send: Send) -> None:
            try:
                await app(scope, receive, send)
            finally:
                traffic.leave()

        # The cast: ours takes plain dictionaries where hypercorn has a type per event.
        self._app = ASGIWrapper(cast("ASGIFramework", answer))
        self._settings = app.settings
        self._traffic = traffic
        self._config = make_config(idle_seconds)
        self._limit = limit
        self._open: dict[asyncio.Task[None], Connection] = {}

    def accept(self, client: socket.socket) -> None:
        """Serve one client until it leaves; above the limit another one has to go, or this."""
        self._traffic.arrive()
        if len(self._open) >= self._limit and not self._make_room():
            client.close()
            return
        connection = Connection(client, self._traffic)
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        connection.task = task
        self._open[task] = connection
        task.add_done_callback(self._forget)

    def _make_room(self) -> bool:
        """Hang up on who has been silent longest, if that is long: a scraper never is."""
        task, connection = min(self._open.items(), key=lambda item: item[1].heard_at)
        if time.monotonic() - connection.heard_at < SILENT_SECONDS:
            return False
        del self._open[task]
        connection.abort()
        return True

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._open.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            report(error)

    async def _serve(self, connection: Connection) -> None:
        settings = self._settings()
        reader, writer = await connection.open(settings.context)
        allowed = settings.config.tls_server_config.client_allowed_sans
        if allowed and not is_allowed(writer.get_extra_info("peercert"), allowed):
            connection.abort()
            return
        await connection.serve(self._app, self._config, reader, writer)

    async def close(self, grace_seconds: float) -> None:
        """End idle connections at once, and what is under way within the grace time."""
        for connection in tuple(self._open.values()):
            await connection.end()
        await self._wait(grace_seconds)
        for connection in tuple(self._open.values()):
            connection.abort()
        await self._wait(grace_seconds)

    async def _wait(self, seconds: float) -> None:
        if self._open:
            await asyncio.wait(tuple(self._open), timeout=seconds)


def report(error: BaseException) -> None:
    """Log what ended a connection, unless it was the client's doing."""
    if not isinstance(error, ssl.SSLError | ConnectionError | TimeoutError):
        log.warning("web_connection_failed", error=repr(error))


class Connection:
    """One client, from its socket on; `heard_at` is when it last said anything."""

    def __init__(self, client: socket.socket, traffic: Traffic) -> None:
        self._client = client
        self._traffic = traffic
        self._context = WorkerContext(max_requests=None)
        self._writer: asyncio.StreamWriter | None = None
        self.task: asyncio.Task[None] | None = None
        self.heard_at = time.monotonic()

    async def open(
        self, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Make streams of the socket; shake hands where there is TLS.

        Raises OSError, of which ssl.SSLError is one, where that fails or takes too long.
        """
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        seconds = HANDSHAKE_SECONDS if context else None
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, self._client, ssl=context, ssl_handshake_timeout=seconds
        )
        self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return reader, self._writer

    async def serve(
        self,
        app: ASGIWrapper,
        config: Config,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Answer until either side ends the connection."""
        loop = asyncio.get_running_loop()
        heard = cast("asyncio.StreamReader", Input(reader, self))
        await TCPServer(app, loop, config, self._context, {}, heard, writer)

    def hear(self) -> None:
        """Note that the client has said something."""
        self.heard_at = time.monotonic()
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


class Input:
    """What hypercorn reads from; this is how it sees the input end."""

    def __init__(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        self._reader = reader
        self._connection = connection

    async def read(self, size: int) -> bytes:
        """Read input; at its end, or when waiting for it ends, the connection is over."""
        data = b""
        try:
            data = await self._reader.read(size)
            self._connection.hear()
        finally:
            if not data:
                await self._connection.end()
        return data

    def at_eof(self) -> bool:
        """Whether the client has ended its side."""
        return self._reader.at_eof()


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
