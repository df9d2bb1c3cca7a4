"""How often the guard's loop cycles: by a clock that its own waits move."""

from __future__ import annotations

import threading

import pytest

from exporter.bulkhead import Bulkheads
from exporter.collection import Collection
from exporter.devmapper import DmStatus
from exporter.guard import Rules
from exporter.model import GuardMode, Reason, Stage
from exporter.simulation import ManualClock, SimulatedHost
from exporter.snapshot import Readings
from tests.fakes import LVM_RULES, PROGRAMS, GuardedHost, docker_host
from tests.unit.test_guard_isolation import FaultyRules

# What one cycle takes. A loop that never pauses makes 2,000 cycles a second.
CYCLE_SECONDS = 0.0005
SECONDS = 10.0


class Stop(threading.Event):
    """Is set when the clock shows `ends_at`; waiting for it moves the clock."""

    def __init__(self, clock: ManualClock, ends_at: float) -> None:
        super().__init__()
        self._clock = clock
        self._ends_at = ends_at

    def is_set(self) -> bool:
        """See Event.is_set."""
        return self._clock.now >= self._ends_at

    def wait(self, timeout: float | None = None) -> bool:
        """See Event.wait."""
        self._clock.now += timeout or 0.0
        return self.is_set()


class CountingHost(SimulatedHost):
    """A kernel whose waits move the clock, and which counts what it is asked for."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.clock = clock
        self.event_after_seconds = float("inf")  # an event follows each `arm` so soon
        self.is_always_woken = False
        self.cycles = self.lists = self.statuses = 0
        self._event_at = float("inf")

    def arm(self) -> None:
        """See Kernel.arm: what is armed stays armed until an event."""
        self._event_at = min(self._event_at, self.clock.now + self.event_after_seconds)

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait."""
        self.cycles += 1
        self.clock.now += CYCLE_SECONDS
        ends_at = self.clock.now + timeout_seconds
        if self._event_at <= ends_at:
            self.clock.now = max(self.clock.now, self._event_at)
            self._event_at = float("inf")
            return True
        if not self.is_always_woken:
            self.clock.now = ends_at
        return False

    def names(self) -> dict[str, str]:
        """See Kernel.names."""
        self.lists += 1
        return dict(super().names())

    def status(self, name: str) -> DmStatus | None:
        """See Kernel.status."""
        self.statuses += 1
        return super().status(name)


def run(guarded: GuardedHost) -> CountingHost:
    """Run the loop for ten seconds of its clock."""
    assert isinstance(guarded.host, CountingHost)
    guarded.guard.run(Stop(guarded.clock, guarded.clock.now + SECONDS))
    return guarded.host


@pytest.mark.parametrize("per_second", [50, 300, 5000])
def test_many_events_cause_ten_looks_at_all_pools_a_second(per_second: int) -> None:
    """A look follows each event; the loop sleeps until that is due."""
    guarded = docker_host(rules=Rules(mode=GuardMode.OFF), kind=CountingHost)
    assert isinstance(guarded.host, CountingHost)
    guarded.host.event_after_seconds = 1 / per_second

    host = run(guarded)

    assert 90 <= host.lists <= 11 * SECONDS + 1  # once a second it looks without an event
    assert host.cycles <= 2 * host.lists + SECONDS


def test_an_event_after_a_quiet_time_is_looked_at_at_once() -> None:
    """Three a second are not many: none of them waits."""
    guarded = docker_host(rules=Rules(mode=GuardMode.OFF), kind=CountingHost)
    assert isinstance(guarded.host, CountingHost)
    guarded.host.event_after_seconds = 1 / 3

    host = run(guarded)

    assert host.lists >= 3 * SECONDS
    assert host.cycles <= host.lists + 1


def test_the_loop_makes_a_hundred_cycles_a_second_at_most() -> None:
    """Even if something wakes it all the time."""
    guarded = docker_host(kind=CountingHost)
    assert isinstance(guarded.host, CountingHost)
    guarded.host.is_always_woken = True

    assert run(guarded).cycles <= 100 * SECONDS + 1


def test_a_calm_pool_is_looked_at_ten_times_a_second() -> None:
    """With no event and no wake, each look is one cycle."""
    host = run(docker_host(kind=CountingHost))

    assert host.statuses <= 10 * SECONDS + 1
    assert host.cycles <= 11 * SECONDS


def test_a_pool_that_cannot_be_decided_is_looked_at_once_an_interval() -> None:
    """Looking more often would not help."""
    guarded = docker_host(rules=LVM_RULES, kind=CountingHost)
    guarded.cycle()
    guarded.guard.follow(FaultyRules(anticipate=False))

    host = run(guarded)

    assert guarded.verdict().reason is Reason.INTERNAL_ERROR
    assert host.statuses <= SECONDS + 3


class Unreadable(Collection):
    """A collection that fails for a reason that nobody foresaw."""

    @property
    def readings(self) -> Readings:
        """See Collection.readings."""
        raise RuntimeError("unforeseen")


def test_a_cycle_that_fails_is_repeated_ten_times_a_second() -> None:
    """And all pools are looked at once an interval, as ever."""
    guarded = docker_host(kind=CountingHost)
    bulkheads = Bulkheads(guarded.log, guarded.clock)
    guarded.collection = Unreadable(
        guarded.host.access(),
        PROGRAMS,
        wall_clock=guarded.clock,
        clock=guarded.clock,
        bulkheads=bulkheads,
    )
    guarded.restart_guard()

    host = run(guarded)

    assert 5 * SECONDS <= bulkheads.counts[Stage.CYCLE] <= 10 * SECONDS + 1
    assert host.lists <= SECONDS + 1
    assert not guarded.guard.is_cycling()
