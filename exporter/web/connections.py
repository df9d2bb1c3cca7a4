"""One hypercorn connection per client, up to a limit; all of them end when told to.

hypercorn's own `serve` has no limit, and keeps a connection that its client has closed
for the whole keep-alive time (0.18.0: the idle task outlives the end of the input).
"""

from __future__ import annotations

import asyncio
from typing import cast

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework

from exporter.web.app import App, Event, Receive, Send
from exporter.web.traffic import Traffic

MAX_HEADER_BYTES = 16384
REQUESTS_PER_CONNECTION = 100_000  # a scraper stays for weeks


class Connections:
    """Serves clients; `accept` is what asyncio calls for each."""

    def __init__(self, app: App, *, traffic: Traffic, limit: int, idle_seconds: int) -> None:
        async def answer(scope: Event, receive: Receive, send: Send) -> None:
            try:
                await app(scope, receive, send)
            finally:
                traffic.leave()

        # The cast: ours takes plain dictionaries where hypercorn has a type per event.
        self._app = ASGIWrapper(cast("ASGIFramework", answer))
        self._traffic = traffic
        self._config = make_config(idle_seconds)
        self._limit = limit
        self._open: dict[asyncio.Task[None], Connection] = {}

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it leaves; above the limit hang up at once."""
        self._traffic.arrive()
        task = asyncio.current_task()
        if task is None or len(self._open) >= self._limit:
            writer.transport.abort()
            return
        connection = self._open[task] = Connection(reader, writer, self._traffic)
        try:
            await connection.serve(self._app, self._config)
        finally:
            del self._open[task]

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


class Connection:
    """One client. To hypercorn it is the reader, which is how it sees the input end."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, traffic: Traffic
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._traffic = traffic
        self._context = WorkerContext(max_requests=None)

    async def serve(self, app: ASGIWrapper, config: Config) -> None:
        """Answer until either side ends the connection."""
        reader = cast("asyncio.StreamReader", self)
        loop = asyncio.get_running_loop()
        await TCPServer(app, loop, config, self._context, {}, reader, self._writer)

    async def read(self, size: int) -> bytes:
        """Read input; at its end, or when waiting for it ends, the connection is over."""
        data = b""
        try:
            data = await self._reader.read(size)
            self._traffic.arrive()
        finally:
            if not data:
                await self.end()
        return data

    def at_eof(self) -> bool:
        """Whether the client has ended its side."""
        return self._reader.at_eof()

    async def end(self) -> None:
        """Ask hypercorn to end the connection as soon as nothing is under way."""
        await self._context.terminated.set()

    def abort(self) -> None:
        """End the connection whatever is under way."""
        self._writer.transport.abort()


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
