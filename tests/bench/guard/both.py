"""Both daemons at one pool under load: together they must not grow it twice."""

from __future__ import annotations

from tests.bench.guard import sides, stall
from tests.bench.guard.fio import Job, write
from tests.bench.guard.growth import size_by_policy, steps_apart
from tests.bench.guard.sides import Side
from tests.bench.guard.table import Row, say
from tests.vm.guest import running
from tests.vm.machine import Machine

ROUNDS = 3
# Past three thresholds, of 500, 600 and 720 MiB.
WRITTEN_MIB = 620
RATE_MIB = 20.0


def measure(machine: Machine) -> list[Row]:
    """Let both act on the same crossings, some times over."""
    apart = [trial(machine) for _ in range(ROUNDS)]
    return [
        Row(
            figure="both daemons at one pool, three crossings under load",
            goal="within one step of the policy",
            ours=", ".join(f"{steps:+.2f}" for steps in apart) + " steps",
            is_met=all(abs(steps) <= 1 for steps in apart),
        )
    ]


def trial(machine: Machine) -> float:
    """Write past three thresholds; returns how many steps the pool is off."""
    pool = stall.POOL
    with (
        sides.fresh_pool(machine, pool) as device,
        sides.protected(machine, Side.DMEVENTD, pool.name),
        running(machine, "--guard.mode=always") as guest,
    ):
        write(machine, Job(device=device, mib=WRITTEN_MIB, rate_mib=RATE_MIB))
        status = sides.settled(machine)
        extends = len(guest.events("pool_extended"))
    size = (status.total_data or 0) // sides.CHUNKS_PER_EXTENT
    used = -(-(status.used_data or 0) // sides.CHUNKS_PER_EXTENT)
    expected = size_by_policy(sides.SMALL_EXTENTS, used, threshold=80, percent=20)
    say(f"{size} extents, {expected} by policy; {extends} extensions were the guard's")
    return steps_apart(size, expected, percent=20)
