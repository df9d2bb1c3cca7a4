"""What a review found in the guard, each as it should be: one fault never costs another pool.

Every test runs the real service part, in real time, on the simulated host.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import structs

from exporter.config.settings import PoolSettings
from exporter.model import Collector, Dmeventd, GuardMode, Reason
from exporter.simulation import LoopPoolSpec, PoolSpec
from exporter.simulation.figures import MIB
from tests.chaos.faults import Board, Effect, Fault
from tests.chaos.garbage import BLANK_CHUNK
from tests.chaos.host import ChaosHost
from tests.chaos.scenario import assert_calm, grows, observe, with_deadline, with_guard
from tests.chaos.service import STILL, FastClock, HeldUpClock, Service
from tests.chaos.threads import Threads, start_ours


def readings_of(service: Service, vg: str) -> int:
    """Count how often LVM was asked about one VG alone."""
    return service.calls.count("runner.run", "lvs", vg)


def test_a_pool_is_extended_when_no_thread_can_be_started(
    host: ChaosHost, threads: Threads
) -> None:
    """p01: neither a spinning loop nor a lost pool; the watchdog is fed meanwhile."""
    with Service(host) as service:
        service.settle()
        threads.are_refused = True
        grows(host, service, "a/pool", to_ratio=0.95)
        grows(host, service, "b/pool", to_ratio=0.95)
        assert_calm(service)
        fed = len(service.systemd.times("alive"))
        service.wait(
            lambda: len(service.systemd.times("alive")) > fed + 1, what="watchdog fed twice"
        )
        threads.are_refused = False


def test_a_pool_is_extended_at_the_kernels_own_limit_of_threads() -> None:
    """p01b: the same with a real limit, in a process of its own."""
    child = [sys.executable, "-m", "tests.chaos.limited"]
    run = subprocess.run(child, capture_output=True, text=True, timeout=60, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


def test_a_row_without_a_chunk_size_costs_no_other_pool(host: ChaosHost, board: Board) -> None:
    """p02: a division by zero; the others are extended, Snapshots are published."""
    garbage = f"{BLANK_CHUNK}a"
    board.put(Fault(call="runner.run", target="lvs", effect=Effect.GARBAGE, garbage=garbage))
    with Service(host, board=board) as service:
        service.wait(lambda: service.calls.count("kernel.arm") > 1, what="the first cycles")
        host.fill_to("a/pool", 0.85)
        grows(host, service, "b/pool", to_ratio=0.95)
        assert_calm(service)
        snapshot = service.wait_for_snapshot()
        assert "b/pool" in {pool.label for pool in snapshot.pools}
        assert "thinpool_info" in service.exposition()


def test_a_size_that_differs_for_good_is_asked_about_ever_more_rarely(
    host: ChaosHost,
) -> None:
    """p03: LVM has committed what the kernel never loaded."""
    host.commit_unseen("a/pool", 10)
    with Service(host, STILL, clock=FastClock(20)) as service:
        service.settle()
        observe(service, 60.0)

        assert readings_of(service, "a") <= 12  # once a second would be 60


def test_dmeventd_that_extends_at_once_keeps_its_pool(host: ChaosHost) -> None:
    """p07: a steady writer, and a pool that is never above its threshold for a second."""
    clock = FastClock(8)
    host.set_profile("p", threshold=95, percent=5)
    host.make_pool("a/busy", data_mib=1000)
    host.set_dmeventd(Dmeventd(is_alive=True, pid=7, state="S"))
    host.set_monitored("a/busy")
    host.fill_to("a/busy", 0.9)
    settings = with_guard(STILL, anticipate=True, takeover_after_seconds=10.0)
    with Service(host, settings, clock=clock) as service:
        service.settle()
        host.set_rate("a/busy", 50 * MIB * clock.speed)

        def play_dmeventd() -> bool:
            if host.truth("a/busy").is_above:
                host.extend_as_dmeventd("a/busy")
            return bool(service.log.events("takeover")) or host.free_extents("a") < 100

        observe(service, 40.0, until=play_dmeventd)

        assert len(host.growths) > 3
        assert not service.calls.count("runner.start")
        assert not service.log.events("takeover")


@pytest.mark.parametrize("is_from_start", [True, False])
def test_an_error_beside_lvextend_costs_no_extension(
    host: ChaosHost, board: Board, *, is_from_start: bool
) -> None:
    """p08: EIO where LVM keeps a list of devices; what cannot be read is assumed."""
    eio = Fault(call="has_devices_of_dmeventd", effect=Effect.FAIL, error="EIO")
    fault = board.put(eio) if is_from_start else None
    with Service(host, board=board) as service:
        service.settle()
        fault = fault or board.put(eio)
        grows(host, service, "a/pool", to_ratio=0.9)

        assert fault.hits
        service.wait(lambda: service.visible_failures() > 0, what="the error in a metric")


def test_a_refused_extension_is_not_repeated_at_once_whatever_fails_after_it(
    host: ChaosHost, board: Board
) -> None:
    """p08: lvextend is refused, and reading the VG after it meets a bug."""
    with Service(host, STILL, board=board) as service:
        service.settle()
        host.refuse_extend("  Insufficient suitable allocatable extents")
        for command in ("lvs", "vgs", "pvs"):
            board.put(
                Fault(
                    call="runner.run",
                    target=command,
                    effect=Effect.FAIL,
                    error="RuntimeError",
                )
            )
        host.fill_to("a/pool", 0.9)
        observe(service, 3.0)

        assert 1 <= service.calls.count("runner.start", "a/pool") <= 2


@pytest.mark.parametrize("error", ["host", "EIO", "ZeroDivisionError"])
def test_an_lvextend_that_cannot_be_started_is_tried_again_ever_more_rarely(
    host: ChaosHost, board: Board, error: str
) -> None:
    """p08: whatever it fails with; it is counted, and the other VG goes on."""
    with Service(host, board=board) as service:
        service.settle()
        fault = Fault(call="runner.start", target="a", effect=Effect.FAIL, error=error)
        board.put(fault)
        host.fill_to("a/pool", 0.9)
        grows(host, service, "b/pool", to_ratio=0.9)
        observe(service, 3.0)

        assert 1 <= service.calls.count("runner.start", "a") <= 2
        assert service.visible_failures() > 0


def test_a_new_pool_under_an_old_name_does_not_make_the_loop_spin(
    host: ChaosHost, board: Board
) -> None:
    """p13: renamed and made anew, while LVM cannot be read."""
    with Service(host, board=board) as service:
        service.settle()
        for command in ("lvs", "vgs", "pvs"):
            board.put(Fault(call="runner.run", target=command, effect=Effect.HANG))
        host.rename_pool("a/pool", "old")
        host.make_pool("a/pool")
        grows(host, service, "b/pool", to_ratio=0.9)
        observe(service, 1.5)

        assert service.calls.busiest("kernel.wait", 1.0) <= 60  # calm pools cause about 20


@pytest.mark.parametrize(
    ("call", "target", "collector"),
    [
        ("runner.run", "lvs", Collector.LVM),
        ("runner.run", "lvmconfig", Collector.POLICY),
        ("kernel.devices", "", Collector.DEVICE_MAPPER),
        ("loop_backing", "", Collector.DEVICE_MAPPER),
        ("dmeventd", "", Collector.LVM),
        ("storage", "", Collector.DOCKER),
    ],
)
@pytest.mark.parametrize("error", ["EIO", "ZeroDivisionError"])
def test_any_exception_is_a_failure_of_its_source(
    host: ChaosHost, board: Board, call: str, target: str, collector: Collector, error: str
) -> None:
    """p15: `thinpool_collector_success` becomes 0, and says why."""
    host.set_docker("b/pool")
    with Service(host, board=board) as service:
        service.settle()
        assert service.snapshot().collectors[collector].is_ok
        board.put(Fault(call=call, target=target, effect=Effect.FAIL, error=error))

        service.wait(
            lambda: not service.snapshot().collectors[collector].is_ok,
            seconds=6.0,
            what=f"{collector} is marked as failed",
        )
        assert service.snapshot().collectors[collector].error


def test_the_service_is_ready_although_a_source_crashes_from_the_start(
    host: ChaosHost, board: Board
) -> None:
    """p15: else systemd starts the guard again and again, for Docker's sake."""
    host.set_docker("b/pool")
    board.put(Fault(call="storage", effect=Effect.FAIL, error="EIO"))
    with Service(host, board=board) as service:
        service.wait(lambda: bool(service.systemd.times("ready")), seconds=6.0, what="READY=1")


def test_the_process_ends_soon_whatever_hangs() -> None:
    """p18: at SIGTERM, while the directories of Docker hang."""
    child = [sys.executable, "-m", "tests.chaos.terminated"]
    with subprocess.Popen(child, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "hangs\n"
            process.send_signal(signal.SIGTERM)
            process.wait(3.0)
        finally:
            process.kill()


@pytest.mark.parametrize("error", ["stuck", "kernel", "ENOMEM", "ZeroDivisionError"])
def test_a_device_that_cannot_be_read_costs_no_other_pool(
    host: ChaosHost, board: Board, error: str
) -> None:
    """p19: the other is seen, extended and published as it is."""
    with Service(host, board=board) as service:
        service.settle()
        fault = board.put(
            Fault(call="kernel.status", target="a-pool", effect=Effect.FAIL, error=error)
        )
        grows(host, service, "b/pool", to_ratio=0.99)

        assert fault.hits
        service.wait_for_snapshot()
        assert_calm(service)
        assert service.used("b/pool") == host.truth("b/pool").used
        service.wait(lambda: service.visible_failures() > 0, what="the error in a metric")


def test_a_reading_that_hangs_delays_no_extension(host: ChaosHost, board: Board) -> None:
    """p22: LVM is asked about a pool whose sizes differ, while its neighbour fills."""
    host.make_pool("a/fills")
    host.commit_unseen("a/pool", 10)
    with Service(host, with_deadline(STILL, 8.0), board=board) as service:
        service.settle()
        fault = board.put(Fault(call="runner.run", target="a", effect=Effect.HANG))
        service.wait(lambda: bool(fault.hits), what="LVM asked about the VG")
        grows(host, service, "a/fills", to_ratio=0.97)


def test_a_reading_that_hangs_after_an_extension_delays_not_the_next_one(
    host: ChaosHost, board: Board
) -> None:
    """p05, p22: neither of the VG's other pool nor of the same one, which fills on."""
    host.make_pool("a/other")
    with Service(host, with_deadline(STILL, 8.0), board=board) as service:
        service.settle()
        for command in ("lvs", "vgs", "pvs"):
            board.put(Fault(call="runner.run", target=command, effect=Effect.HANG))
        grows(host, service, "a/pool", to_ratio=0.9)
        grows(host, service, "a/other", to_ratio=0.9)
        grows(host, service, "a/pool", to_ratio=0.9)


def test_what_was_above_its_threshold_long_ago_is_no_reason_to_take_over(
    host: ChaosHost, tmp_path: Path
) -> None:
    """p23: the guard was away, dmeventd has mended it, and it has just crossed again."""
    host.set_dmeventd(Dmeventd(is_alive=True, pid=7, state="S"))
    host.set_monitored("a/pool")
    with Service(host, with_guard(STILL, takeover_after_seconds=30.0), state=tmp_path) as first:
        first.settle()
        host.fill_to("a/pool", 0.85)
        used = host.truth("a/pool").used
        first.wait(lambda: first.used("a/pool") == used, what="the guard has seen it")
        first.wait_for_snapshot()
    host.extend_as_dmeventd("a/pool")
    host.fill_to("a/pool", 0.81)
    later = FastClock(ahead_seconds=3 * 3600.0)
    settings = with_guard(STILL, takeover_after_seconds=30.0)
    with Service(host, settings, state=tmp_path, clock=later) as second:
        second.settle()
        second.wait(lambda: second.calls.count("kernel.arm") > 3, what="some cycles")
        observe(second, 1.5)

        assert not second.calls.count("runner.start")
        assert not second.log.events("takeover")


def test_a_full_pool_that_is_not_lvms_is_none_of_lvms_business(host: ChaosHost) -> None:
    """p26: Docker's own pool, full and queueing, or one whose guard is off."""
    foreign = PoolSpec(data_bytes=500 * MIB, metadata_bytes=8 * MIB, chunk_bytes=65536)
    host.add_loop_pool("docker-8:1-131-pool", LoopPoolSpec(pool=foreign))
    settings = structs.replace(STILL, pools={"a/pool": PoolSettings(mode=GuardMode.OFF)})
    with Service(host, settings, clock=FastClock(20)) as service:
        service.settle()
        readings = service.calls.count("runner.run", "lvs")
        host.fill_to("docker-8:1-131-pool", 1.0)
        host.fill_to("a/pool", 1.0)
        observe(service, 30.0)

        assert service.calls.count("runner.run", "lvs") - readings <= 1


def test_a_storm_of_events_is_no_storm_of_cycles(host: ChaosHost) -> None:
    """p27: containers come and go, 300 device-mapper events a second."""
    with Service(host) as service, storm(host, per_second=300):
        service.settle()
        observe(service, 2.0)
        grows(host, service, "a/pool", to_ratio=0.9)

        assert service.calls.busiest("kernel.names", 1.0) <= 20  # looks at all: ten, and a few
        assert service.calls.busiest("kernel.wait", 1.0) <= 60  # calm pools cause about 20


@contextmanager
def storm(host: ChaosHost, *, per_second: float) -> Iterator[None]:
    """Let device-mapper tell of other devices, again and again."""
    over = threading.Event()

    def blow() -> None:
        while not over.wait(1 / per_second):
            host.raise_event()

    thread = threading.Thread(target=blow, name="chaos-storm", daemon=True)
    start_ours(thread)
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_pool_that_waits_for_space_keeps_nobody_busy(host: ChaosHost) -> None:
    """p28: the guard's own reading of a VG is no news that calls for the next one."""
    host.take_space("a", leave_extents=0)
    with Service(host, STILL, clock=FastClock(20)) as service:
        service.settle()
        host.fill_to("a/pool", 0.85)
        observe(service, 20.0)
        settled = readings_of(service, "a")
        observe(service, 40.0)

        verdict = service.verdict("a/pool")
        assert verdict is not None
        assert verdict.reason is Reason.NO_SPACE
        assert readings_of(service, "a") - settled <= 2  # every five seconds would be 8


def test_nothing_old_is_shown_as_new_while_the_kernel_cannot_be_read(
    host: ChaosHost, board: Board
) -> None:
    """p29: for nobody, and for good; LVM's percentages serve, in decisions too."""
    with Service(host, board=board) as service:
        service.settle()
        for call in ("kernel.status", "kernel.device", "kernel.devices", "kernel.names"):
            board.put(Fault(call=call, effect=Effect.FAIL, error="kernel"))
        host.fill_to("a/pool", 0.99)
        truth = host.truth("a/pool")

        def is_honest() -> bool:
            used, verdict = service.used("a/pool"), service.verdict("a/pool")
            is_right = used is None or used >= truth.used * 0.99
            is_below = verdict is not None and verdict.reason is Reason.BELOW_THRESHOLD
            return is_right and not (is_below and host.truth("a/pool").is_above)

        service.wait(is_honest, seconds=14.0, what="nothing older than 10 s is shown")
        service.wait(
            lambda: host.truth("a/pool").total > truth.total,
            seconds=10.0,
            what="the pool is extended by what lvs tells",
        )


def test_a_reserve_is_kept_although_the_loop_is_held_up_anywhere(board: Board) -> None:
    """p30: an lvextend ends at any step of a cycle, whose thread gets no processor."""
    clock = HeldUpClock()
    host = ChaosHost(extend_seconds=0.3)
    host.set_profile("p", threshold=80, percent=20)
    names = [f"vg{number}" for number in range(8)]
    for number, name in enumerate(names):
        host.add_vg(name, extents=125 * 2 + 2 * 3 + 70)
        for pool in ("two", "one"):  # in the order in which the loop takes them
            host.make_pool(f"{name}/{pool}")
        late = Fault(
            call="runner.start", target=name, effect=Effect.LATE, seconds=number / 8, times=1
        )
        board.put(late)
    settings = with_guard(STILL, reserve_bytes=40 * 4 * MIB)
    with Service(host, settings, board=board, clock=clock) as service:
        service.settle()
        clock.holds_up = lambda: service.calls.thread_of("kernel.arm")
        for name in names:
            host.fill_to(f"{name}/one", 0.81)
        service.wait(lambda: service.calls.count("runner.start") > 0, what="the first")
        for name in names:
            host.fill_to(f"{name}/two", 0.85)
        service.wait(lambda: len(host.growths) >= 2 * len(names), what="all have grown")
        clock.holds_up = lambda: None
    host.close()

    assert min(map(host.free_extents, names)) >= 40
    assert all(growth.data_extents for growth in host.growths), "extended for nothing"
