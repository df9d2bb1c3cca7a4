"""Ticks the slow sources with APScheduler, and keeps it ticking.

APScheduler 3 goes by the wall clock: a step back stops it for as long as the step, and it
never tries again what hangs. So `repair`, called from a loop on the monotonic clock, runs
at once whatever has not been run for too long, and replaces a scheduler that has died.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Callable, Mapping

from apscheduler.executors.pool import BasePoolExecutor
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.blocking import BlockingScheduler
from msgspec import Struct, structs

from exporter.bulkhead import Bulkheads
from exporter.model import Stage
from exporter.thread_pool import ThreadPool

OVERDUE_INTERVALS = 3.0
SCHEDULER = "scheduler"  # its name where ticks have theirs


class Tick(Struct, frozen=True, kw_only=True):
    """Something to be done every so often; `name` is unique."""

    name: str
    interval_seconds: float
    run: Callable[[], object]


class Schedule:
    """Runs each tick in a thread of its own, never twice at the same time.

    The threads are started ahead, and the process ends without waiting for them. A tick that
    raises is counted and runs again at its next time.
    """

    def __init__(
        self,
        ticks: tuple[Tick, ...],
        *,
        clock: Callable[[], float],
        bulkheads: Bulkheads,
    ) -> None:
        self._ticks = {tick.name: tick for tick in ticks}
        self._clock = clock
        self._bulkheads = bulkheads
        self._started_at = {tick.name: clock() for tick in ticks}
        self._running = {tick.name: threading.Lock() for tick in ticks}
        size = len(ticks)
        self._pool = ThreadPool(
            "schedule", size, max_threads=size, bulkheads=bulkheads, clock=clock
        )
        self._scheduler = self._new_scheduler()
        self._thread: threading.Thread | None = None
        self._is_stopped = False
        self._changing = threading.Lock()  # of what the scheduler is, and of its intervals

    @property
    def is_alive(self) -> bool:
        """Whether the thread that starts the ticks lives."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin; the first run of each tick is one interval away."""
        self._pool.supervise()
        with self._changing:
            self._start_thread()

    def follow(self, intervals: Mapping[str, float]) -> None:
        """Go by other intervals from now on, in seconds by the ticks' names."""
        with self._changing:
            for name, seconds in intervals.items():
                tick = self._ticks[name]
                if seconds != tick.interval_seconds:
                    self._ticks[name] = structs.replace(tick, interval_seconds=seconds)
                    self._scheduler.reschedule_job(name, trigger="interval", seconds=seconds)

    def stop(self) -> None:
        """End without waiting for what runs; its commands have deadlines."""
        with self._changing:
            self._is_stopped = True
            with contextlib.suppress(SchedulerNotRunningError):
                self._scheduler.shutdown(wait=False)

    def repair(self) -> tuple[str, ...]:
        """Start threads that are missing, and run what is overdue by the monotonic clock.

        Returns the names of the overdue ticks, and SCHEDULER if that was dead. Never raises;
        what cannot be repaired now is tried at the next call.
        """
        self._pool.supervise()
        repaired = list[str]()
        with self._bulkheads.contain(Stage.SCHEDULE, SCHEDULER), self._changing:
            if not (self.is_alive or self._is_stopped):
                self._scheduler = self._new_scheduler()
                self._start_thread()
                repaired.append(SCHEDULER)
            for tick in filter(self._is_overdue, tuple(self._ticks.values())):
                self._started_at[tick.name] = self._clock()
                now = dt.datetime.now(tz=dt.timezone.utc)
                self._scheduler.modify_job(tick.name, next_run_time=now)
                repaired.append(tick.name)
        return tuple(repaired)

    def _new_scheduler(self) -> BlockingScheduler:
        scheduler = BlockingScheduler(
            executors={"default": _Executor(self._pool)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=dt.timezone.utc,
        )
        for tick in self._ticks.values():
            scheduler.add_job(
                self._run,
                "interval",
                args=(tick.name,),
                id=tick.name,
                seconds=tick.interval_seconds,
            )
        return scheduler

    def _start_thread(self) -> None:
        thread = threading.Thread(
            target=self._keep, args=(self._scheduler,), name="schedule", daemon=True
        )
        with self._bulkheads.contain(Stage.THREAD, thread.name):
            thread.start()
            self._thread = thread

    def _keep(self, scheduler: BlockingScheduler) -> None:
        with self._bulkheads.contain(Stage.SCHEDULE, SCHEDULER):
            scheduler.start()

    def _is_overdue(self, tick: Tick) -> bool:
        age = self._clock() - self._started_at[tick.name]
        is_running = self._running[tick.name].locked()
        return not is_running and age > OVERDUE_INTERVALS * tick.interval_seconds

    def _run(self, name: str) -> None:
        # A scheduler that has been replaced does not know what its predecessor has started.
        if not self._running[name].acquire(blocking=False):
            return
        try:
            self._started_at[name] = self._clock()
            with self._bulkheads.contain(Stage.SCHEDULE, name):
                self._ticks[name].run()
        finally:
            self._running[name].release()


class _Executor(BasePoolExecutor):  # type: ignore[misc]  # it has no types
    """Runs jobs in threads of ours: APScheduler's own are joined when the process ends."""

    def __init__(self, pool: ThreadPool) -> None:
        super().__init__(pool)
