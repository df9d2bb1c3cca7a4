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
from exporter.web.connection import Limits
from exporter.web.connections import Connections, report
from exporter.web.listen import address_of, adopt, listen
from exporter.web.tls import use_small_buffers
from exporter.web.traffic import Traffic
from exporter.web.turns import Turns

STOP_SECONDS = 2.0
ACCEPT_PAUSE_SECONDS = 0.1
ACCEPTED_AT_ONCE = 16  # takes a millisecond
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
        limits: Limits | None = None,
    ) -> None:
        self._wanted = addresses
        self._descriptors = descriptors
        self._turns = Turns()
        self._connections = Connections(
            app,
            traffic=traffic or Traffic(),
            limits=limits or Limits(),
            turns=self._turns,
        )
        self._addresses: tuple[str, ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._grace_seconds = 0.0
        self._started, self._stopping = threading.Event(), asyncio.Event()
        self._thread: threading.Thread | None = None
        self._is_accept_failing = False

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
        # As asyncio.run does, which makes a loop of its own until Python 3.12.
        with contextlib.closing(asyncio.SelectorEventLoop(self._turns)) as loop:
            try:
                loop.run_until_complete(self._serve(listeners))
            finally:
                self._started.set()
                _end_tasks(loop)

    async def _serve(self, listeners: Sequence[socket.socket]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_report)
        use_small_buffers()
        for listener in listeners:
            self._loop.add_reader(listener, self._accept, listener)
        self._started.set()
        await self._stopping.wait()
        for listener in listeners:
            self._loop.remove_reader(listener)
            listener.close()
        await self._connections.close(self._grace_seconds)

    def _accept(self, listener: socket.socket) -> None:
        """Take who waits; of many some, so that those who have been taken get answers."""
        try:
            for _ in range(0 if self._connections.is_behind else ACCEPTED_AT_ONCE):
                client, address = listener.accept()
                client.setblocking(False)
                # Of a UNIX socket's clients nothing is known: they are as one host.
                self._connections.accept(client, address[0] if address else "")
        except BlockingIOError:
            self._is_accept_failing = False
        except OSError as error:
            # Out of descriptors, or the client has left meanwhile.
            if not self._is_accept_failing:
                log.warning("web_accept_failed", error=str(error))
            self._is_accept_failing = True
            self._pause(listener)

    def _pause(self, listener: socket.socket) -> None:
        """Accept nothing for a moment: what failed would fail again at once."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(ACCEPT_PAUSE_SECONDS, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if not self._stopping.is_set():
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    if left := asyncio.all_tasks(loop):
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what asyncio alone knows of."""
    report(context.get("exception") or RuntimeError(context["message"]))
