"""The slow sources' schedule: what keeps it going, and that nothing keeps it from ending."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from exporter.bulkhead import Bulkheads
from exporter.errors import KernelError
from exporter.model import Stage
from exporter.schedule import SCHEDULER, Schedule, Tick
from exporter.simulation import ManualClock
from tests.fakes import FakeLog
from tests.threads import end_thread, thread_named
from tests.waiting import PATIENCE_SECONDS, eventually

SECONDS = 10.0
REPOSITORY = Path(__file__).parents[2]


def schedule_of(
    *ticks: Tick, clock: ManualClock | None = None, bulkheads: Bulkheads | None = None
) -> Schedule:
    """Make a schedule whose clock stands still, or is the test's."""
    clock = clock or ManualClock()
    return Schedule(ticks, clock=clock, bulkheads=bulkheads or Bulkheads(FakeLog(), clock))


def test_a_tick_runs_again_and_again() -> None:
    """In a thread of the schedule's."""
    counted = threading.Semaphore(0)
    schedule = schedule_of(Tick(name="fast", interval_seconds=0.05, run=counted.release))
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
    schedule = schedule_of(tick, clock=clock)
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

    schedule = schedule_of(Tick(name="hung", interval_seconds=0.05, run=hang), clock=clock)
    schedule.start()
    try:
        assert started.wait(SECONDS)
        clock.now += 100
        assert schedule.repair() == ()
    finally:
        finish.set()
        schedule.stop()


@pytest.mark.parametrize("error", [ValueError("odd"), KernelError("ENOMEM"), MemoryError()])
def test_a_tick_that_fails_is_counted_and_runs_again(error: Exception) -> None:
    """Whatever it raises; the log names it."""
    ran = threading.Semaphore(0)
    log = FakeLog()
    bulkheads = Bulkheads(log, ManualClock())

    def fail() -> None:
        ran.release()
        raise error

    tick = Tick(name="failing", interval_seconds=0.05, run=fail)
    schedule = schedule_of(tick, bulkheads=bulkheads)
    schedule.start()
    try:
        assert all(ran.acquire(timeout=SECONDS) for _ in range(3))
    finally:
        schedule.stop()

    assert bulkheads.counts[Stage.SCHEDULE] >= 2
    assert log.events("failed")[0]["name"] == "failing"


def test_other_intervals_are_followed_at_once() -> None:
    """What was to come in an hour comes now; the others keep their pace."""
    ran = threading.Event()
    ticks = (
        Tick(name="slow", interval_seconds=3600, run=ran.set),
        Tick(name="other", interval_seconds=3600, run=lambda: None),
    )
    schedule = schedule_of(*ticks)
    schedule.start()
    try:
        schedule.follow({"slow": 0.05, "other": 3600})

        assert ran.wait(SECONDS)
    finally:
        schedule.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_scheduler_that_has_died_is_replaced() -> None:
    """With the intervals in force; what still runs is not run a second time beside itself."""
    ran, begun, finish = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def hang() -> None:
        begun.release()
        finish.wait(PATIENCE_SECONDS)

    ticks = (
        Tick(name="fast", interval_seconds=3600, run=ran.release),
        Tick(name="hung", interval_seconds=0.05, run=hang),
    )
    schedule = schedule_of(*ticks)
    schedule.start()
    try:
        assert begun.acquire(timeout=SECONDS)
        schedule.follow({"fast": 0.05})
        assert ran.acquire(timeout=SECONDS)
        assert schedule.repair() == ()
        end_thread(thread_named("schedule"))
        assert eventually(lambda: not schedule.is_alive)

        assert schedule.repair() == (SCHEDULER,)

        while ran.acquire(blocking=False):
            pass
        assert all(ran.acquire(timeout=SECONDS) for _ in range(3))
        assert not begun.acquire(blocking=False)
    finally:
        finish.set()
        schedule.stop()


def test_threads_that_cannot_be_started_are_tried_again() -> None:
    """At the next repair; the caller goes on, and the process too."""
    ran = threading.Semaphore(0)
    bulkheads = Bulkheads(FakeLog(), ManualClock())
    tick = Tick(name="fast", interval_seconds=0.05, run=ran.release)
    schedule = schedule_of(tick, bulkheads=bulkheads)
    usual = threading.stack_size(1 << 47)
    try:
        schedule.start()
        schedule.repair()
    finally:
        threading.stack_size(usual)
    assert bulkheads.counts[Stage.THREAD] > 0

    schedule.repair()
    try:
        assert ran.acquire(timeout=SECONDS)
    finally:
        schedule.stop()


def test_what_has_been_stopped_is_not_repaired() -> None:
    """Nor is stopping what never ran an error, as after a start that failed."""
    schedule = schedule_of(Tick(name="x", interval_seconds=1, run=int))

    schedule.stop()

    assert schedule.repair() == ()
    assert not schedule.is_alive


HANGING = """
import threading, time
from exporter.bulkhead import Bulkheads
from exporter.events import NoLog
from exporter.schedule import Schedule, Tick
begun = threading.Event()
def hang():
    begun.set()
    time.sleep(600)
tick = Tick(name="hung", interval_seconds=0.05, run=hang)
clock = time.monotonic
schedule = Schedule((tick,), clock=clock, bulkheads=Bulkheads(NoLog(), clock))
schedule.start()
assert begun.wait(30)
schedule.stop()
print("stopped", flush=True)
"""


def test_the_process_ends_though_a_tick_hangs() -> None:
    """As where Docker's directory does not answer: systemd would kill it after ten seconds."""
    argv = [sys.executable, "-c", HANGING]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stopped\n"
        stopped_at = time.monotonic()
        try:
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()

    assert time.monotonic() - stopped_at < 5
