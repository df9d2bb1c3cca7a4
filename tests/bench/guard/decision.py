"""From the kernel's event to the guard's first command: `python tests/bench/guard/decision.py`.

A hundred pools on the simulated host, of which one at a time crosses its threshold. The
clock runs from the moment that the guard's wait ends until it asks LVM for anything or
starts lvextend: until then it has read and judged every pool.
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
VG = "docker"
POOL_MIB = 100
CHUNK_BYTES = 65536
CHUNKS = POOL_MIB * MIB // CHUNK_BYTES
DEADLINE_SECONDS = 60.0


class Stopwatch:
    """When the guard woke, when it first asked for a command, when it began to extend."""

    def __init__(self) -> None:
        self.woke_at = self.decided_at = self.extended_at = 0.0

    def reset(self) -> None:
        """Begin a round."""
        self.woke_at = self.decided_at = self.extended_at = 0.0

    def wake(self) -> None:
        """Note that the guard wakes."""
        self.woke_at = time.perf_counter()

    def command(self, *, is_extension: bool) -> None:
        """Note a command of this round."""
        self.decided_at = self.decided_at or time.perf_counter()
        if is_extension:
            self.extended_at = self.extended_at or time.perf_counter()


class TimedKernel:
    """The simulated kernel, whose only events are those that the benchmark makes.

    It answers from what it has prepared, but for the pool that is being extended: a real
    kernel's answer takes microseconds, the simulation's would be most of what is measured.
    """

    def __init__(self, host: SimulatedHost, stopwatch: Stopwatch) -> None:
        self._host = host
        self._stopwatch = stopwatch
        self._event = threading.Event()
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
        """See Kernel.wake; only the benchmark's own events count."""

    def arm(self) -> None:
        """See Kernel.arm; an event that came before is not forgotten."""

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait; without the timeout, so that no cycle is under way."""
        del timeout_seconds
        self._event.wait()
        self._event.clear()
        self._stopwatch.wake()
        return True

    def happen(self, crossing: str) -> None:
        """Have an event, which this device's crossing has caused."""
        self._prepare()
        self._crossing = crossing
        self._stopwatch.reset()
        self._event.set()


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
        self._stopwatch.command(is_extension=False)
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
        self._stopwatch.command(is_extension=True)
        return self._host.start(argv, environment=environment)


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    log.configure("error", "auto")
    decided, extended = measure(options.pools, options.rounds)
    for name, seconds in (("decision", decided), ("lvextend", extended)):
        sys.stdout.write(
            f"wake-up → {name}, {options.pools} pools: median "
            f"{1000 * statistics.median(seconds):.1f} ms, max {1000 * max(seconds):.1f} ms\n"
        )
    is_met = statistics.median(decided) <= LIMIT_SECONDS
    sys.stdout.write("met\n" if is_met else f"OVER {1000 * LIMIT_SECONDS:.0f} ms\n")
    return not is_met


def measure(pools: int, rounds: int) -> tuple[list[float], list[float]]:
    """Let one pool after the other cross; seconds to the decision and to lvextend."""
    stopwatch = Stopwatch()
    host = make_host(pools)
    kernel = TimedKernel(host, stopwatch)
    runner = TimedRunner(host, stopwatch)
    guard = make_guard(host, kernel, runner)
    stop = threading.Event()
    thread = threading.Thread(target=guard.run, args=(stop,), daemon=True)
    thread.start()
    decided, extended = [], []
    # The first round learns what the guard asks.
    for number in range(min(pools, rounds + 1)):
        host.fill(f"{VG}/pool{number}", used_chunks=CHUNKS * 85 // 100)
        runner.prepare()
        kernel.happen(f"{VG}-pool{number}")
        assert eventually(lambda: bool(stopwatch.extended_at))
        assert guard.join_workers(DEADLINE_SECONDS)
        if number == 0:
            continue
        decided.append(stopwatch.decided_at - stopwatch.woke_at)
        extended.append(stopwatch.extended_at - stopwatch.woke_at)
    stop.set()
    kernel.happen("")
    thread.join()
    return decided, extended


def make_host(pools: int) -> SimulatedHost:
    """Make a host of pools of 100 MiB, half full, with room for a step of each."""
    host = SimulatedHost(time.monotonic)
    host.add_vg(VG, extents=100 * pools)
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
