"""From the kernel's event to the guard's lvextend: `python tests/bench/guard/decision.py`.

A hundred pools on the simulated host, of which one at a time crosses its threshold. The
guard has read and judged every pool before it starts lvextend.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import structlog

from exporter import log
from exporter.collection import Collection, HostAccess, Programs
from exporter.command import Output, Running
from exporter.devmapper import DmDevice, DmStatus, status_of
from exporter.extend import Extender
from exporter.guard import Clocks, Guard, Rules
from exporter.simulation import SimulatedHost
from exporter.simulation.figures import MIB
from exporter.simulation.records import PoolSpec
from tests.waiting import eventually

LIMIT_SECONDS = 0.010
REST_SECONDS = 0.5
VG = "docker"
POOL_MIB = 100
CHUNK_BYTES = 65536
CHUNKS = POOL_MIB * MIB // CHUNK_BYTES
DEADLINE_SECONDS = 60.0


class Stopwatch:
    """When the kernel's event came, and when the guard started lvextend for it."""

    def __init__(self) -> None:
        self.happened_at = self.extended_at = 0.0

    def happen(self) -> None:
        """Begin a round."""
        self.extended_at = 0.0
        self.happened_at = time.perf_counter()

    def extend(self) -> None:
        """Note the first extension of this round."""
        self.extended_at = self.extended_at or time.perf_counter()

    @property
    def seconds(self) -> float:
        """From the event to lvextend."""
        return self.extended_at - self.happened_at


class TimedKernel:
    """The simulated kernel, whose only events are those that the benchmark makes.

    It answers from what it has prepared, but for the pool that is being extended: a real
    kernel's answer takes microseconds, the simulation's would be most of what is measured.
    """

    def __init__(self, host: SimulatedHost, stopwatch: Stopwatch) -> None:
        self._host = host
        self._stopwatch = stopwatch
        self._wakes = threading.Event()
        self._has_event = False
        self._crossing = ""
        self._prepare()

    def names(self) -> Mapping[str, str]:
        """See Kernel.names."""
        return self._names

    def status(self, name: str) -> DmStatus | None:
        """See Kernel.status."""
        device = self.device(name)
        return self._statuses[name] if device is self._by_name.get(name) else _status(device)

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices."""
        return self._prepared

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        if self._stopwatch.extended_at and name == self._crossing:
            return self._host.device(name)
        return self._by_name.get(name)

    def _prepare(self) -> None:
        self._prepared = self._host.devices()
        self._by_name = {device.name: device for device in self._prepared}
        self._names = {device.name: device.number for device in self._prepared}
        self._statuses = {device.name: status_of(device) for device in self._prepared}

    def wake(self) -> None:
        """See Kernel.wake."""
        self._wakes.set()

    def arm(self) -> None:
        """See Kernel.arm; an event that came before is not forgotten."""

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait."""
        self._wakes.wait(timeout_seconds)
        self._wakes.clear()
        has_event, self._has_event = self._has_event, False
        return has_event

    def happen(self, crossing: str) -> None:
        """Have an event, which this device's crossing has caused."""
        self._prepare()
        self._crossing = crossing
        self._stopwatch.happen()
        self._has_event = True
        self._wakes.set()


def _status(device: DmDevice | None) -> DmStatus | None:
    return status_of(device) if device else None


class TimedRunner:
    """Answers from what it has prepared, too, until lvextend is started; notes the times."""

    def __init__(self, host: SimulatedHost, stopwatch: Stopwatch) -> None:
        self._host = host
        self._stopwatch = stopwatch
        self._prepared: dict[tuple[str, ...], Output] = {}

    def prepare(self) -> None:
        """Have the answer to every command that was ever asked."""
        for argv in self._prepared:
            self._prepared[argv] = self._host.run(argv, deadline_seconds=DEADLINE_SECONDS)

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        prepared = self._prepared.get(tuple(argv))
        if prepared is not None and not self._stopwatch.extended_at:
            return prepared
        output = self._host.run(argv, deadline_seconds=deadline_seconds)
        self._prepared[tuple(argv)] = output
        return output

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """See Runner.keep_ready."""

    def call(
        self, argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float
    ) -> Output:
        """See Runner.call."""
        return self._host.call(argv, environment=environment, deadline_seconds=deadline_seconds)

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """See Runner.start."""
        self._stopwatch.extend()
        return self._host.start(argv, environment=environment)


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    log.configure("error", "auto")
    seconds = measure(options.pools, options.rounds)
    sys.stdout.write(
        f"event → lvextend, {options.pools} pools: median "
        f"{1000 * statistics.median(seconds):.1f} ms, max {1000 * max(seconds):.1f} ms\n"
    )
    is_met = statistics.median(seconds) <= LIMIT_SECONDS
    sys.stdout.write("met\n" if is_met else f"OVER {1000 * LIMIT_SECONDS:.0f} ms\n")
    return not is_met


def measure(pools: int, rounds: int) -> list[float]:
    """Let one pool after the other cross; seconds until its lvextend."""
    stopwatch = Stopwatch()
    host = make_host(pools)
    kernel = TimedKernel(host, stopwatch)
    runner = TimedRunner(host, stopwatch)
    guard = make_guard(host, kernel, runner)
    stop = threading.Event()
    thread = threading.Thread(target=guard.run, args=(stop,), daemon=True)
    thread.start()
    seconds = []
    # The first round learns what the guard asks. The guard does not look at every event of many
    # at once: that pause is none of its decision's.
    for number in range(min(pools, rounds + 1)):
        time.sleep(REST_SECONDS)
        host.fill(f"{VG}/pool{number}", used_chunks=CHUNKS * 85 // 100)
        runner.prepare()
        kernel.happen(f"{VG}-pool{number}")
        assert eventually(lambda: bool(stopwatch.extended_at))
        assert guard.join_workers(DEADLINE_SECONDS)
        if number > 0:
            seconds.append(stopwatch.seconds)
    stop.set()
    kernel.happen("")
    thread.join()
    return seconds


def make_host(pools: int) -> SimulatedHost:
    """Make a host of pools of 100 MiB, half full, with room for what such a fast fill gets."""
    host = SimulatedHost(time.monotonic)
    host.add_vg(VG, extents=1000 * pools)
    host.set_profile(VG, threshold=80, percent=20)
    spec = PoolSpec(
        data_bytes=POOL_MIB * MIB,
        metadata_bytes=8 * MIB,
        used_bytes=POOL_MIB * MIB // 2,
        chunk_bytes=CHUNK_BYTES,
        profile=VG,
    )
    for number in range(pools):
        host.add_pool(f"{VG}/pool{number}", spec)
    return host


def make_guard(host: SimulatedHost, kernel: TimedKernel, runner: TimedRunner) -> Guard:
    """Wire a guard that has read everything once."""
    clocks = Clocks(monotonic=time.monotonic, wall=time.time)
    collection = Collection(
        HostAccess(
            runner=runner,
            kernel=kernel,
            loop_backing=lambda _: None,
            dmeventd=host.dmeventd,
            is_simulated=True,
        ),
        Programs(
            lvm="/sbin/lvm",
            docker="/usr/bin/docker",
            lvm_deadline_seconds=30,
            docker_deadline_seconds=10,
        ),
        wall_clock=clocks.wall,
        clock=clocks.monotonic,
    )
    collection.refresh_all()
    return Guard(
        collection,
        Extender(runner, "/sbin/lvm", deadline_seconds=60, clock=clocks.monotonic),
        kernel=kernel,
        rules=Rules(),
        clocks=clocks,
        log=structlog.get_logger("bench"),
    )


if __name__ == "__main__":
    sys.exit(main())
