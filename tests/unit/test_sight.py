"""What the guard sees of the kernel: pools that come, go, change and fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from exporter.bulkhead import Bulkheads
from exporter.devmapper import DmDevice, DmStatus, status_of
from exporter.errors import KernelError
from exporter.guard.pace import pause_seconds
from exporter.guard.sight import MAX_MUTE_DEVICES, SeenPool, Sight
from exporter.model import Device, Reason, Stage
from exporter.simulation import ManualClock
from tests.fakes import FakeLog

GIB = 1024**3
POOL = DmDevice(
    name="docker-thinpool",
    uuid="LVM-a-tpool",
    number="253:4",
    is_suspended=False,
    event_number=0,
    kind="thin-pool",
    length_sectors=8000 * 128,
    table="253:2 253:3 128 8192 1 skip_block_zeroing",
    status="0 15/6144 39/8000 - rw discard_passdown queue_if_no_space - 1024",
)
ROOT = replace(POOL, name="root", uuid="LVM-b", number="253:0", kind="linear", status=None)


@dataclass
class Devices:
    """A kernel with these devices, and how often each status was asked for."""

    present: list[DmDevice]
    asked: list[str] = field(default_factory=list)
    errors: dict[str, KernelError] = field(default_factory=dict)
    list_error: KernelError | None = None

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices."""
        return tuple(self.present)

    def names(self) -> dict[str, str]:
        """See Kernel.names."""
        if self.list_error:
            raise self.list_error
        return {device.name: device.number for device in self.present}

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        if name in self.errors:
            raise self.errors[name]
        found = next((device for device in self.present if device.name == name), None)
        return found if found and found.kind in {"thin-pool", "thin", ""} else None

    def status(self, name: str) -> DmStatus | None:
        """See Kernel.status."""
        self.asked.append(name)
        if name in self.errors:
            raise self.errors[name]
        found = next((device for device in self.present if device.name == name), None)
        return status_of(found) if found else None

    def arm(self) -> None:
        """See Kernel.arm."""

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait."""
        return bool(timeout_seconds)

    def wake(self) -> None:
        """See Kernel.wake."""


def using(used: int) -> DmDevice:
    """Use so many of the pool's 8,000 chunks."""
    return replace(POOL, status=(POOL.status or "").replace("39/8000", f"{used}/8000"))


def seeing(*devices: DmDevice) -> tuple[Devices, Sight, ManualClock]:
    """Look at these for the first time."""
    kernel, clock = Devices([*devices]), ManualClock()
    sight = Sight(kernel, clock, bulkheads=Bulkheads(FakeLog(), clock))
    assert sight.list_devices()
    return kernel, sight, clock


def test_finds_the_pools_among_the_devices() -> None:
    """Others are not asked again."""
    kernel, sight, _ = seeing(ROOT, POOL)

    assert [pool.dm_name for pool in sight.kernel_pools()] == ["docker-thinpool"]
    assert not sight.list_devices()
    sight.look(is_all=True)
    assert kernel.asked == ["docker-thinpool"]


def test_a_pool_that_is_being_made_is_found_when_it_has_a_table() -> None:
    """LVM creates a device, then loads its table, then resumes it: three events."""
    kernel, sight, _ = seeing(replace(POOL, kind="", table="", status=None))
    assert not sight.pools

    kernel.present = [POOL]

    assert sight.list_devices()
    assert "docker-thinpool" in sight.pools


@pytest.mark.parametrize(
    "after",
    [
        (),
        (replace(POOL, name="docker-renamed"),),
        (replace(POOL, number="253:9", uuid="LVM-c-tpool"),),
    ],
    ids=["removed", "renamed", "made anew"],
)
def test_a_pool_that_goes_or_becomes_another_is_noticed(after: tuple[DmDevice, ...]) -> None:
    """By name and number, at the next listing; its history ends there."""
    kernel, sight, _ = seeing(POOL)
    before = sight.pools["docker-thinpool"]
    kernel.present = [*after]

    assert sight.look(is_all=True) == []
    assert sight.list_devices()

    assert [*sight.pools] == [device.name for device in after]
    assert before not in sight.pools.values()


@pytest.mark.parametrize(
    "earlier",
    [replace(ROOT, name=POOL.name, number=POOL.number), replace(POOL, uuid="LVM-other-tpool")],
    ids=["another thing", "another pool"],
)
def test_a_pool_in_the_place_of_another_device_is_found(earlier: DmDevice) -> None:
    """With its name and its number, and with nothing between two listings that tells of it."""
    kernel, sight, clock = seeing(earlier)
    kernel.present = [POOL]
    clock.now += 2

    sight.look(is_all=True)

    assert sight.list_devices(has_event=True)
    assert [pool.dm_uuid for pool in sight.kernel_pools()] == [POOL.uuid]
    assert not sight.list_devices(has_event=True)


def test_other_devices_are_asked_again_within_bounds() -> None:
    """A host has hundreds of them, and may have hundreds of events in a second."""
    kernel, sight, clock = seeing(replace(ROOT, name=POOL.name, number=POOL.number))
    kernel.present = [POOL]

    assert not sight.list_devices(has_event=True)
    clock.now += 1
    assert sight.list_devices()


def test_tells_what_has_changed_and_only_that() -> None:
    """By what the status says; a reading that is the same is none."""
    kernel, sight, _ = seeing(POOL)

    assert sight.look(is_all=True) == []
    kernel.present = [using(4000)]
    (changed,) = sight.look(is_all=True)

    assert changed.pool.status.data is not None
    assert changed.pool.status.data.used_blocks == 4000
    assert sight.look(is_all=True) == []


def test_reads_each_pool_when_it_is_due() -> None:
    """One with a short pause every time, one with a long pause when half of that is over."""
    other = replace(POOL, name="other", number="253:5")
    kernel, sight, clock = seeing(POOL, other)
    sight.look(is_all=True)
    sight.pace(sight.pools["docker-thinpool"], 0.25)
    sight.pace(sight.pools["other"], 1.0)
    kernel.asked.clear()

    for _ in range(4):
        clock.now += 0.25
        sight.look(is_all=False)

    assert kernel.asked.count("docker-thinpool") == 4
    assert kernel.asked.count("other") == 2


def test_a_device_that_fails_costs_no_other_anything() -> None:
    """The others are read at the same look; it is counted, and asked again after a pause."""
    other = replace(POOL, name="other", number="253:5")
    kernel, sight, clock = seeing(POOL, other)
    kernel.errors = {"docker-thinpool": KernelError("request 12: no")}
    kernel.present = [POOL, replace(using(4000), name="other", number="253:5")]

    (changed,) = sight.look(is_all=True)

    assert changed.pool.dm_name == "other"
    kernel.asked.clear()
    sight.look(is_all=True)
    assert kernel.asked == ["other"]
    clock.now += 0.5
    kernel.errors = {}
    kernel.asked.clear()
    sight.look(is_all=True)
    assert kernel.asked == ["docker-thinpool", "other"]


def test_a_device_that_fails_does_not_make_the_loop_spin() -> None:
    """Not even when it is to be read at once, as after an extension."""
    kernel, sight, clock = seeing(POOL)
    kernel.errors = {"docker-thinpool": KernelError("request 12: no")}
    sight.look(is_all=True)

    for _ in range(3):
        sight.hurry("docker-thinpool")
        sight.look(is_all=False)
        assert min(sight.due_times()) >= clock.now + 0.5
    sight.mute.add("docker-thinpool")
    clock.now += 10
    sight.hurry("docker-thinpool")
    sight.look(is_all=False)
    assert min(sight.due_times()) > clock.now


@pytest.mark.parametrize(
    "after",
    [(), (replace(POOL, number="253:9", uuid="LVM-c-tpool"),)],
    ids=["removed", "made anew"],
)
def test_a_device_that_is_no_longer_the_pool_does_not_make_the_loop_spin(
    after: tuple[DmDevice, ...],
) -> None:
    """Until the devices are listed again, it is looked at as often as before."""
    kernel, sight, clock = seeing(POOL)
    kernel.present = [*after]

    for _ in range(3):
        sight.hurry("docker-thinpool")
        assert sight.look(is_all=False) == []
        assert min(sight.due_times()) == clock.now + sight.interval_seconds


def test_a_pool_that_nobody_paces_is_looked_at_once_an_interval() -> None:
    """While LVM does not know it yet, nothing is decided for it."""
    _, sight, clock = seeing(POOL)

    for _ in range(3):
        sight.look(is_all=False)
        assert min(sight.due_times()) == clock.now + sight.interval_seconds
        clock.now += sight.interval_seconds


def test_a_status_that_is_too_old_is_dropped() -> None:
    """Nothing is known then; what was known is not shown as current."""
    kernel, sight, clock = seeing(using(4000))
    sight.look(is_all=True)
    kernel.errors = {"docker-thinpool": KernelError("request 12: no")}

    clock.now += 10
    assert sight.look(is_all=True) == []
    clock.now += 1
    (changed,) = sight.look(is_all=True)

    assert not changed.pool.status.is_known
    assert sight.look(is_all=True) == []
    kernel.errors = {}
    clock.now += 5
    (changed,) = sight.look(is_all=True)
    assert changed.pool.status.is_known


def test_a_list_that_cannot_be_had_leaves_the_pools_as_they_are() -> None:
    """Each is still read."""
    kernel, sight, clock = seeing(POOL)
    kernel.list_error = KernelError("request 2: no")
    kernel.present = [using(4000)]

    assert not sight.list_devices()
    assert len(sight.look(is_all=True)) == 1
    assert not sight.is_list_old
    clock.now += 11
    assert sight.is_list_old


def test_a_device_that_cannot_be_read_when_it_is_found_is_asked_again() -> None:
    """Meanwhile it is known that something is there."""
    kernel, sight, clock = seeing(ROOT)
    kernel.present = [ROOT, POOL]
    kernel.errors = {"docker-thinpool": KernelError("request 12: no")}

    assert sight.list_devices(has_event=True)

    reading = sight.reading()
    assert reading is not None
    assert [problem.subject for problem in reading.problems] == ["docker-thinpool"]
    kernel.errors = {}
    clock.now += 1
    assert sight.list_devices()
    reading = sight.reading()
    assert reading is not None
    assert [pool.dm_name for pool in reading.pools] == ["docker-thinpool"]
    assert not reading.problems


@pytest.mark.parametrize("text", ["gibberish", "", "0 15/6144 39/0 - rw"])
def test_a_status_that_makes_no_sense_leaves_usage_unknown(text: str) -> None:
    """At once; it is counted as a failure, and is no reason to stop."""
    clock = ManualClock()
    kernel = Devices([POOL])
    bulkheads = Bulkheads(FakeLog(), clock)
    sight = Sight(kernel, clock, bulkheads=bulkheads)
    sight.list_devices()
    kernel.present = [replace(POOL, status=text)]

    (seen,) = sight.look(is_all=True)

    assert seen.pool.status.data is None
    assert seen.bytes_per_second(Device.DATA) == 0
    assert bulkheads.counts[Stage.POLL] == 1


def filled(*used: int, every: float) -> SeenPool:
    """Look at a pool with this usage, one after the other."""
    kernel, sight, clock = seeing(using(used[0]))
    for chunks in used:
        clock.now += every
        kernel.present = [using(chunks)]
        sight.look(is_all=True)
    return sight.pools["docker-thinpool"]


def test_tells_how_fast_a_pool_fills_and_when_it_will_be_full() -> None:
    """100 chunks of 64 KiB a second; 7,000 are left."""
    seen = filled(*range(0, 1001, 100), every=1.0)

    filling = seen.filling

    assert list(filling) == [Device.DATA]
    assert filling[Device.DATA].bytes_per_second == pytest.approx(100 * 65536)
    assert filling[Device.DATA].seconds_until_full == pytest.approx(70)


def test_a_small_pool_is_looked_at_more_often_than_a_large_one() -> None:
    """A disk of 1 GiB/s could fill 4 GiB in four seconds: sixteen looks in that."""
    large = replace(POOL, table="253:2 253:3 1024 8192 0", length_sectors=8000 * 1024)
    _, sight, _ = seeing(large)
    (seen,) = sight.pools.values()

    pause = pause_seconds(seen, Reason.BELOW_THRESHOLD, 1.0)

    assert pause == pytest.approx(7961 / 2048 / 16, rel=0.01)


@pytest.mark.parametrize("used", [(0,), range(10), (7990,)])
def test_a_calm_pool_costs_ten_looks_a_second_at_most(used: Sequence[int]) -> None:
    """However small it is: idle, in slow use, or all but full."""
    assert pause_seconds(filled(*used, every=1.0), Reason.BELOW_THRESHOLD, 1.0) == 0.1


def test_many_calm_pools_share_a_hundred_looks_a_second() -> None:
    """But none waits longer than the interval."""
    seen = filled(0, every=1.0)

    pauses = [
        pause_seconds(seen, Reason.BELOW_THRESHOLD, 1.0, pools=pools) for pools in (5, 50, 500)
    ]
    assert pauses == [0.1, 0.5, 1.0]


def test_while_it_fills_fast_there_are_sixteen_looks_until_it_is_full() -> None:
    """625 MiB/s, of which 375 MiB are left."""
    seen = filled(0, 1000, 2000, every=0.1)

    assert pause_seconds(seen, Reason.BELOW_THRESHOLD, 1.0) == pytest.approx(0.6 / 16, rel=0.1)


def test_a_pool_that_nothing_can_be_done_for_is_not_hurried() -> None:
    """Looking more often would not make space."""
    assert pause_seconds(filled(0, every=1.0), Reason.NO_SPACE, 1.0) == 1.0


def test_looks_are_never_closer_than_the_shortest_pause() -> None:
    """A pool that is all but full would take the whole processor."""
    seen = filled(5999, 6999, 7999, every=0.1)

    assert pause_seconds(seen, Reason.BELOW_THRESHOLD, 1.0) == 0.03


def test_a_disk_under_many_pools_takes_no_more_threads_than_some() -> None:
    """Each device that does not answer keeps one; other VGs are read as ever."""
    many = [
        replace(POOL, name=f"docker-pool{number}", number=f"253:{number}", uuid=f"LVM-{number}")
        for number in range(10, 12 + MAX_MUTE_DEVICES)
    ]
    other = replace(POOL, name="data-pool", number="253:5", uuid="LVM-other")
    kernel, sight, _ = seeing(*many, other)
    sight.mute.update(device.name for device in many[:MAX_MUTE_DEVICES])

    sight.look(is_all=True)
    assert kernel.asked == ["data-pool"]

    sight.mute.discard(many[0].name)
    sight.look(is_all=True)
    waiting = {device.name for device in many[1:MAX_MUTE_DEVICES]}
    assert set(kernel.asked) == {device.name for device in [*many, other]} - waiting


def test_a_new_device_under_the_name_of_one_that_hangs_is_unread() -> None:
    """Nobody says that it is inactive."""
    kernel, sight, clock = seeing(ROOT, POOL)
    sight.mute.add(POOL.name)
    kernel.present = [ROOT, replace(POOL, number="253:9", uuid="LVM-new")]
    sight.list_devices()

    reading = sight.reading()
    assert reading is not None
    assert [problem.subject for problem in reading.problems] == [POOL.name]

    sight.mute.discard(POOL.name)
    clock.now += 60
    sight.list_devices()
    assert [pool.dm_uuid for pool in sight.kernel_pools()] == ["LVM-new"]
