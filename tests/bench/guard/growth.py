"""How large a pool becomes by the policy's steps alone: what any growth is held against."""

from __future__ import annotations


def size_by_policy(size: int, used: int, *, threshold: int, percent: int) -> int:
    """Extend as LVM's policy does until the use is at or below the threshold.

    Counts may be in any unit, but extents round as LVM does. A writer whose end is
    `used` has crossed each threshold on its way, so that the steps are taken one by one.
    """
    while used * 100 > size * threshold:
        size += -(-size * percent // 100)
    return size


def steps_apart(size: int, expected: int, *, percent: int) -> float:
    """Tell how many of the policy's steps a pool is larger (or smaller) than expected."""
    return (size - expected) / (expected * percent / 100)
