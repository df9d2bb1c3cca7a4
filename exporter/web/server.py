"""Runs the web side in a thread, with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from exporter.errors import ExporterError, quote
from exporter.web.app import App
from exporter.web.connection import Limits
from exporter.web.connections import Connections
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
# Nothing that the loop does takes more than a fraction of a second.
BEAT_SECONDS, HUNG_SECONDS = 1.0, 30.0
# Counted of the time between two looks: the whole process, or its host, may have been stopped.
MAX_LOOK_SECONDS = 2 * BEAT_SECONDS
STACK_DEPTH = 5
GRACE_SHARE = 0.4  # of the time for stopping: for answers under way, and for hanging up

log = structlog.get_logger(__name__)


class WebServer:
    """Serves an application, from `start` until `stop`.

    `descriptors` are sockets that listen already, as systemd passes them; `traffic` is
    told of each request. Whoever starts it asks `why_ended` again and again.
    """

    def __init__(
        self,
        app: App,
        addresses: Sequence[str] = (),
        *,
        descriptors: Sequence[int] = (),
        traffic: Traffic | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
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
        self._is_stopped = False
        self._ended: str | None = None
        self._is_accept_failing = False
        self._clock = clock
        self._beats = self._seen_beats = 0
        self._looked_at, self._silent_seconds = clock(), 0.0

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, each `HOST:PORT`; with the real port where 0 was asked for."""
        return self._addresses

    @property
    def is_running(self) -> bool:
        """Whether its thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def why_ended(self) -> str | None:
        """Say why it serves no more, although nobody stopped it; None while all is well."""
        if self._thread is None or self._is_stopped:
            return None
        if self._ended is None and not self._thread.is_alive():
            return "the web server has ended: its thread is gone"
        return self._ended or self._why_hung()

    def _why_hung(self) -> str | None:
        """Say that the loop has stood still while this was asked again and again."""
        now, beats = self._clock(), self._beats
        self._silent_seconds += min(now - self._looked_at, MAX_LOOK_SECONDS)
        if beats != self._seen_beats:
            self._silent_seconds = 0.0
        self._looked_at, self._seen_beats = now, beats
        if self._silent_seconds < HUNG_SECONDS:
            return None
        frames = sys._current_frames()  # noqa: SLF001 - public, whatever its name
        frame = frames.get(self._thread.ident or 0) if self._thread else None
        log.error(
            "web_server_hung", stack="".join(traceback.format_stack(frame)[-STACK_DEPTH:])
        )
        return f"the web server has hung: its loop has stood still for {HUNG_SECONDS:.0f} s"

    def start(self) -> None:
        """Listen, and return when connections are accepted.

        Raises ListenError, or ExporterError if the server itself cannot run.
        """
        listeners = (*listen(self._wanted), *adopt(self._descriptors))
        self._addresses = tuple(map(address_of, listeners))
        thread = threading.Thread(target=self._run, args=(listeners,), name="web", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or no memory
            _close(listeners)
            raise ExporterError(f"the web server cannot start: {error}") from error
        self._thread = thread
        self._started.wait()
        if (why := self.why_ended()) is not None:
            raise ExporterError(why)

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Accept nothing more, finish what is under way, then hang up."""
        if self._thread is None:
            return
        self._is_stopped = True
        self._grace_seconds = timeout_seconds * GRACE_SHARE
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout_seconds)

    def _run(self, listeners: Sequence[socket.socket]) -> None:
        """Serve until the end; whatever ends it is logged, and `why_ended` says it."""
        try:
            self._run_loop(listeners)
        except BaseException as error:  # noqa: BLE001 - the bulkhead of this thread
            self._end(repr(error), error)
        finally:
            _close(listeners)
            self._started.set()

    def _run_loop(self, listeners: Sequence[socket.socket]) -> None:
        # As asyncio.run does, which makes a loop of its own until Python 3.12.
        with contextlib.closing(asyncio.SelectorEventLoop(self._turns)) as loop:
            try:
                loop.run_until_complete(self._serve(listeners))
                self._end("it returned")
            except BaseException as error:  # noqa: BLE001 - told before tasks are waited for
                self._end(repr(error), error)
            finally:
                self._started.set()
                if not self._is_stopped:
                    loop.run_until_complete(self._hang_up(listeners))
                _end_tasks(loop)

    def _end(self, reason: str, error: BaseException | None = None) -> None:
        if self._is_stopped or self._ended is not None:
            return
        self._ended = f"the web server has ended: {quote(reason)}"
        log.error("web_server_ended", reason=quote(reason), exc_info=error)

    async def _serve(self, listeners: Sequence[socket.socket]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._report)
        use_small_buffers()
        for listener in listeners:
            self._loop.add_reader(listener, self._accept, listener)
        self._beat(self._loop)
        self._started.set()
        await self._stopping.wait()
        await self._hang_up(listeners)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beats += 1
        loop.call_later(BEAT_SECONDS, self._beat, loop)

    async def _hang_up(self, listeners: Sequence[socket.socket]) -> None:
        """Accept nobody more, and end all connections within the grace time."""
        self._stopping.set()
        for listener in listeners:
            if listener.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(listener)
                listener.close()
        await self._connections.close(self._grace_seconds)

    def _report(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log what asyncio alone knows of: callbacks, and tasks that nobody waits for."""
        self._connections.report(context.get("exception") or RuntimeError(context["message"]))

    def _accept(self, listener: socket.socket) -> None:
        """Take who waits; of many some, so that those who have been taken get answers."""
        try:
            for _ in range(0 if self._connections.is_behind else ACCEPTED_AT_ONCE):
                self._welcome(*listener.accept())
        except BlockingIOError:
            self._is_accept_failing = False
        except Exception as error:  # noqa: BLE001 - the bulkhead of one client
            # Out of descriptors, or the client has left meanwhile.
            self._say_accept_failed(error)
            self._pause(listener)

    def _welcome(self, client: socket.socket, address: tuple[str, int] | str) -> None:
        try:
            client.setblocking(False)
            # Of a UNIX socket's clients nothing is known: they are as one host.
            self._connections.accept(client, address[0] if address else "")
        except BaseException:
            client.close()
            raise

    def _say_accept_failed(self, error: Exception) -> None:
        if not self._is_accept_failing:
            log.warning("web_accept_failed", error=str(error) or repr(error))
        self._is_accept_failing = True

    def _pause(self, listener: socket.socket) -> None:
        """Accept nothing for a moment: what failed would fail again at once."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(ACCEPT_PAUSE_SECONDS, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if self._stopping.is_set():
            return
        try:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)
        except OSError as error:  # no memory for it: nobody else would ever try again
            self._say_accept_failed(error)
            self._pause(listener)


def _close(listeners: Sequence[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    if left := asyncio.all_tasks(loop):
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
