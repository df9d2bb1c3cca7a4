"""Metadata pressure: small random writes into many snapshots, ever faster.

Each first write into a part of a snapshot copies a node of its mapping tree, so that
metadata fills far sooner than data. A pool that leaves `rw` has failed, as has a write.
"""

from __future__ import annotations

from dataclasses import replace

from tests.bench.guard import sides
from tests.bench.guard.fio import Job, Written, write
from tests.bench.guard.search import RateSearch
from tests.bench.guard.sides import Side
from tests.bench.guard.table import Row, say
from tests.vm import scenarios
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool
from tests.vm.waiting import wait_until

STATE = "metadata-pressure"
POOL = Pool(disks=sides.DISKS, data="8G", metadata="4M", chunk="64K")
DM_NAME = "docker-thinpool"
WARM = Pool(disks=sides.DISKS, lv="warm", data="64M", metadata="4M", chunk="64K")
WARM_MIB = 56
SNAPSHOTS = 50
BASE_MIB = 512
# Enough to copy most of the snapshots' trees: from 4 to about 12 MiB.
WRITES = 6000
LOWEST_PER_SECOND = 50.0
GOAL_RATIO = 2.0
BLOCKS = ("4k", "64k")


def measure(machine: Machine, *, block: str) -> list[Row]:
    """Search for both sides' highest rate of writes of this size."""
    make_snapshots(machine, replace(POOL, metadata="64M"))
    free = write(machine, _job(block, None))
    most = WRITES / free.seconds
    say(f"the device itself: {most:.0f} writes of {block} per second")
    make_snapshots(machine, POOL)
    _make_warm(machine)
    machine.snapshot(STATE)
    searches = {side: RateSearch(LOWEST_PER_SECOND, most) for side in Side}
    while any(search.next_rate for search in searches.values()):
        for side, search in searches.items():
            if search.next_rate:
                search.note(passed=trial(machine, side, block, search.next_rate))
    return [row(block, searches[Side.OURS], searches[Side.DMEVENTD])]


def make_snapshots(machine: Machine, pool: Pool) -> None:
    """Make a pool with a base volume and its snapshots, by messages as Docker does."""
    sides.wipe(machine)
    scenarios.make_pool(machine, pool)
    machine.run(f"dmsetup message {DM_NAME} 0 'create_thin 0'")
    machine.run(("dmsetup", "create", "base", "--table", _thin_table(0)))
    assert scenarios.fill(machine, "/dev/mapper/base", BASE_MIB).returncode == 0
    machine.run("dmsetup remove --retry base")
    numbers = range(1, SNAPSHOTS + 1)
    messages = (f"dmsetup message {DM_NAME} 0 'create_snap {n} 0'" for n in numbers)
    machine.run("; ".join(messages))
    devices = ";".join(f"snap{n},,,rw,{_thin_table(n)}" for n in numbers)
    machine.run(("dmsetup", "create", "--concise", devices))


def _thin_table(number: int) -> str:
    return f"0 {BASE_MIB * 2048} thin /dev/mapper/{DM_NAME} {number}"


def _make_warm(machine: Machine) -> None:
    """Make a second pool: what serves it has been translated when it matters."""
    scenarios.make_pool(machine, WARM)
    scenarios.make_volume(machine, WARM, "warmer", size="128M")


def trial(machine: Machine, side: Side, block: str, per_second: float) -> bool:
    """Write at this rate; say whether every write succeeded and the pool is writable."""
    machine.restore(STATE)
    with sides.protected(machine, side, POOL.name, WARM.name):
        warm_up(machine)
        written = write(machine, _job(block, per_second))
        status = scenarios.dm_status(machine)[DM_NAME]
    is_well = not written.has_failed and status.mode == "rw" and not status.needs_check
    say(
        f"{side.value:8} {block} at {per_second:5.0f}/s: "
        f"{_account(written)}, {status.mode}, "
        f"metadata {status.used_metadata}/{status.total_metadata}"
    )
    return is_well


def warm_up(machine: Machine) -> None:
    """Have the other pool extended once: nothing is translated for the first time then."""
    name = "docker-warm-tpool"
    before = scenarios.dm_status(machine)[name].total_data
    scenarios.fill(machine, "/dev/docker/warmer", WARM_MIB)
    wait_until(
        lambda: scenarios.dm_status(machine)[name].total_data != before,
        deadline_seconds=60,
        what="the other pool is extended",
    )


def row(block: str, ours: RateSearch, theirs: RateSearch) -> Row:
    """Hold the two answers against the goal."""
    ratio = (ours.highest or 0.0) / (theirs.highest or LOWEST_PER_SECOND)
    return Row(
        figure=f"the same for metadata: writes of {block} into {SNAPSHOTS} snapshots",
        goal=f"no worse anywhere, ≥ {GOAL_RATIO:.0f} : 1 somewhere",
        ours=f"{_rate(ours)}, {ratio:.1f} : 1",
        theirs=_rate(theirs),
        is_met=ratio >= 1,
    )


def _job(block: str, per_second: float | None) -> Job:
    devices = ":".join(f"/dev/mapper/snap{number}" for number in range(1, SNAPSHOTS + 1))
    return Job(
        device=devices,
        mib=BASE_MIB * SNAPSHOTS,
        block=block,
        is_random=True,
        blocks_per_second=per_second,
        count=WRITES,
    )


def _rate(search: RateSearch) -> str:
    if search.highest is None:
        return f"below {LOWEST_PER_SECOND:.0f}/s ({search.trials} trials)"
    return f"{search.highest:.0f}/s ({search.trials} trials)"


def _account(written: Written) -> str:
    return "I/O error" if written.has_failed else f"{written.seconds:.1f} s"
