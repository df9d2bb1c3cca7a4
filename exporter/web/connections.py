"""One hypercorn connection per client, up to a limit; all of them end when told to.

hypercorn's own `serve` has no limit, and keeps a connection that its client has closed
for the whole keep-alive time (0.18.0: the idle task outlives the end of the input).

Above the limit the newcomer is served, and whoever asked for something longest ago goes: a
scrape takes milliseconds, and so is never that one. To turn newcomers away would leave the
server to those who hold their connections by saying a little now and then.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import cast

import structlog
from hypercorn.typing import ASGIFramework

from exporter.bulkhead import LogThrottle
from exporter.errors import quote
from exporter.web.app import App, Event, Receive, Send, refuse_plain_http
from exporter.web.connection import (
    MAX_HEADER_BYTES,
    Connection,
    Limits,
    make_config,
)
from exporter.web.lobby import Lobby, origin_of
from exporter.web.tls import is_allowed
from exporter.web.traffic import Traffic
from exporter.web.turns import Turns

Application = Callable[[Event, Receive, Send], Awaitable[None]]

log = structlog.get_logger(__name__)


class Connections:
    """Serves clients, each from its socket on; TLS as the settings in force have it."""

    def __init__(self, app: App, *, traffic: Traffic, limits: Limits, turns: Turns) -> None:
        self._app = app
        self._settings = app.settings
        self._traffic = traffic
        self._config = make_config(limits.idle_seconds)
        self._limits = limits
        self._turns = turns
        self._lobby = Lobby(self._enter, limit=limits.connections, seconds=limits.idle_seconds)
        self._inflow = memoryview(bytearray(MAX_HEADER_BYTES))
        # Whoever asked longest ago comes first.
        self._open: dict[asyncio.Task[None], Connection] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._throttle = LogThrottle(time.monotonic)

    @property
    def is_behind(self) -> bool:
        """Whether newcomers should wait: many wait already, or are not cleared away yet."""
        return self._lobby.is_crowded or len(self._ending) >= self._limits.connections

    def accept(self, client: socket.socket, address: str) -> None:
        """Serve one client until it leaves, or has to make room for another one."""
        self._lobby.take(client, origin_of(address))

    def _enter(self, client: socket.socket, origin: str) -> None:
        self._traffic.arrive()
        self._turns.belongs(client, origin)
        while len(self._open) >= self._limits.connections:
            task = next(iter(self._open))
            self._ending.add(task)
            self._open.pop(task).reset()
        connection = Connection(client, self._traffic, self._inflow)
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        connection.task = task
        self._open[task] = connection
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._open.pop(task, None)
        self._ending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.report(error)

    def report(self, error: BaseException) -> None:
        """Log what ended a connection or an answer, unless it was the client's doing.

        The same once a minute: clients must not be able to fill the log.
        """
        if isinstance(error, ssl.SSLError | ConnectionError | TimeoutError):
            return
        if self._throttle.is_due(quote(repr(error)), None):
            trace = None if isinstance(error, OSError) else error
            log.warning("web_connection_failed", error=quote(repr(error)), exc_info=trace)

    async def _serve(self, connection: Connection) -> None:
        try:
            settings = self._settings()
            is_refused = settings.context is not None and connection.speaks_plain_http()
        except Exception:
            connection.discard()
            raise
        reader, writer = await connection.open(None if is_refused else settings.context)
        allowed = settings.config.tls_server_config.client_allowed_sans
        if is_refused:
            app = self._answering(connection, refuse_plain_http)
        elif allowed and not is_allowed(writer.get_extra_info("peercert"), allowed):
            connection.abort()
            return
        else:
            app = self._answering(connection, self._app)
        await connection.serve(app, self._config, reader, writer)

    def _answering(self, connection: Connection, app: Application) -> ASGIFramework:
        """Make the application of one connection, which has so long for each answer."""

        async def answer(scope: Event, receive: Receive, send: Send) -> None:
            loop = asyncio.get_running_loop()
            deadline = loop.call_later(self._limits.answer_seconds, connection.reset)
            self._note_request(connection)
            try:
                await app(scope, receive, send)
            except Exception as error:
                self.report(error)  # hypercorn answers, and says nothing
                raise
            finally:
                deadline.cancel()
                self._traffic.leave()

        # The cast: ours takes plain dictionaries where hypercorn has a type per event.
        return cast("ASGIFramework", answer)

    def _note_request(self, connection: Connection) -> None:
        """Let the others go first when room is needed."""
        task = connection.task
        if task in self._open:
            del self._open[task]
            self._open[task] = connection

    async def close(self, grace_seconds: float) -> None:
        """End idle connections at once, and what is under way within the grace time."""
        self._lobby.close()
        for connection in tuple(self._open.values()):
            await connection.end()
        await self._wait(grace_seconds)
        for connection in tuple(self._open.values()):
            connection.abort()
        await self._wait(grace_seconds)

    async def _wait(self, seconds: float) -> None:
        if self._open:
            await asyncio.wait(tuple(self._open), timeout=seconds)
