"""Daemon threads that are started ahead, so that work begins even if clone() fails later.

concurrent.futures starts threads when work is submitted, and joins them when the interpreter
exits: a reading that hangs would then hold up the end of the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

from exporter.bulkhead import Bulkheads
from exporter.model import Stage

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Job = Callable[[], None]
# A job that runs for longer has its thread counted as lost, and another one takes its place;
# with 0 there is always an idle one.
STUCK_SECONDS = 5.0


class ThreadPool:
    """Runs jobs in `size` threads; replaces those that hang, up to `max_threads` in all.

    Nothing is started before `supervise` is called, which must be repeated.
    """

    def __init__(
        self,
        name: str,
        size: int,
        *,
        max_threads: int,
        bulkheads: Bulkheads,
        clock: Callable[[], float] = time.monotonic,
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        self._stuck_seconds = stuck_seconds
        self._name = name
        self.size = size
        self._max_threads = max_threads
        self._bulkheads = bulkheads
        self._clock = clock
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._threads: dict[threading.Thread, float | None] = {}  # busy since when
        self._lock = threading.Lock()
        self._started = 0

    def supervise(self) -> None:
        """Start the threads that are missing; one that cannot be started is tried again."""
        with self._bulkheads.contain(Stage.THREAD, self._name):
            while self._is_short():
                self._start_one()

    def submit(
        self,
        function: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Result]:
        """Queue a call. Starts no thread."""
        future: Future[Result] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - the caller's future holds it
                future.set_exception(error)
            else:
                future.set_result(result)

        self._jobs.put(job)
        return future

    def run(self, job: Job) -> None:
        """Queue a job that nobody waits for. Starts no thread."""
        self._jobs.put(job)

    def shutdown(self, wait: bool = True) -> None:  # noqa: FBT001, FBT002 - Executor's signature
        """Do nothing: daemon threads end with the process, whatever they wait for."""

    def _is_short(self) -> bool:
        now = self._clock()
        with self._lock:
            for thread in [thread for thread in self._threads if not thread.is_alive()]:
                del self._threads[thread]
            useful = sum(
                since is None or now < since + self._stuck_seconds
                for since in self._threads.values()
            )
            return useful < self.size and len(self._threads) < self._max_threads

    def _start_one(self) -> None:
        self._started += 1
        name = f"{self._name}-{self._started}"
        thread = threading.Thread(target=self._serve, name=name, daemon=True)
        with self._lock:
            self._threads[thread] = None
        try:
            thread.start()
        except RuntimeError:  # no more threads or no memory
            with self._lock:
                del self._threads[thread]
            raise

    def _serve(self) -> None:
        thread = threading.current_thread()
        while True:
            job = self._jobs.get()
            self._threads[thread] = self._clock()
            with self._bulkheads.contain(Stage.THREAD, thread.name):
                job()
            del job
            if self._is_surplus(thread):
                return

    def _is_surplus(self, thread: threading.Thread) -> bool:
        """Note the end of a job; return whether threads that came in its place suffice."""
        with self._lock:
            self._threads[thread] = None
            idle = sum(since is None for since in self._threads.values())
            if idle <= self.size:
                return False
            del self._threads[thread]
            return True
