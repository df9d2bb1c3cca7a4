"""Runs the web side in a thread, with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import Any

import structlog

from exporter.web.app import App
from exporter.web.connections import Connections, report
from exporter.web.listen import address_of, adopt, listen
from exporter.web.traffic import Traffic

MAX_CONNECTIONS = 256
IDLE_SECONDS = 75  # longer than a scrape interval of a minute, to keep its connection
STOP_SECONDS = 2.0
ACCEPT_PAUSE_SECONDS = 0.1
# For sys.setswitchinterval, which is the whole process's: a request
# takes the interpreter's lock some ten times, each time after waiting this long while a
# Snapshot is rendered. Measured with tests/bench/scrape.py, as is web/traffic.py.
SWITCH_INTERVAL_SECONDS = 0.0001
GRACE_SHARE = 0.4  # of the time for stopping: for answers under way, and for hanging up

log = structlog.get_logger(__name__)


class WebServer:
    """Serves an application, from `start` until `stop`.

    `descriptors` are sockets that listen already, as systemd passes them; `traffic` is
    told of each request.
    """

    def __init__(
        self,
        app: App,
        addresses: Sequence[str] = (),
        *,
        descriptors: Sequence[int] = (),
        traffic: Traffic | None = None,
        max_connections: int = MAX_CONNECTIONS,
        idle_seconds: int = IDLE_SECONDS,
    ) -> None:
        self._wanted = addresses
        self._descriptors = descriptors
        self._connections = Connections(
            app,
            traffic=traffic or Traffic(),
            limit=max_connections,
            idle_seconds=idle_seconds,
        )
        self._addresses: tuple[str, ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._grace_seconds = 0.0
        self._started, self._stopping = threading.Event(), asyncio.Event()
        self._thread: threading.Thread | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, each `HOST:PORT`; with the real port where 0 was asked for."""
        return self._addresses

    @property
    def is_running(self) -> bool:
        """Whether its thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Listen, and return when connections are accepted. Raises ListenError."""
        listeners = (*listen(self._wanted), *adopt(self._descriptors))
        self._addresses = tuple(map(address_of, listeners))
        self._thread = threading.Thread(
            target=self._run, args=(listeners,), name="web", daemon=True
        )
        self._thread.start()
        self._started.wait()

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Accept nothing more, finish what is under way, then hang up."""
        if self._loop is None or self._thread is None:
            return
        self._grace_seconds = timeout_seconds * GRACE_SHARE
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout_seconds)

    def _run(self, listeners: Sequence[socket.socket]) -> None:
        try:
            asyncio.run(self._serve(listeners))
        finally:
            self._started.set()

    async def _serve(self, listeners: Sequence[socket.socket]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_report)
        accepting = [
            self._loop.create_task(self._accept(listener), name="accept")
            for listener in listeners
        ]
        self._started.set()
        await self._stopping.wait()
        for task in accepting:
            task.cancel()
        for listener in listeners:
            listener.close()
        await self._connections.close(self._grace_seconds)

    async def _accept(self, listener: socket.socket) -> None:
        """Take clients one after the other; none of them can hold up the next."""
        loop = asyncio.get_running_loop()
        is_told = False
        while True:
            try:
                client, _ = await loop.sock_accept(listener)
            except OSError as error:
                # Out of descriptors, or the client has left meanwhile.
                if not is_told:
                    log.warning("web_accept_failed", error=str(error))
                is_told = True
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
            else:
                is_told = False
                self._connections.accept(client)


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what asyncio alone knows of."""
    report(context.get("exception") or RuntimeError(context["message"]))
