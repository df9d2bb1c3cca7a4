"""How old a Snapshot and the guard's last cycle may be, and what is not claimed after that.

Pure. Times are seconds since the epoch, by the clock of the process that asks: the guard's
process may be dead.
"""

from __future__ import annotations

from enum import Enum

from msgspec import structs

from exporter.model import Dmeventd, PoolGuard, Snapshot

# The guard completes a cycle each second, and a Snapshot of it follows within ten; systemd
# replaces a guard that has been silent for as long as this.
SILENT_GUARD_SECONDS = 30.0
# After this the usage and the state of a pool, and whether dmeventd protects it, are unknown.
OLD_SNAPSHOT_SECONDS = 60.0


class Freshness(Enum):
    """Whether a Snapshot holds, or the guard has fallen silent, or all of it is old."""

    CURRENT = "current"
    GUARD_SILENT = "guard silent"
    OLD = "old"


def freshness(snapshot: Snapshot, now: float) -> Freshness:
    """Return how far a Snapshot may be taken for the present."""
    if _age(snapshot.taken_at, now) > OLD_SNAPSHOT_SECONDS:
        return Freshness.OLD
    is_silent = silence_seconds(snapshot, now) is not None
    return Freshness.GUARD_SILENT if is_silent else Freshness.CURRENT


def silence_seconds(snapshot: Snapshot, now: float) -> float | None:
    """Return for how long the guard has completed no cycle; None: not too long.

    Before its first cycle the age of the Snapshot counts.
    """
    last = snapshot.guard.last_cycle_at if snapshot.guard else None
    silence = _age(snapshot.taken_at if last is None else last, now)
    return silence if silence > SILENT_GUARD_SECONDS else None


def as_of(snapshot: Snapshot, now: float) -> Snapshot:
    """Return the Snapshot without what it can no longer say of the protection of pools.

    A guard that has fallen silent is responsible for none, and the rates that it measured no
    longer hold. Of an old Snapshot nobody knows what dmeventd does now.
    """
    present = freshness(snapshot, now)
    if present is not Freshness.CURRENT and snapshot.guard:
        guarded = {label: _unclaimed(pool) for label, pool in snapshot.guard.pools.items()}
        guard = structs.replace(snapshot.guard, pools=guarded)
        snapshot = structs.replace(snapshot, guard=guard)
    if present is Freshness.OLD:
        pools = tuple(structs.replace(pool, is_monitored=None) for pool in snapshot.pools)
        dmeventd = Dmeventd(is_alive=None)
        snapshot = structs.replace(snapshot, pools=pools, dmeventd=dmeventd)
    return snapshot


def _age(at: float, now: float) -> float:
    # A time in the future is as wrong as one long past: the clock has been set back since.
    return abs(now - at)


def _unclaimed(pool: PoolGuard) -> PoolGuard:
    return structs.replace(
        pool, is_responsible=False, is_taken_over=False, filling={}, queue_seconds_left=None
    )
