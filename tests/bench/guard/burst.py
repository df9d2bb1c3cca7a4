"""What a burst leaves behind, a long one and a short: space beyond what was written."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.guard import sides, stall
from tests.bench.guard.fio import MIB, Job, write
from tests.bench.guard.growth import size_by_policy
from tests.bench.guard.sides import Side
from tests.bench.guard.table import Row, say
from tests.vm.machine import Machine

LONG_MIB, SHORT_MIB = 10 * 1024, 48
# The default of guard.horizon: that much of the writer's rate may be taken ahead.
HORIZON_SECONDS = 10.0
# Of what has been written: for so much longer a rate is taken to last, to a factor of two.
PERSISTENCE = 4.0
EXTENT_MIB = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """A pool after a burst, in MiB; `policy` is the size by the policy's steps alone."""

    mib_per_second: float
    size: float
    used: float
    policy: float

    @property
    def spare(self) -> float:
        """What nobody has written."""
        return self.size - self.used

    @property
    def ahead(self) -> float:
        """What the policy would not have taken yet."""
        return self.size - self.policy

    @property
    def most_ahead(self) -> float:
        """What is allowed: a horizon of it, and no more than what was written foretells."""
        return min(self.mib_per_second * HORIZON_SECONDS, self.used * 2 * PERSISTENCE)


def measure(machine: Machine) -> list[Row]:
    """Write a long burst and a short one as fast as it goes, guarded by either side."""
    return [_row(machine, mib) for mib in (LONG_MIB, SHORT_MIB)]


def _row(machine: Machine, mib: int) -> Row:
    ours, theirs = (trial(machine, side, mib) for side in Side)
    return Row(
        figure=f"space beyond what was written, after a burst of {mib} MiB",
        goal=f"ahead of the policy by no more than {HORIZON_SECONDS:.0f} s of writing, or "
        f"{2 * PERSISTENCE:.0f} times what was written",
        ours=_account(ours),
        theirs=_account(theirs),
        is_met=ours.ahead <= ours.most_ahead,
    )


def trial(machine: Machine, side: Side, mib: int) -> Burst:
    """Write the burst, and read the pool when nobody extends it any more."""
    pool = stall.POOL
    with sides.fresh_pool(machine, pool) as device, sides.protected(machine, side, pool.name):
        written = write(machine, Job(device=device, mib=mib))
        status = sides.settled(machine)
    totals = (status.total_data, status.used_data)
    size, used = ((count or 0) * sides.CHUNK_BYTES / MIB for count in totals)
    extents = size_by_policy(
        sides.SMALL_EXTENTS, int(used / EXTENT_MIB), threshold=80, percent=20
    )
    burst = Burst(
        mib_per_second=written.mib_per_second,
        size=size,
        used=used,
        policy=extents * EXTENT_MIB,
    )
    say(f"{side.value:8} at {written.mib_per_second:4.0f} MiB/s: {_account(burst)}")
    return burst


def _account(burst: Burst) -> str:
    return (
        f"{burst.spare:.0f} MiB, {burst.ahead:+.0f} MiB against the policy "
        f"(at most {burst.most_ahead:+.0f})"
    )
