"""The slow sources' schedule, and what keeps it going when the clock is set back."""

from __future__ import annotations

import threading

from exporter.schedule import Schedule, Tick
from exporter.simulation import ManualClock

SECONDS = 10.0


def test_a_tick_runs_again_and_again() -> None:
    """In a thread of the schedule's."""
    counted = threading.Semaphore(0)
    schedule = Schedule(
        (Tick(name="fast", interval_seconds=0.05, run=counted.release),), clock=lambda: 0.0
    )
    schedule.start()
    try:
        assert all(counted.acquire(timeout=SECONDS) for _ in range(3))
    finally:
        schedule.stop()


def test_what_is_overdue_is_run_at_once() -> None:
    """An hour's interval and a clock that says it has long passed: as after a step back."""
    ran = threading.Event()
    clock = ManualClock()
    tick = Tick(name="slow", interval_seconds=3600.0, run=ran.set)
    schedule = Schedule((tick,), clock=clock)
    schedule.start()
    try:
        assert schedule.repair() == ()
        clock.now += 3.1 * 3600
        assert schedule.repair() == ("slow",)
        assert ran.wait(SECONDS)
        assert schedule.repair() == ()
    finally:
        schedule.stop()


def test_what_is_still_running_is_not_started_twice() -> None:
    """A hung source is not helped by another one."""
    started, finish = threading.Event(), threading.Event()
    clock = ManualClock()

    def hang() -> None:
        started.set()
        finish.wait(SECONDS)

    schedule = Schedule((Tick(name="hung", interval_seconds=0.05, run=hang),), clock=clock)
    schedule.start()
    try:
        assert started.wait(SECONDS)
        clock.now += 100
        assert schedule.repair() == ()
    finally:
        finish.set()
        schedule.stop()


def test_a_tick_that_fails_runs_again() -> None:
    """One exception is logged by the scheduler and ends nothing."""
    counted = threading.Semaphore(0)

    def fail() -> None:
        counted.release()
        raise ValueError

    schedule = Schedule(
        (Tick(name="failing", interval_seconds=0.05, run=fail),), clock=lambda: 0.0
    )
    schedule.start()
    try:
        assert all(counted.acquire(timeout=SECONDS) for _ in range(2))
    finally:
        schedule.stop()


def test_other_intervals_are_followed_at_once() -> None:
    """What was to come in an hour comes now; the others keep their pace."""
    ran = threading.Event()
    ticks = (
        Tick(name="slow", interval_seconds=3600, run=ran.set),
        Tick(name="other", interval_seconds=3600, run=lambda: None),
    )
    schedule = Schedule(ticks, clock=lambda: 0.0)
    schedule.start()
    try:
        schedule.follow({"slow": 0.05, "other": 3600})

        assert ran.wait(SECONDS)
    finally:
        schedule.stop()
