"""A pool whose status waits for a disk: the others are guarded, and it is when it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from exporter.devmapper import DmDevice, DmStatus
from exporter.guard.loop import MUTE_SECONDS
from exporter.guard.sight import OvertakenError
from exporter.model import Collector, Device, PoolMode, Reason
from exporter.simulation import ManualClock, SimulatedHost
from tests.fakes import GuardedHost, docker_host
from tests.waiting import PATIENCE_SECONDS, eventually

T = TypeVar("T")

MUTE, OTHER = "docker/thinpool", "docker/other"
DM_NAME = "docker-thinpool"


class Waiting(SimulatedHost):
    """A simulated host of which one pool's metadata lies on a disk that may hang."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.answers = threading.Event()
        self.answers.set()
        # The simulation makes one device, and their names, of all.
        self.is_all_asked = False

    def status(self, name: str) -> DmStatus | None:
        """See Kernel.status."""
        return self._slowly(super().status, name)

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        return self._slowly(super().device, name)

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices."""
        assert not self.is_all_asked or self.answers.wait(PATIENCE_SECONDS)
        return super().devices()

    def _slowly(self, ask: Callable[[str], T], name: str) -> T:
        if name == DM_NAME:
            assert self.answers.wait(PATIENCE_SECONDS)
        return ask(name)


class Aside:
    """Does something in a thread, and keeps what it raises."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - for the test to look at
            self.error = error


@pytest.fixture
def guarded() -> Iterator[GuardedHost]:
    """Make a host with two pools, both read once; nothing waits in the end."""
    made = docker_host(kind=Waiting)
    made.host.add_pool(OTHER, made.host.pool(MUTE).spec)
    made.collection.refresh_all()
    yield made
    waiting(made).answers.set()


def waiting(guarded: GuardedHost) -> Waiting:
    """Give the host as what it is."""
    assert isinstance(guarded.host, Waiting)
    return guarded.host


def hang(guarded: GuardedHost) -> Aside:
    """Have the disk hang while a cycle asks, and step over the pool after some seconds."""
    waiting(guarded).answers.clear()
    cycle = Aside(lambda: guarded.guard.cycle(has_event=True))
    guarded.clock.now += MUTE_SECONDS / 2
    assert not guarded.guard.step_over()
    assert eventually(lambda: steps_over(guarded))
    return cycle


def steps_over(guarded: GuardedHost) -> bool:
    """Let time pass, and try."""
    guarded.clock.now += MUTE_SECONDS
    return guarded.guard.step_over()


def modes(guarded: GuardedHost) -> dict[str, PoolMode]:
    """Read the pools' modes from the Snapshot."""
    return {pool.label: pool.mode for pool in guarded.snapshot().pools}


def test_the_others_are_guarded(guarded: GuardedHost) -> None:
    """Of the one nothing is known, and nothing is done about it."""
    guarded.cycle()
    cycle = hang(guarded)
    assert not guarded.guard.step_over()
    guarded.host.fill(MUTE, 7500)
    guarded.host.fill(OTHER, 7500)

    guarded.cycle(2)

    assert not cycle.is_over
    assert guarded.verdict(OTHER).counters[Device.DATA].extends == 1
    assert guarded.verdict(MUTE).reason is Reason.USAGE_UNKNOWN
    assert guarded.verdict(MUTE).counters[Device.DATA].extends == 0
    assert modes(guarded) == {MUTE: PoolMode.RW, OTHER: PoolMode.RW}  # by lvs
    guarded.cycle_for(60)
    assert modes(guarded) == {MUTE: PoolMode.UNKNOWN, OTHER: PoolMode.RW}
    assert [event["dm_name"] for event in guarded.log.events("pool_status_waits")] == [DM_NAME]


def test_it_is_guarded_again_when_it_answers(guarded: GuardedHost) -> None:
    """The thread that has waited ends, and touches nothing any more."""
    guarded.cycle()
    cycle = hang(guarded)
    guarded.host.fill(MUTE, 7500)
    guarded.cycle(2)

    waiting(guarded).answers.set()

    assert eventually(lambda: cycle.is_over)
    assert isinstance(cycle.error, OvertakenError)
    guarded.cycle(2)
    assert guarded.verdict(MUTE).counters[Device.DATA].extends == 1
    assert len(guarded.log.events("pool_status_answers")) == 1


def test_a_guard_that_starts_meanwhile_finds_the_others(guarded: GuardedHost) -> None:
    """Its first look lists all devices, and asks each."""
    cycle = hang(guarded)
    guarded.host.fill(OTHER, 7500)
    guarded.cycle(2)

    assert guarded.verdict(OTHER).counters[Device.DATA].extends == 1
    waiting(guarded).answers.set()
    assert eventually(lambda: cycle.is_over)
    guarded.cycle(2)
    assert guarded.verdict(MUTE).reason is Reason.BELOW_THRESHOLD


def test_run_ends_where_it_has_been_overtaken(guarded: GuardedHost) -> None:
    """Two threads at one guard would extend a pool twice."""
    waiting(guarded).answers.clear()
    run = Aside(lambda: guarded.guard.run(threading.Event()))
    assert eventually(lambda: steps_over(guarded))

    waiting(guarded).answers.set()

    assert eventually(lambda: run.is_over)
    assert run.error is None


def test_a_kernel_that_does_not_answer_counts_as_failed(guarded: GuardedHost) -> None:
    """Its reading has no deadline, and so would be as good as its last one for ever."""
    waiting(guarded).answers.clear()
    waiting(guarded).is_all_asked = True
    reading = Aside(lambda: guarded.collection.refresh(Collector.DEVICE_MAPPER))

    def says() -> bool:
        guarded.clock.now += 5
        return not guarded.collection.snapshot().collectors[Collector.DEVICE_MAPPER].is_ok

    assert eventually(says)
    said = {
        problem.subject: problem.message for problem in guarded.collection.snapshot().problems
    }
    assert "no answer for 10 s" in said["device_mapper"]
    waiting(guarded).answers.set()
    assert eventually(lambda: reading.is_over)
    assert guarded.collection.snapshot().collectors[Collector.DEVICE_MAPPER].is_ok
    assert guarded.collection.is_complete
