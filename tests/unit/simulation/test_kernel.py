"""The simulated kernel: texts, modes and events, and how time moves them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from exporter.simulation import ManualClock, PoolSpec, Sawtooth, SimulatedHost
from exporter.simulation.figures import GIB, KIB, MIB
from tests.unit.simulation.host import POOL, pool_device, rows, status


def test_kernel_texts_of_dockers_pool(host: SimulatedHost) -> None:
    """The pool is unlayered: its name has no suffix; its thin device has no UUID."""
    pool, thin = host.devices()

    assert pool.name == "docker-thinpool"
    assert pool.table == "253:0 253:1 1024 4096 1 skip_block_zeroing "
    assert pool.status == (
        "1 256/32768 10240/20480 - rw discard_passdown queue_if_no_space - 1024 "
    )
    assert pool.uuid.startswith("LVM-")
    assert len(pool.uuid.removesuffix("-tpool")) == len("LVM-") + 64
    assert (thin.kind, thin.uuid, thin.table) == ("thin", "", "253:2 1")
    assert thin.status == "2621440 2621439"  # a quarter of 5 GiB, in sectors


def test_uuids_agree_between_lvm_and_kernel(host: SimulatedHost) -> None:
    """The kernel's UUID is VG and LV UUID without their dashes."""
    (row,) = rows(host, "lvs", "vg_uuid,lv_uuid", POOL)
    both = (row["vg_uuid"] + row["lv_uuid"]).replace("-", "")

    assert [len(group) for group in row["lv_uuid"].split("-")] == [6, 4, 4, 4, 4, 4, 6]
    assert pool_device(host).uuid == f"LVM-{both}-tpool"


def test_pool_with_lvms_own_volumes_is_layered(host: SimulatedHost) -> None:
    """LVM's thin volumes move the target to a -tpool device, and dashes are doubled."""
    host.add_vg("my-web", extents=5000)
    host.add_pool("my-web/pool", PoolSpec(used_bytes=GIB, is_zeroing=True))
    host.add_thin("my-web/pool", "db", size_bytes=2 * GIB, share=1.0)

    names = {device.name for device in host.devices()}
    (row,) = rows(host, "lvs", "lv_attr,pool_lv,data_percent,segtype", "my-web/db")

    assert {"my--web-pool-tpool", "my--web-db"} <= names
    assert list(row.values()) == ["Vwi-aotz--", "pool", "50.00", "thin"]
    assert rows(host, "lvs", "thin_count", "my-web/pool") == [{"thin_count": "1"}]


def test_pools_fill_with_the_clock(host: SimulatedHost, clock: ManualClock) -> None:
    """Usage follows the rate in whole chunks, and LVM and the kernel agree."""
    host.set_rate(POOL, 100 * MIB)
    clock.now += 10

    assert status(host)[2] == "12240/20480"
    assert rows(host, "lvs", "data_percent", POOL) == [{"data_percent": "59.77"}]


def test_cleanup_makes_a_sawtooth(host: SimulatedHost, clock: ManualClock) -> None:
    """At its upper mark usage falls to the lower one, however much time passed."""
    cleanup = Sawtooth(at_bytes=4 * GIB, to_bytes=2 * GIB)
    spec = PoolSpec(used_bytes=3 * GIB, bytes_per_second=GIB, cleanup=cleanup)
    host.add_vg("saw", extents=5000)
    host.add_pool("saw/pool", spec)
    seen = []

    for seconds in (0.5, 1.0, 4.0):
        clock.now += seconds
        seen.append(host.pool("saw/pool").used_chunks * 64 * KIB / GIB)

    assert seen == [3.5, 2.5, 2.5]


def test_a_full_pool_queues_and_then_refuses(host: SimulatedHost, clock: ManualClock) -> None:
    """A full pool queues writes for 60 s from the moment it was full."""
    host.set_rate(POOL, GIB)
    clock.now += 5 + 59
    queueing = status(host)

    clock.now += 2

    assert queueing[2:7:2] == ["20480/20480", "out_of_data_space", "queue_if_no_space"]
    assert status(host)[6] == "error_if_no_space"
    assert rows(host, "lvs", "lv_health_status,lv_attr", POOL) == [
        {"lv_health_status": "out_of_data", "lv_attr": "twi-aot-D-"}
    ]


def test_full_metadata_makes_the_pool_read_only(host: SimulatedHost) -> None:
    """Metadata without a free block: ro, which LVM calls metadata_read_only."""
    host.fill_metadata(POOL, 32768)

    assert status(host)[4] == "ro"
    assert rows(host, "lvs", "lv_health_status", POOL) == [
        {"lv_health_status": "metadata_read_only"}
    ]


def test_low_water_and_modes_raise_events(host: SimulatedHost, clock: ManualClock) -> None:
    """The mark at 20 % free is one event, a full pool another."""
    host.set_rate(POOL, GIB)
    numbers = []

    for seconds in (1, 2.5, 0.5, 10):
        host.arm()
        clock.now += seconds
        numbers.append((host.wait(0), pool_device(host).event_number))

    assert numbers == [(False, 0), (True, 1), (False, 1), (True, 2)]


def test_close_wakes_whoever_waits(host: SimulatedHost) -> None:
    """After close, wait returns at once, every time, and reports no event."""
    host.arm()
    host.close()
    began = time.monotonic()

    assert [host.wait(60), host.wait(60)] == [False, False]

    assert time.monotonic() < began + 30


def test_a_wake_ends_one_wait_and_is_no_event(host: SimulatedHost) -> None:
    """It ends the wait that is under way, or else the next one."""
    host.arm()
    threading.Timer(0.01, host.wake).start()
    began = time.monotonic()

    assert not host.wait(60)
    host.wake()
    assert not host.wait(60)

    assert time.monotonic() < began + 30


def test_a_wake_hides_no_event(host: SimulatedHost) -> None:
    """When both have come, the wait reports the event."""
    host.arm()
    host.wake()
    host.rename_vg("docker", "other")

    assert host.wait(60)
    assert not host.wait(0)


def rename(host: SimulatedHost) -> None:
    """Do what vgrename does."""
    host.rename_vg("docker", "other")


def resume(host: SimulatedHost) -> None:
    """Resume the pool."""
    host.suspend(POOL, is_suspended=False)


def deactivate(host: SimulatedHost) -> None:
    """Take the pool's devices down."""
    host.deactivate(POOL)


def make(host: SimulatedHost) -> None:
    """Make another pool."""
    host.add_pool("docker/new", PoolSpec(data_bytes=GIB))


def fill(host: SimulatedHost) -> None:
    """Fill the pool past its low-water mark."""
    host.fill(POOL, host.pool(POOL).data_chunks)


def extend(host: SimulatedHost) -> None:
    """Extend the pool."""
    argv = ("lvm", "lvextend", "-l", "+1", POOL)
    output = host.start(argv, environment={}).wait(0)
    assert output
    assert output.status == 0


@pytest.mark.parametrize("change", [rename, resume, deactivate, make, fill, extend])
def test_what_changes_a_device_is_an_event(
    host: SimulatedHost, change: Callable[[SimulatedHost], None]
) -> None:
    """Each ends one wait; an event while nothing is armed ends none."""
    host.arm()
    change(host)
    host.arm()

    assert host.wait(60)
    assert not host.wait(0)


def test_a_refused_extension_is_no_event(host: SimulatedHost) -> None:
    """LVM has touched no device then."""
    host.refuse_extend("  Insufficient free space")
    host.arm()

    host.start(("lvm", "lvextend", "-l", "+1", POOL), environment={}).wait(0)

    assert not host.wait(0)


def test_nothing_is_reported_before_it_is_armed(host: SimulatedHost) -> None:
    """As in the kernel: what happened earlier is what the next look reads anyway."""
    host.rename_vg("docker", "other")
    host.arm()

    assert not host.wait(0)


def test_inactive_failed_and_suspended_pools(host: SimulatedHost) -> None:
    """What cannot be read is blank in lvs, and says why in the kernel's words."""
    host.suspend(POOL)
    suspended = rows(host, "lvs", "lv_attr,lv_suspended", POOL)
    is_suspended = pool_device(host).is_suspended
    host.suspend(POOL, is_suspended=False)
    host.set_failed(POOL)
    failed = rows(host, "lvs", "lv_attr,data_percent", POOL)
    text = pool_device(host).status
    host.deactivate(POOL)

    assert (suspended, is_suspended) == ([{"lv_attr": "twi-sot---", "lv_suspended": "1"}], True)
    assert (failed, text) == (
        [{"lv_attr": "twi-aot-F-", "data_percent": ""}],
        "Fail",
    )
    assert host.devices() == ()
    assert rows(host, "lvs", "lv_attr,lv_suspended", POOL) == [
        {"lv_attr": "twi---t---", "lv_suspended": "-1"}
    ]


def test_needs_check_shows_everywhere(host: SimulatedHost) -> None:
    """The flag makes the pool read-only, in the kernel's words and in LVM's."""
    host.set_needs_check(POOL)

    assert (status(host)[4], status(host)[7]) == ("ro", "needs_check")
    assert rows(host, "lvs", "lv_attr,lv_check_needed", POOL) == [
        {"lv_attr": "twi-cot-M-", "lv_check_needed": "1"}
    ]


def test_metadata_fills_with_the_clock(host: SimulatedHost, clock: ManualClock) -> None:
    """Metadata has a rate of its own."""
    host.set_metadata_rate(POOL, 1 * MIB)
    clock.now += 4

    assert status(host)[1] == "1280/32768"
