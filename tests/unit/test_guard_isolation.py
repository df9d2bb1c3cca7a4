"""One fault costs no other pool anything, and is visible; nothing old is taken for current."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import pytest
from msgspec.structs import replace

from exporter.collection import Collection
from exporter.command import Output, Running
from exporter.devmapper import DmDevice, DmStatus
from exporter.errors import CommandStuckError, KernelError
from exporter.guard import Clocks, Rules
from exporter.guard.judge import Judge
from exporter.guard.worker import EXTENSION_THREADS, READING_THREADS
from exporter.model import (
    Collector,
    Device,
    Failure,
    GuardMode,
    PoolMode,
    Reason,
    Stage,
    ThinPool,
)
from exporter.policy import Limits
from exporter.simulation import LoopPoolSpec, ManualClock, PoolSpec, SimulatedHost
from exporter.snapshot import Readings
from tests.fakes import MIB, PROGRAMS, WORKER_SECONDS, GuardedHost, docker_host
from tests.waiting import PATIENCE_SECONDS, eventually

POOL, OTHER = "docker/thinpool", "docker/other"


def two_pools(
    rules: Rules | None = None, kind: type[SimulatedHost] = SimulatedHost
) -> GuardedHost:
    """Make a host with two pools in one VG, both below their threshold."""
    guarded = docker_host(rules=rules, kind=kind)
    guarded.host.add_pool(OTHER, guarded.host.pool(POOL).spec)
    guarded.collection.refresh_all()
    guarded.cycle()
    return guarded


def errors(guarded: GuardedHost) -> Mapping[Stage, int]:
    """Read what has been counted, without what was never met."""
    guard = guarded.snapshot().guard
    assert guard is not None
    return {stage: count for stage, count in guard.errors.items() if count}


class FaultyRules(Rules, frozen=True, kw_only=True):
    """Rules that cannot be applied to one pool."""

    faulty: str = POOL

    def limits_of(self, pool: ThinPool) -> Limits:
        """Fail for that pool, as a bug would."""
        if pool.label == self.faulty:
            raise ZeroDivisionError("division by zero")
        return super().limits_of(pool)


def test_a_pool_that_cannot_be_decided_costs_no_other_anything() -> None:
    """It is said of it, counted, and tried again ever more rarely."""
    guarded = two_pools(FaultyRules(anticipate=False))
    guarded.host.fill(POOL, 7600)
    guarded.host.fill(OTHER, 7600)

    guarded.cycle(2)

    assert guarded.verdict(OTHER).counters[Device.DATA].extends == 1
    verdict = guarded.verdict(POOL)
    assert verdict.reason is Reason.INTERNAL_ERROR
    assert "division by zero" in verdict.detail
    assert not verdict.is_responsible
    before = errors(guarded)[Stage.DECIDE]
    guarded.cycle_for(60)
    assert errors(guarded)[Stage.DECIDE] - before <= 7


def test_a_pool_that_cannot_be_merged_costs_no_other_anything() -> None:
    """LVM's account of it has a value that nothing can be made of, until LVM is read again."""
    guarded = two_pools()
    assert guarded.collection.update_account(
        POOL, lambda pool, group: (replace(pool, profile=[POOL]), group)
    )
    guarded.host.fill(OTHER, 7600)

    snapshot = guarded.snapshot()
    guarded.cycle()

    modes = {pool.label: pool.mode for pool in snapshot.pools}
    assert modes == {POOL: PoolMode.UNKNOWN, OTHER: PoolMode.RW}
    assert POOL in {problem.subject for problem in snapshot.problems}
    assert guarded.verdict(OTHER).counters[Device.DATA].extends == 1
    assert errors(guarded)[Stage.REPORT] >= 2


def test_a_pool_that_cannot_be_decided_is_foreseen_as_such() -> None:
    """By `check` and by an observer; the other pools are foreseen as they are."""
    guarded = two_pools()
    clocks = Clocks(monotonic=guarded.clock, wall=guarded.clock)

    foreseen = Judge(FaultyRules(), clocks).foresee(guarded.collection.snapshot()).guard

    assert foreseen is not None
    assert {label: pool.reason for label, pool in foreseen.pools.items()} == {
        POOL: Reason.INTERNAL_ERROR,
        OTHER: Reason.BELOW_THRESHOLD,
    }


class OneFails(SimulatedHost):
    """A kernel that cannot be asked about one device."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.failing: str | None = None

    def status(self, name: str) -> DmStatus | None:
        """See Kernel.status."""
        if name == self.failing:
            raise KernelError("request 12: Cannot allocate memory")
        return super().status(name)


def test_a_device_that_cannot_be_read_is_guarded_by_lvs() -> None:
    """After ten seconds its last status no longer counts; the other pool never waits."""
    guarded = two_pools(kind=OneFails)
    assert isinstance(guarded.host, OneFails)
    guarded.host.failing = "docker-thinpool"
    guarded.host.fill(POOL, 7600)
    guarded.host.fill(OTHER, 7600)

    guarded.cycle(2)
    assert guarded.verdict(OTHER).counters[Device.DATA].extends == 1
    assert guarded.verdict(POOL).counters[Device.DATA].extends == 0
    guarded.cycle_for(12)
    guarded.collection.refresh(Collector.LVM)
    guarded.cycle_for(2)

    assert guarded.verdict(POOL).counters[Device.DATA].extends == 1
    assert errors(guarded)[Stage.POLL] >= 3


@pytest.mark.parametrize("is_lvs_readable", [True, False])
def test_nothing_old_is_taken_for_current(*, is_lvs_readable: bool) -> None:
    """Without the kernel lvs serves, and without both the pool is unknown, not safe."""
    guarded = docker_host()
    guarded.cycle()
    guarded.host.fail("device_mapper", KernelError("request 12: Cannot allocate memory"))
    if not is_lvs_readable:
        guarded.host.hang("lvs")
    guarded.host.fill(POOL, 6300)

    for _ in range(120):
        guarded.clock.now += 5
        guarded.collection.refresh(Collector.DEVICE_MAPPER)
        guarded.collection.refresh(Collector.LVM)
        guarded.cycle()

    (pool,) = guarded.snapshot().pools
    verdict = guarded.verdict()
    if is_lvs_readable:
        assert pool.data is not None
        assert pool.data.used_blocks == 6300
        assert (pool.mode, verdict.reason) == (PoolMode.RW, Reason.BELOW_THRESHOLD)
    else:
        assert pool.data is None
        assert (pool.mode, verdict.reason) == (PoolMode.UNKNOWN, Reason.USAGE_UNKNOWN)
    assert verdict.is_responsible is is_lvs_readable
    assert guarded.guard.is_cycling()


def test_a_pool_whose_kernel_status_is_gone_is_extended_by_lvs_alone() -> None:
    """Decided by its percentages, and verified by its sizes."""
    guarded = docker_host()
    guarded.cycle()
    guarded.host.fail("device_mapper", KernelError("request 12: Cannot allocate memory"))
    guarded.host.fill(POOL, 6500)
    guarded.clock.now += 60
    guarded.collection.refresh(Collector.LVM)

    guarded.cycle(3)

    verdict = guarded.verdict()
    assert verdict.counters[Device.DATA].extended_bytes == 100 * MIB
    assert verdict.reason is Reason.BELOW_THRESHOLD


def test_a_pool_that_the_kernel_never_listed_is_extended_by_lvs_alone() -> None:
    """It was made while no list could be had: that it is missing there says nothing."""
    guarded = docker_host()
    guarded.cycle()
    guarded.host.fail("device_mapper", KernelError("request 2: Cannot allocate memory"))
    guarded.host.add_pool(OTHER, guarded.host.pool(POOL).spec)
    guarded.host.fill(OTHER, 6500)
    guarded.clock.now += 60
    guarded.collection.refresh(Collector.LVM)

    guarded.cycle(3)

    assert guarded.verdict(OTHER).counters[Device.DATA].extended_bytes == 100 * MIB


class HangingLvs(SimulatedHost):
    """A host whose lvs hangs until it is released."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.released = threading.Event()
        self.released.set()
        self.hung = threading.Semaphore(0)

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        if argv[1] == "lvs" and not self.released.is_set():
            self.hung.release()
            assert self.released.wait(2 * PATIENCE_SECONDS)  # longer than the test waits
            raise CommandStuckError(argv, deadline_seconds)
        return super().run(argv, deadline_seconds=deadline_seconds)


def test_a_reading_that_hangs_delays_no_extension() -> None:
    """One follows another while lvs hangs: the kernel shows what came of the first."""
    guarded = two_pools(kind=HangingLvs)
    host = guarded.host
    assert isinstance(host, HangingLvs)
    host.released.clear()
    try:
        host.fill(POOL, 7600)
        guarded.guard.cycle(has_event=True)
        assert host.hung.acquire(timeout=WORKER_SECONDS)
        for label in (OTHER, POOL):
            host.fill(label, 9000)

            def has_grown(label: str = label) -> bool:
                guarded.guard.cycle(has_event=True)
                return host.pool(label).data_chunks > 9000

            assert eventually(has_grown)
    finally:
        host.released.set()
    assert guarded.guard.join_workers(WORKER_SECONDS)


def test_readings_that_hang_take_no_thread_from_an_extension() -> None:
    """Of more VGs than there are threads that extend; each has a full pool and no space."""
    guarded = docker_host(kind=HangingLvs)
    host = guarded.host
    assert isinstance(host, HangingLvs)
    full = [f"full{number}" for number in range(EXTENSION_THREADS + 1)]
    for vg in full:
        host.add_vg(vg, extents=125 + 4)
        host.add_pool(f"{vg}/pool", host.pool(POOL).spec)
    guarded.collection.refresh_all()
    guarded.cycle()
    host.released.clear()
    try:
        for vg in full:
            host.fill(f"{vg}/pool", 8000)
        guarded.guard.cycle(has_event=True)
        for _ in range(READING_THREADS):
            assert host.hung.acquire(timeout=WORKER_SECONDS)
        host.fill(POOL, 6500)
        guarded.guard.cycle(has_event=True)

        assert eventually(lambda: host.pool(POOL).data_chunks > 8000)
    finally:
        host.released.set()
    assert guarded.guard.join_workers(WORKER_SECONDS)


def test_an_extension_needs_no_new_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where processes and threads have run out, those that were started ahead do it."""
    guarded = docker_host()
    guarded.cycle()

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    guarded.host.fill(POOL, 6500)
    guarded.cycle(2)

    assert guarded.verdict().counters[Device.DATA].extends == 1


class Raising(SimulatedHost):
    """A host on which lvextend cannot be started, for a reason that nobody foresaw."""

    error: Exception | None = None
    started = 0

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """See Runner.start."""
        self.started += 1
        if self.error:
            raise self.error
        return super().start(argv, environment=environment)


def test_an_exception_in_an_extension_is_a_failure_of_it() -> None:
    """Counted and latched like any other, and the thread goes on."""
    guarded = docker_host(kind=Raising)
    host = guarded.host
    assert isinstance(host, Raising)
    host.error = OSError(5, "Input/output error")
    host.fill(POOL, 6500)

    guarded.cycle(3)

    assert host.started == 1
    verdict = guarded.verdict()
    assert verdict.reason is Reason.INTERNAL_ERROR
    assert verdict.counters[Device.DATA].failures == {Failure.INTERNAL_ERROR: 1}
    assert errors(guarded)[Stage.EXTEND] == 1
    host.error = None
    guarded.clock.now += 11
    guarded.cycle(2)
    assert guarded.verdict().counters[Device.DATA].extends == 1


class Replaced(SimulatedHost):
    """A host on which another pool has the name when the worker looks."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.is_replaced = False

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        found = super().device(name)
        if found is None or not self.is_replaced:
            return found
        return replace(found, uuid="LVM-another-tpool")


class LateWorkers(ManualClock):
    """A clock by which a second passes before a worker begins."""

    def __call__(self) -> float:
        """Return the time in this thread."""
        is_worker = threading.current_thread().name.startswith("extend-")
        return super().__call__() + is_worker


def test_a_pool_that_was_made_anew_gets_no_size_of_the_old_one() -> None:
    """LVM takes names alone: whoever had to wait for a thread compares the kernel's UUID."""
    guarded = docker_host(kind=Replaced, clock=LateWorkers())
    host = guarded.host
    assert isinstance(host, Replaced)
    guarded.cycle()
    host.fill(POOL, 6500)
    host.is_replaced = True

    guarded.cycle(3)

    assert not guarded.log.events("extending")
    assert guarded.log.events("extend_superseded")
    host.is_replaced = False
    guarded.clock.now += 2
    guarded.cycle(2)
    assert guarded.verdict().counters[Device.DATA].extends == 1


def test_the_wait_for_a_thread_is_a_part_of_the_reaction_time() -> None:
    """From the decision on, and not from the start of lvextend."""
    guarded = docker_host(clock=LateWorkers())
    guarded.cycle()
    guarded.host.fill(POOL, 6500)

    guarded.cycle(2)

    assert guarded.verdict().counters[Device.DATA].extends == 1
    assert guarded.guard._judge.reaction_seconds("docker") >= 1  # noqa: SLF001 - decisions go by it


def test_the_reserve_is_kept_when_two_pools_cross_at_once() -> None:
    """The account that the second one is decided by has what the first one took."""
    reserve = Rules(anticipate=False, reserve_bytes=40 * 4 * MIB)
    guarded = docker_host(vg_extents=125 * 2 + 2 * 3 + 70, rules=reserve)
    guarded.host.add_pool(OTHER, guarded.host.pool(POOL).spec)
    guarded.collection.refresh_all()
    guarded.cycle()
    guarded.host.fill(POOL, 6500)
    guarded.host.fill(OTHER, 6800)

    for _ in range(6):
        guarded.guard.cycle(has_event=True)
    assert guarded.guard.join_workers(WORKER_SECONDS)
    guarded.cycle(3)

    grown = [guarded.host.pool(label).data_chunks // 64 for label in (POOL, OTHER)]
    assert sum(grown) == 125 * 2 + 30


class SlowStart(SimulatedHost):
    """A host whose lvextend begins when it is let."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.may_start = threading.Event()

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """See Runner.start."""
        assert self.may_start.wait(WORKER_SECONDS)
        return super().start(argv, environment=environment)


class HeldUp(Collection):
    """A collection whose reader may lose the processor as soon as it has the readings."""

    hold_up: Callable[[], object] | None = None

    @property
    def readings(self) -> Readings:
        """See Collection.readings; held up once."""
        readings = super().readings
        if hold_up := self.hold_up:
            self.hold_up = None
            hold_up()
        return readings


def test_the_reserve_is_kept_when_an_extension_ends_in_the_middle_of_a_cycle() -> None:
    """The cycle has the account from before it: the VG's next pool must wait."""
    reserve = Rules(anticipate=False, reserve_bytes=40 * 4 * MIB)
    guarded = docker_host(vg_extents=125 * 2 + 2 * 3 + 70, rules=reserve, kind=SlowStart)
    host = guarded.host
    assert isinstance(host, SlowStart)
    collection = HeldUp(host.access(), PROGRAMS, wall_clock=guarded.clock, clock=guarded.clock)
    guarded.collection = collection
    guarded.restart_guard()
    host.add_pool(OTHER, host.pool(POOL).spec)
    collection.refresh_all()
    guarded.cycle()
    host.fill(POOL, 6500)
    guarded.guard.cycle(has_event=True)
    host.fill(OTHER, 6800)

    def end_extension() -> None:
        host.may_start.set()
        assert guarded.guard.join_workers(WORKER_SECONDS)

    collection.hold_up = end_extension
    guarded.cycle(3)

    grown = [host.pool(label).data_chunks // 64 for label in (POOL, OTHER)]
    assert grown[0] == 125 + 25
    assert sum(grown) == 125 * 2 + 30


class SlowLoop(ManualClock):
    """A clock by which the loop is held up at each look at it, if `hold_up` is set."""

    hold_up: Callable[[], object] | None = None

    def __call__(self) -> float:
        """Tell the time, late in the main thread."""
        if self.hold_up and threading.current_thread() is threading.main_thread():
            self.hold_up()
        return super().__call__()


def test_the_reserve_is_kept_when_an_extension_ends_within_the_cycle_that_began_it() -> None:
    """The next pool of the VG is decided in the same cycle, by the account from before."""
    clock = SlowLoop()
    reserve = Rules(anticipate=False, reserve_bytes=40 * 4 * MIB)
    guarded = docker_host(vg_extents=125 * 2 + 2 * 3 + 70, rules=reserve, clock=clock)
    guarded.host.add_pool(OTHER, guarded.host.pool(POOL).spec)
    guarded.collection.refresh_all()
    guarded.cycle()
    guarded.host.fill(POOL, 6500)
    guarded.host.fill(OTHER, 6800)

    clock.hold_up = lambda: guarded.guard.join_workers(WORKER_SECONDS)
    guarded.cycle(3)

    grown = [guarded.host.pool(label).data_chunks // 64 for label in (POOL, OTHER)]
    assert sum(grown) == 125 * 2 + 30


class Counting(SimulatedHost):
    """A host that counts how often LVM is read."""

    reads = 0

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        self.reads += argv[1] == "lvs"
        return super().run(argv, deadline_seconds=deadline_seconds)


def reads_for(guarded: GuardedHost, seconds: float) -> int:
    """Count the readings of LVM while time passes; the schedule does not run here."""
    assert isinstance(guarded.host, Counting)
    before = guarded.host.reads
    guarded.cycle_for(seconds)
    return guarded.host.reads - before


def test_a_full_pool_whose_guard_is_off_asks_nothing_of_lvm() -> None:
    """Though its writers wait."""
    guarded = docker_host(rules=Rules(mode=GuardMode.OFF), vg_extents=125 + 4, kind=Counting)
    guarded.host.fill(POOL, 8000)
    guarded.cycle()

    assert reads_for(guarded, 30) == 0


def test_a_pool_that_waits_for_space_has_lvm_read_after_events_alone() -> None:
    """The guard's own wakes are none, nor is the time."""
    guarded = docker_host(vg_extents=125 + 4, kind=Counting)
    assert isinstance(guarded.host, Counting)
    guarded.host.fill(POOL, 6500)
    guarded.cycle(2)
    assert guarded.verdict().reason is Reason.NO_SPACE
    before = guarded.host.reads

    for _ in range(60):
        guarded.clock.now += 1
        guarded.guard.cycle()
        assert guarded.guard.join_workers(WORKER_SECONDS)
    assert guarded.host.reads == before

    guarded.cycle_for(1)
    assert guarded.host.reads == before + 1


def test_a_full_pool_that_is_not_lvms_asks_nothing_of_lvm() -> None:
    """Though its writers wait: LVM knows nothing of it."""
    guarded = docker_host(kind=Counting)
    spec = PoolSpec(data_bytes=500 * MIB, metadata_bytes=8 * MIB, chunk_bytes=65536)
    guarded.host.add_loop_pool("docker-8:1-131-pool", LoopPoolSpec(pool=spec))
    guarded.collection.refresh_all()
    guarded.host.fill("docker-8:1-131-pool", 8000)
    guarded.cycle()

    assert reads_for(guarded, 30) == 0


def test_a_size_that_differs_for_good_is_asked_about_ever_more_rarely() -> None:
    """As after an lvextend that was committed, and whose reload the kernel refused."""
    guarded = docker_host(kind=Counting)
    pool = guarded.host.pool(POOL)
    assert pool.vg is not None
    pool.vg.extend(pool.data_lv, 10)
    pool.vg.lvs["thinpool"].segments[0].extents += 10
    pool.vg.seqno += 1
    guarded.collection.refresh_all()

    assert 4 <= reads_for(guarded, 60) <= 7
    assert guarded.verdict().reason is Reason.LAYOUT_DIFFERS


class NoWait(SimulatedHost):
    """A kernel whose events cannot be waited for."""

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait."""
        raise OSError(9, f"Bad file descriptor, {timeout_seconds}")


def test_a_wait_that_fails_does_not_make_the_loop_spin() -> None:
    """It goes on by the clock, and what has been seen is judged."""
    guarded = docker_host(kind=NoWait)
    stop = threading.Event()
    loop = threading.Thread(target=guarded.guard.run, args=(stop,), daemon=True)
    loop.start()

    assert eventually(lambda: errors(guarded).get(Stage.CYCLE, 0) >= 3)
    before = errors(guarded)[Stage.CYCLE]
    assert not stop.wait(0.5)  # a window to count in
    assert errors(guarded)[Stage.CYCLE] - before <= 6
    stop.set()
    loop.join(WORKER_SECONDS)
    assert not loop.is_alive()


class Ordered(SimulatedHost):
    """A kernel that notes in which order it is armed, listed, and tells of an event."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.steps: list[str] = []

    def arm(self) -> None:
        """See Kernel.arm."""
        self.steps.append("arm")
        super().arm()

    def names(self) -> Mapping[str, str]:
        """See Kernel.names."""
        self.steps.append("list")
        return super().names()

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait."""
        has_event = super().wait(timeout_seconds)
        self.steps += ["event"] * has_event
        return has_event


def test_the_look_after_an_event_begins_armed() -> None:
    """Or what happens during that look would be seen a whole interval later."""
    guarded = docker_host(kind=Ordered)
    host = guarded.host
    assert isinstance(host, Ordered)
    stop = threading.Event()
    loop = threading.Thread(target=guarded.guard.run, args=(stop,), daemon=True)
    loop.start()
    assert eventually(lambda: "list" in host.steps)
    lists = host.steps.count("list")

    host.suspend(POOL)
    host.suspend(POOL, is_suspended=False)

    assert eventually(lambda: host.steps.count("list") > lists)
    stop.set()
    guarded.guard.follow(Rules())  # wakes it
    loop.join(WORKER_SECONDS)
    after = host.steps[host.steps.index("event") + 1 :]
    assert after[:2] == ["arm", "list"]
