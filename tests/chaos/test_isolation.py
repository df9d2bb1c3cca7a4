"""What chaos has found since the review: each once by chance, and here on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from exporter.config.settings import HookSettings
from exporter.model import Dmeventd
from exporter.simulation.figures import MIB
from tests.chaos.faults import Board, Effect, Fault
from tests.chaos.host import ChaosHost
from tests.chaos.scenario import (
    EXTENDED_SECONDS,
    STEP_OVER_SECONDS,
    assert_calm,
    grows,
    observe,
    with_guard,
)
from tests.chaos.seams import busiest
from tests.chaos.service import QUICK, Service
from tests.chaos.threads import Threads


def hang(call: str, target: str = "") -> Fault:
    """Make a fault with which every such call waits until it is healed."""
    return Fault(call=call, target=target, effect=Effect.HANG)


def test_a_state_file_that_hangs_stops_no_snapshots(
    host: ChaosHost, board: Board, tmp_path: Path
) -> None:
    """The directory of /run that it lies in may be another file system."""
    with Service(host, board=board, state=tmp_path) as service:
        service.settle()
        fault = board.put(hang("state_file.save"))
        grows(host, service, "a/pool", to_ratio=0.9)
        service.wait(lambda: bool(fault.hits), what="the guard writes its state")
        seen = len(service.published)
        service.wait(
            lambda: len(service.published) > seen + 1, seconds=5.0, what="two Snapshots"
        )
        grows(host, service, "b/pool", to_ratio=0.9)


@pytest.mark.parametrize(
    "call",
    [
        "kernel.arm",
        "kernel.wait",
        "kernel.names",
    ],
)
def test_pools_are_polled_when_device_mapper_tells_of_no_events(
    host: ChaosHost, board: Board, call: str
) -> None:
    """Without events or a list of devices, the pools that are known are still read."""
    with Service(host, board=board) as service:
        service.settle()
        board.put(Fault(call=call, effect=Effect.FAIL, error="EIO"))
        grows(host, service, "a/pool", to_ratio=0.9)
        grows(host, service, "b/pool", to_ratio=0.9)
        assert_calm(service)
        fed = len(service.systemd.times("alive"))
        service.wait(lambda: len(service.systemd.times("alive")) > fed, what="watchdog fed")


def test_a_disk_that_hangs_on_a_host_without_threads_costs_no_other_pool(
    host: ChaosHost, board: Board, threads: Threads
) -> None:
    """Nobody can be started to take over from the loop's thread, unless ahead."""
    with Service(host, board=board) as service:
        service.settle()
        threads.are_refused = True
        fault = board.put(hang("kernel.status", "a-pool"))
        service.wait(lambda: bool(fault.hits), what="the loop waits for a disk")
        grows(host, service, "b/pool", to_ratio=0.9, seconds=STEP_OVER_SECONDS + 1.0)
        assert service.is_running, service.ended
        threads.are_refused = False


BESIDE = (
    *("runner.keep_ready", "runner.call", "dmeventd", "dmeventd_activity"),
    *("has_devices_of_dmeventd", "can_archive", "no_space_timeout", "loop_backing"),
    *("storage", "volume_owners", "kernel.devices", "publish", "is_docker_running"),
)


def test_what_hangs_beside_the_way_to_lvextend_delays_none(
    host: ChaosHost, board: Board
) -> None:
    """Nor the second one of the same VG; one pool is taken over from dmeventd."""
    host.make_pool("a/other")
    host.make_pool("b/watched")
    host.set_dmeventd(Dmeventd(is_alive=True, pid=7, state="S"))
    host.set_monitored("b/watched")
    settings = structs.replace(QUICK, hook=HookSettings(command="/usr/bin/true"))
    with Service(host, settings, board=board) as service:
        service.settle()
        for call in BESIDE:
            board.put(hang(call))
        grows(host, service, "b/watched", to_ratio=0.9, seconds=EXTENDED_SECONDS + 1.0)
        grows(host, service, "b/pool", to_ratio=0.9)
        grows(host, service, "a/pool", to_ratio=0.9)
        grows(host, service, "a/other", to_ratio=0.9)


def test_one_slow_lvextend_makes_no_other_pool_grow_step_by_step(
    host: ChaosHost, board: Board
) -> None:
    """It has waited for a lock in VG a; each extension of b/pool suspends that pool."""
    settings = with_guard(QUICK, anticipate=True, horizon_seconds=2.0)
    late = Fault(call="runner.start", target="a", effect=Effect.LATE, seconds=1.5, times=1)
    with Service(host, settings, board=board) as service:
        service.settle()
        board.put(late)
        grows(host, service, "a/pool", to_ratio=0.9)
        host.set_rate("b/pool", 100 * MIB)
        observe(service, 4.0)
        host.set_rate("b/pool", 0.0)

        ends = [growth.at for growth in host.growths if growth.before.label == "b/pool"]
        assert busiest(ends, 1.0) <= 6, ends


def test_a_disk_under_many_pools_costs_the_others_little_more_than_one_wait(
    host: ChaosHost, board: Board
) -> None:
    """Every pool of VG a waits for the same disk, which hangs; b/last lies on another one."""
    for number in range(5):
        host.make_pool(f"a/more{number}")
    host.make_pool("b/last")
    with Service(host, board=board) as service:
        service.settle()
        devices = [truth.device for truth in host.truths().values() if truth.vg == "a"]
        faults = [board.put(hang("kernel.status", device)) for device in devices]
        service.wait(lambda: any(fault.hits for fault in faults), what="the disk hangs")
        grows(host, service, "b/last", to_ratio=0.9, seconds=STEP_OVER_SECONDS + 2.0)


def test_lvextends_that_hang_in_many_vgs_cost_no_other_vg(
    host: ChaosHost, board: Board, threads: Threads
) -> None:
    """There are more of them than threads that were started ahead, and no more to be had."""
    names = [f"vg{number}" for number in range(12)]
    for name in names:
        host.add_vg(name, extents=1000)
        host.make_pool(f"{name}/pool")
    with Service(host, board=board) as service:
        service.settle()
        for name in names:
            board.put(hang("runner.start", name))
        for name in names:
            host.fill_to(f"{name}/pool", 0.9)
        service.wait(
            lambda: service.calls.count("runner.start") >= len(names), what="all are stuck"
        )
        threads.are_refused = True
        grows(host, service, "b/pool", to_ratio=0.9)
        threads.are_refused = False


def test_a_guard_that_is_stopped_while_lvextend_hangs_stops_at_once(
    host: ChaosHost, board: Board
) -> None:
    """The lvextend goes on, and the next guard starts beside it."""
    with Service(host, board=board) as service:
        service.settle()
        fault = board.put(hang("runner.start", "a"))
        host.fill_to("a/pool", 0.9)
        service.wait(lambda: bool(fault.hits), what="lvextend waits for a lock")

        assert service.stop() < 3.0

    with Service(host, board=board) as service:
        service.settle()
        grows(host, service, "b/pool", to_ratio=0.9)


def test_a_percentage_of_an_old_size_extends_no_pool_twice(
    host: ChaosHost, board: Board
) -> None:
    """LVM serves while the kernel's status makes no sense; it takes a second to read."""
    board.put(
        Fault(call="kernel.status", target="a-pool", effect=Effect.GARBAGE, garbage="words")
    )
    board.put(Fault(call="runner.run", target="lvs", effect=Effect.LATE, seconds=1.0))
    collect = structs.replace(
        QUICK.collect, lvm_interval_seconds=2.0, lvm_deadline_seconds=10.0
    )
    settings = structs.replace(QUICK, collect=collect)
    with Service(host, settings, board=board) as service:
        service.settle()
        grows(host, service, "a/pool", to_ratio=0.81, seconds=EXTENDED_SECONDS + 3.0)
        observe(service, 1.0)

        assert len(host.growths) == 1, [growth.argv for growth in host.growths]
