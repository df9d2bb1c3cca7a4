"""The highest rate at which a small pool grows in time: both sides' searches, in turn."""

from __future__ import annotations

from tests.bench.guard import sides
from tests.bench.guard.fio import MIB, Job, Written, write
from tests.bench.guard.search import RateSearch
from tests.bench.guard.sides import Side
from tests.bench.guard.table import Row, say
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool

LOWEST_MIB = 25.0
WRITTEN_MIB = 2048
GOAL_RATIO = 3.0


def measure(machine: Machine) -> list[Row]:
    """Search for both, and compare."""
    device_mib = device_speed(machine)
    say(f"the device itself: {device_mib:.0f} MiB/s")
    searches = {side: RateSearch(LOWEST_MIB, device_mib) for side in Side}
    while any(search.next_rate for search in searches.values()):
        for side, search in searches.items():
            if search.next_rate:
                search.note(passed=trial(machine, side, search.next_rate))
    return [row(searches[Side.OURS], searches[Side.DMEVENTD], device_mib)]


def device_speed(machine: Machine) -> float:
    """Measure a writer at full speed in a pool that need not grow; at its second go.

    The first one makes the disks' files grow.
    """
    pool = Pool(disks=sides.DISKS, data="8G", metadata="32M", chunk=sides.SMALL.chunk)
    speed = 0.0
    for _ in range(2):
        with sides.fresh_pool(machine, pool) as device:
            written = write(machine, Job(device=device, mib=WRITTEN_MIB))
        speed = written.mib_per_second
    return speed


def trial(machine: Machine, side: Side, rate_mib: float) -> bool:
    """Write at this rate into a fresh pool that fails when full; say whether it went well."""
    pool = sides.SMALL
    with sides.fresh_pool(machine, pool) as device, sides.protected(machine, side, pool.name):
        written = write(machine, Job(device=device, mib=WRITTEN_MIB, rate_mib=rate_mib))
    say(f"{side.value:8} at {rate_mib:4.0f} MiB/s: {_account(written)}")
    return not written.has_failed


def row(ours: RateSearch, theirs: RateSearch, device_mib: float) -> Row:
    """Hold the two answers against the goal."""
    at_device_speed = ours.highest == device_mib
    ratio = (ours.highest or 0.0) / (theirs.highest or LOWEST_MIB)
    return Row(
        figure="highest write rate into 500 MiB that fail when full",
        goal=f"device speed ({device_mib:.0f} MiB/s); ≥ {GOAL_RATIO:.0f} : 1",
        ours=f"{_rate(ours)}, {ratio:.1f} : 1",
        theirs=_rate(theirs),
        is_met=at_device_speed and ratio >= GOAL_RATIO,
    )


def _rate(search: RateSearch) -> str:
    if search.highest is None:
        return f"below {LOWEST_MIB:.0f} MiB/s ({search.trials} trials)"
    return f"{search.highest:.0f} MiB/s ({search.trials} trials)"


def _account(written: Written) -> str:
    if written.has_failed:
        return f"I/O error after {written.bytes / MIB:.0f} MiB"
    wait = written.longest_wait_seconds
    return f"{written.mib_per_second:.0f} MiB/s, longest wait {wait:.2f} s"
