"""Ticks the slow sources with APScheduler, and keeps it ticking.

APScheduler 3 goes by the wall clock: a step back stops it for as long as the step, and it
never tries again what hangs. So `repair`, called from a loop on the monotonic clock,
runs at once whatever has not been run for too long.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from msgspec import Struct, structs

OVERDUE_INTERVALS = 3.0


class Tick(Struct, frozen=True, kw_only=True):
    """Something to be done every so often; `name` is unique."""

    name: str
    interval_seconds: float
    run: Callable[[], object]


class Schedule:
    """Runs each tick in a thread of its own, never twice at the same time."""

    def __init__(self, ticks: tuple[Tick, ...], *, clock: Callable[[], float]) -> None:
        self._ticks = {tick.name: tick for tick in ticks}
        self._clock = clock
        self._started_at = {tick.name: clock() for tick in ticks}
        self._is_running = dict.fromkeys(self._started_at, False)
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(len(ticks))},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=dt.timezone.utc,
        )

    def start(self) -> None:
        """Begin; the first run of each tick is one interval away."""
        for tick in self._ticks.values():
            self._scheduler.add_job(
                self._run,
                "interval",
                args=(tick.name,),
                id=tick.name,
                seconds=tick.interval_seconds,
            )
        self._scheduler.start()

    def follow(self, intervals: Mapping[str, float]) -> None:
        """Go by other intervals from now on, in seconds by the ticks' names."""
        for name, seconds in intervals.items():
            if seconds != self._ticks[name].interval_seconds:
                self._ticks[name] = structs.replace(self._ticks[name], interval_seconds=seconds)
                self._scheduler.reschedule_job(name, trigger="interval", seconds=seconds)

    def stop(self) -> None:
        """End without waiting for what runs; its commands have deadlines."""
        self._scheduler.shutdown(wait=False)

    def repair(self) -> tuple[str, ...]:
        """Run what is overdue by the monotonic clock; returns the names."""
        overdue = tuple(tick for tick in tuple(self._ticks.values()) if self._is_overdue(tick))
        for tick in overdue:
            self._started_at[tick.name] = self._clock()
            now = dt.datetime.now(tz=dt.timezone.utc)
            self._scheduler.modify_job(tick.name, next_run_time=now)
        return tuple(tick.name for tick in overdue)

    def _is_overdue(self, tick: Tick) -> bool:
        age = self._clock() - self._started_at[tick.name]
        return (
            not self._is_running[tick.name] and age > OVERDUE_INTERVALS * tick.interval_seconds
        )

    def _run(self, name: str) -> None:
        self._started_at[name] = self._clock()
        self._is_running[name] = True
        try:
            self._ticks[name].run()
        finally:
            self._is_running[name] = False
