"""A writer at full speed into a pool that lets it wait: throughput and longest wait."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from tests.bench.guard import sides
from tests.bench.guard.fio import Job, Written, write
from tests.bench.guard.sides import Side
from tests.bench.guard.table import Row, say
from tests.vm.machine import Machine

ROUNDS = 5
WRITTEN_MIB = 2048
GOAL_THROUGHPUT = 1.5
GOAL_WAIT = 0.2
POOL = replace(sides.SMALL, error_when_full=False)


def measure(machine: Machine) -> list[Row]:
    """Write with either side in turn; medians."""
    results: dict[Side, list[Written]] = {side: [] for side in Side}
    for _ in range(ROUNDS):
        for side, written in results.items():
            written.append(trial(machine, side))
    return rows(results[Side.OURS], results[Side.DMEVENTD])


def trial(machine: Machine, side: Side) -> Written:
    """Write at full speed into a fresh pool."""
    with sides.fresh_pool(machine, POOL) as device, sides.protected(machine, side, POOL.name):
        written = write(machine, Job(device=device, mib=WRITTEN_MIB))
    say(
        f"{side.value:8} {written.mib_per_second:4.0f} MiB/s, "
        f"longest wait {written.longest_wait_seconds:.3f} s"
    )
    return written


def rows(ours: Sequence[Written], theirs: Sequence[Written]) -> list[Row]:
    """Hold the medians of the rounds against the goals."""
    throughputs = [statistics.median(w.mib_per_second for w in side) for side in (ours, theirs)]
    waits = [statistics.median(w.longest_wait_seconds for w in side) for side in (ours, theirs)]
    throughput, wait = throughputs[0] / throughputs[1], waits[0] / waits[1]
    return [
        Row(
            figure="writer at full speed, queue when full: throughput",
            goal=f"≥ {GOAL_THROUGHPUT} ×",
            ours=f"{throughputs[0]:.0f} MiB/s, {throughput:.2f} ×",
            theirs=f"{throughputs[1]:.0f} MiB/s",
            is_met=throughput >= GOAL_THROUGHPUT,
        ),
        Row(
            figure="the same: longest wait of one write",
            goal=f"≤ {GOAL_WAIT} ×",
            ours=f"{waits[0]:.3f} s, {wait:.2f} ×",
            theirs=f"{waits[1]:.3f} s",
            is_met=wait <= GOAL_WAIT,
        ),
    ]
