"""The two sides, each alone on the host, and a fresh pool for each of their trials."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from tests.vm import scenarios
from tests.vm.guest import PROGRAM, running
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool, Status
from tests.vm.waiting import wait_until

DISKS = ("data0", "data1", "data2", "data3")
# The article's chunks: with smaller ones it is the kernel that slows the writer down.
SMALL = Pool(disks=DISKS, data="500M", metadata="8M", chunk="512K")
SMALL_EXTENTS = 500 // 4
CHUNK_BYTES = 512 * 1024
CHUNKS_PER_EXTENT = 8
VOLUME_SIZE = "12G"
CALM_LOOKS = 5
CALM_DEADLINE_SECONDS = 60.0


class Side(str, Enum):
    """Who protects the pool."""

    OURS = "ours"
    DMEVENTD = "dmeventd"


@contextmanager
def fresh_pool(machine: Machine, pool: Pool) -> Iterator[str]:
    """Make the pool and a thin volume in it, on empty disks; gives the volume's device."""
    wipe(machine)
    scenarios.make_pool(machine, pool)
    yield scenarios.make_volume(machine, pool, size=VOLUME_SIZE)


def wipe(machine: Machine) -> None:
    """Take everything off the data disks, also what LVM could not remove any more.

    Nothing is discarded: the next trial finds the disks' files as large as this one did.
    """
    disks = " ".join(machine.disk(disk) for disk in DISKS)
    machine.run("dmsetup remove_all --force --retry", timeout_seconds=120, check=False)
    machine.run(f"wipefs --all --force --quiet {disks}; rm -f /run/lvm/hints")
    machine.wait_until("test -z \"$(dmsetup ls | grep -v 'No devices')\"", 30)


@contextmanager
def protected(machine: Machine, side: Side, *names: str) -> Iterator[None]:
    """Have one side protect pools, or all of a VG, until the end of the block; alone."""
    if side is Side.OURS:
        scenarios.mask_dmeventd(machine)
        with running(machine):
            yield
        return
    scenarios.start_dmeventd(machine, *names)
    try:
        yield
    finally:
        scenarios.mask_dmeventd(machine)


def daemon_pid(machine: Machine, side: Side) -> int:
    """Find the process of the side that protects the pool now."""
    program = f"pgrep -of '{PROGRAM} run'" if side is Side.OURS else "pidof dmeventd"
    return int(machine.run(program).stdout)


def settled(machine: Machine, looks: int = CALM_LOOKS) -> Status:
    """Wait until the only pool has kept its size for some seconds; gives its status."""
    seen: list[Status] = []

    def is_calm() -> bool:
        seen.extend(scenarios.dm_status(machine).values())
        totals = {(status.total_data, status.total_metadata) for status in seen[-looks:]}
        return len(seen) >= looks and len(totals) == 1

    wait_until(
        is_calm,
        deadline_seconds=CALM_DEADLINE_SECONDS,
        what="nobody extends the pool",
        interval_seconds=1.0,
    )
    return seen[-1]
