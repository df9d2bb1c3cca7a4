"""Odd hosts: pools that nobody would expect, side by side in one machine, before one guard.

What LVM itself would do with each is asked first (`lvextend --test --use-policies`), and the
guard must come to the same sizes. Then VGs and pools get other names under that guard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest

from tests.vm import faults, odd, scenarios
from tests.vm.conftest import READY
from tests.vm.guest import CHECK, CONFIG, PROGRAM, Guest, Metrics, running
from tests.vm.machine import Machine
from tests.vm.runbook import Runbook
from tests.vm.test_faults_states import labels, sections

# Twenty pools of every kind take some minutes to make.
pytestmark = pytest.mark.campaign

SETTLE_SECONDS, ASK_SECONDS = 240.0, 180.0
MIB, GIB, TIB = 1024**2, 1024**3, 1024**4
# Below a cache the name goes on.
CHANGED = re.compile(r"volume \S+_t(data|meta)\S* changed from .* to .* \((\d+) extents\)")
# LVM's tables and ours in one: what `lvextend --use-policies` makes of each pool, in extents
# of data; 39 = 32 + 20 % of 32, rounded up (and down to whole stripes where there are any).
GROWN: Mapping[str, int] = {
    "cached/pool": 39,
    "wcached/pool": 39,
    "mirror/pool": 39,
    "parity/pool": 40,
    "both/pool": 40,
    "beside/pool": 39,
    "luks/pool": 39,
    "paths/pool": 39,
    "inner/pool": 39,
    "a-b--c/d-e": 39,
    f"{odd.LONG}/{odd.LONG_POOL}": 39,
    "onfile/pool": 39,
    "onpart/pool": 39,
    "gone/pool": 39,
    "memory/pool": 39,
    "vast/wide": 600 * 1024,
}
# Not LVM's; the reason is `not_lvm`.
RAW = ("containerd-pool", "raw-parts", "raw-on-lvs")
TWINS = ("twin/one", "twin/two")
ON_FILES = ("containerd-pool", "onfile/pool", "onpart/pool", "gone/pool", "memory/pool")
RAW_DISK = "data3"
ON_FILE, RENAMED = "onfile/pool", "moved/renamed"


Lines = tuple[str, ...]


class Seen(NamedTuple):
    """Everything that LVM and one guard said and did."""

    wanted: Mapping[str, Mapping[str, int]]  # what LVM would do, in extents, by pool
    before: Metrics
    after: Metrics
    statuses: Mapping[str, scenarios.Status]
    status: int
    sections: Mapping[str, str]
    report: str
    free_bytes: Mapping[str, int]  # of the file systems under files
    promised_bytes: Mapping[str, int]  # of the files
    renamed: Metrics
    off_files: Metrics
    events: list[dict[str, object]]


def of(pool: str) -> dict[str, str]:
    """Make the labels of a pool's series, LVM's or not."""
    return labels(pool) if "/" in pool else {"vg": "", "pool": pool}


def make_host(machine: Machine) -> None:
    """Make everything, part by part."""
    odd.prepared(machine)
    disk = faults.Disk(machine)
    for lines in (*layouts(disk), *names(disk), *stacks(disk), *files(machine)):
        faults.run(machine, *lines)
    # Last, since the one makes LVM's commands complain, and the other takes a while.
    faults.run(machine, *odd.vast())
    faults.run(machine, *odd.twins(disk))


def layouts(disk: faults.Disk) -> Iterator[Lines]:
    """Make pools whose data or metadata is more than a part of a disk."""
    yield odd.cached(disk, "cached", "cache")
    yield odd.cached(disk, "wcached", "writecache")
    yield odd.raid(disk, "mirror", "--type raid1 -m 1")
    yield odd.raid(disk, "parity", "--type raid5 -i 2")
    yield odd.raid(disk, "both", "--type raid10 -i 2 -m 1")
    yield odd.beside(disk)


def names(disk: faults.Disk) -> Iterator[Lines]:
    """Make pools whose names are odd, and one that gets others later."""
    yield odd.plain(disk, "a-b--c/d-e")
    yield odd.long_named(disk)
    yield disk.group("calm"), faults.pool("calm/pool"), odd.filled("calm/pool", 8)


def stacks(disk: faults.Disk) -> Iterator[Lines]:
    """Make pools on something that is no disk."""
    yield odd.luks(disk)
    yield odd.multipath(disk.machine.disk("data1"))
    yield odd.nested(disk)
    yield odd.on_logical_volumes(disk)
    yield odd.on_partitions(disk.machine.disk(RAW_DISK))


def files(machine: Machine) -> Iterator[Lines]:
    """Make pools on files."""
    yield odd.file_systems(machine.disk("data2"))
    yield odd.containerd()
    yield odd.on_file("onfile", f"{odd.FILES}/pv")
    yield odd.on_file_partition("onpart", f"{odd.FILES}/disk")
    yield (*odd.on_file("gone", f"{odd.FILES}/gone"), f"rm {odd.FILES}/gone")
    yield odd.on_file("memory", f"{odd.MEMORY}/pv")


@pytest.fixture(scope="module")
def seen(booted: Machine) -> Seen:
    """Make the host, ask LVM, let a guard look at it, rename a VG, and keep what was said."""
    booted.restore(READY)
    make_host(booted)
    wanted = {pool: asked(booted, pool) for pool in (*GROWN, *TWINS)}
    booted.run(f"sync -f {odd.FILES}")
    before, free, promised = observed(booted), free_bytes(booted), promised_bytes(booted)
    booted.write(CONFIG, "guard: {anticipate: false}\n")
    with running(booted, ready_seconds=ASK_SECONDS) as guest:
        after = guest.scrape_until(has_settled, seconds=SETTLE_SECONDS)
        status, report = checked(booted)
        statuses = scenarios.dm_status(booted)
        renamed = rename(booted, guest)
        off_files = move_off_file(booted, guest)
        events = guest.events()
    return Seen(
        wanted=wanted,
        before=before,
        after=after,
        statuses=statuses,
        status=status,
        sections=sections(report),
        report=report,
        free_bytes=free,
        promised_bytes=promised,
        renamed=renamed,
        off_files=off_files,
        events=events,
    )


def observed(machine: Machine) -> Metrics:
    """See what a guard shows of the pools that only looks at them."""
    machine.write(CONFIG, "guard: {mode: observe, anticipate: false}\n")
    with running(machine, ready_seconds=ASK_SECONDS) as guest:
        return guest.scrape_until(
            lambda metrics: all(is_judged(metrics, pool) for pool in GROWN),
            seconds=SETTLE_SECONDS,
        )


def is_judged(metrics: Metrics, pool: str) -> bool:
    """Whether LVM's part is known, so that the guard can tell the next step."""
    name = "thinpool_next_extend_bytes"
    return metrics.value(name, device="data", **of(pool)) is not None


def checked(machine: Machine) -> tuple[int, str]:
    """Run `check`; exit status and report."""
    argv = (PROGRAM, *CHECK)
    result = machine.run(argv, check=False, timeout_seconds=ASK_SECONDS)
    return result.returncode, result.stdout


def asked(machine: Machine, pool: str) -> Mapping[str, int]:
    """Ask LVM what its policy would do with a pool, without doing it."""
    argv = f"LVM_RUN_BY_DMEVENTD=1 lvextend --test --use-policies {pool}"
    found = CHANGED.findall(machine.run(argv, check=False).stdout)
    return {device: int(extents) for device, extents in found}


def free_bytes(machine: Machine) -> Mapping[str, int]:
    """Ask the file systems under the files what they have left."""
    places = (odd.FILES, odd.MEMORY)
    lines = machine.run(("stat", "-f", "-c", "%f %S", *places)).stdout.splitlines()
    figures = (line.split() for line in lines)
    return {
        place: int(blocks) * int(size)
        for place, (blocks, size) in zip(places, figures, strict=True)
    }


def promised_bytes(machine: Machine) -> Mapping[str, int]:
    """Ask each file what it lacks of its size."""
    argv = f"stat -c '%n %s %b %B' {odd.FILES}/* {odd.MEMORY}/*"
    lines = (line.split() for line in machine.run(argv).stdout.splitlines())
    return {name: int(size) - int(blocks) * int(unit) for name, size, blocks, unit in lines}


def has_settled(metrics: Metrics) -> bool:
    """Whether every pool has been judged, and has grown if it is to."""
    return all(grown(metrics, pool) == 1 for pool in GROWN) and all(
        metrics.value("thinpool_guard_state", reason="not_lvm", **of(pool)) == 1 for pool in RAW
    )


def grown(metrics: Metrics, pool: str) -> float | None:
    """Count how often the guard has extended a pool's data."""
    return metrics.value("thinpool_guard_extends_total", device="data", **of(pool))


def rename(machine: Machine, guest: Guest) -> Metrics:
    """Rename a VG and its pool in use, and fill it: its guard is to follow."""
    vg, lv = RENAMED.split("/")
    faults.run(machine, f"vgrename -qq calm {vg}", f"lvrename -qq {vg}/pool {lv}")
    faults.run(
        machine,
        f"dd if=/dev/zero of=/dev/mapper/{odd.thin_name('calm/pool')} bs=1M "
        f"count={faults.USED_MIB} oflag=direct status=none",
    )
    return guest.scrape_until(lambda now: grown(now, RENAMED) == 1, seconds=SETTLE_SECONDS)


def move_off_file(machine: Machine, guest: Guest) -> Metrics:
    """Move a pool of LVM's from a file to a disk, as its runbook says."""
    vg, pool = ON_FILE.split("/")
    book = Runbook(machine, "ThinPoolOnLoopback", vg=vg, pool=pool)
    (device,) = machine.run(f"pvs --noheadings -o pv_name -S vg_name={vg}").stdout.split()
    words = {"DEVICE": device, "NEW_DISK": f"{machine.disk(RAW_DISK)}-part3"}
    heading = "Move the disks, if the pool is LVM's"
    book.follow(heading, NEW_DISK=words["NEW_DISK"])
    book.follow(heading, 1, **words)
    return guest.scrape_until(
        lambda now: now.value("thinpool_loopback", **of(ON_FILE)) == 0, seconds=SETTLE_SECONDS
    )


@pytest.mark.parametrize("pool", GROWN)
def test_grows_to_where_lvm_would_have_brought_it(seen: Seen, pool: str) -> None:
    """By one extension, with nothing refused; the figure is LVM's own answer."""
    name = "thinpool_guard_extend_failures_total"
    failures = [
        seen.after.value(name, device="data", reason=reason, **of(pool))
        for reason in ("refused", "ineffective")
    ]
    extent = GIB if pool.startswith("vast/") else MIB
    size = seen.after.value("thinpool_data_size_bytes", **of(pool))

    assert seen.wanted[pool].get("data") == GROWN[pool]
    assert size == GROWN[pool] * extent
    assert grown(seen.after, pool) == 1
    assert not any(failures)


@pytest.mark.parametrize("pool", GROWN)
def test_the_next_step_was_known_before(seen: Seen, pool: str) -> None:
    """What the policy asks for, and that the VG has it, stands in the metrics."""
    extent = GIB if pool.startswith("vast/") else MIB
    present = seen.before.value("thinpool_data_size_bytes", **of(pool)) or 0
    names = ("thinpool_next_extend_bytes", "thinpool_next_extend_possible_bytes")
    wanted, possible = (seen.before.value(name, device="data", **of(pool)) for name in names)

    assert wanted == possible
    # A whole stripe more or less is what LVM rounds to.
    assert abs(present + (wanted or 0) - GROWN[pool] * extent) <= extent


@pytest.mark.parametrize("pool", RAW)
def test_pools_that_are_not_lvms_are_shown_and_left_alone(seen: Seen, pool: str) -> None:
    """With the kernel's figures and the reason, and a next step in the report."""
    shown = seen.after
    status = seen.statuses[pool]

    assert shown.label("thinpool_info", "source", **of(pool)) == "device_mapper"
    assert shown.label("thinpool_guard_state", "reason", **of(pool)) == "not_lvm"
    assert shown.value("thinpool_guard_responsible", **of(pool)) == 0
    assert grown(shown, pool) == 0
    chunk = 65536
    assert shown.value("thinpool_data_size_bytes", **of(pool)) == (
        (status.total_data or 0) * chunk
    )
    assert shown.value("thinpool_data_used_bytes", **of(pool)) == (
        (status.used_data or 0) * chunk
    )
    assert shown.value("thinpool_mode", mode="rw", **of(pool)) == 1
    assert f"dmsetup deps -o devname {pool}" in seen.sections[pool]


def test_the_figures_of_raw_pools(seen: Seen) -> None:
    """As they were made."""
    value = seen.after.value

    assert value("thinpool_data_size_bytes", **of("containerd-pool")) == 100 * GIB
    assert value("thinpool_data_used_bytes", **of("containerd-pool")) == 8 * MIB
    assert value("thinpool_virtual_size_bytes", **of("containerd-pool")) == GIB
    assert value("thinpool_data_used_bytes", **of("raw-parts")) == 60 * MIB
    assert value("thinpool_queue_if_no_space", **of("raw-parts")) == 0
    assert value("thinpool_low_water_mark_bytes", **of("raw-parts")) == 100 * 65536
    assert value("thinpool_thin_volumes", **of("raw-on-lvs")) == 0


def test_only_pools_on_files_are_called_so(seen: Seen) -> None:
    """By themselves, by a PV, by a partition, by a file that has no name any more."""
    expected = {*ON_FILES, "vast/wide", "vast/deep"}
    others = {*GROWN, *RAW} - expected

    for pool in (*expected, *others):
        value = seen.before.value("thinpool_loopback", **of(pool))
        assert value == (pool in expected), pool


def test_the_space_under_files(seen: Seen) -> None:
    """Their file system's own, and what each may still take of it."""
    free = dict.fromkeys(ON_FILES, odd.FILES) | {"memory/pool": odd.MEMORY}
    for pool, place in free.items():
        shown = seen.before.value("thinpool_loopback_backing_free_bytes", **of(pool))
        assert abs((shown or 0) - seen.free_bytes[place]) <= MIB, pool

    promised = {
        "containerd-pool": ("data", "meta"),
        "onfile/pool": ("pv",),
        "onpart/pool": ("disk",),
    }
    for pool, names in promised.items():
        shown = seen.before.value("thinpool_loopback_backing_promised_bytes", **of(pool))
        expected = sum(seen.promised_bytes[f"{odd.FILES}/{name}"] for name in names)
        assert abs((shown or 0) - expected) <= MIB, pool
    name = "thinpool_loopback_backing_promised_bytes"
    assert seen.before.value(name, **of("gone/pool")) is None


def test_check_tells_what_files_mean(seen: Seen) -> None:
    """One without a name goes with its device, memory with a boot; LVM can move both."""
    assert seen.status == 2
    assert "has been deleted" in seen.sections["gone/pool"]
    assert "is memory (tmpfs), lost at the next boot" in seen.sections["memory/pool"]
    assert "more than there is" in seen.sections["containerd-pool"]
    assert "direct-lvm" not in seen.sections["containerd-pool"]
    assert re.search("pvmove /dev/loop[0-9]", seen.sections["onfile/pool"])
    assert re.search("pvmove /dev/loop[0-9]+p1", seen.sections["onpart/pool"])


def test_a_pool_of_lvms_is_moved_off_its_file(seen: Seen) -> None:
    """By what the runbook says; it keeps its size and its guard."""
    value = seen.off_files.value

    assert value("thinpool_loopback", **of(ON_FILE)) == 0
    assert value("thinpool_loopback_backing_free_bytes", **of(ON_FILE)) is None
    assert value("thinpool_data_size_bytes", **of(ON_FILE)) == 39 * MIB
    assert value("thinpool_guard_responsible", **of(ON_FILE)) == 1


def test_metadata_at_the_cap_of_lvm(seen: Seen) -> None:
    """15.875 GiB of an LV of 16 are used; nothing is left to extend it by."""
    deep = of("vast/deep")
    value = seen.after.value

    assert value("thinpool_data_size_bytes", **deep) == TIB
    assert value("thinpool_metadata_size_bytes", **deep) == 255 * ((1 << 14) - 64) * 4096
    assert value("thinpool_next_extend_bytes", device="metadata", **deep) == 0
    step = value("thinpool_next_extend_possible_bytes", device="data", **deep)
    assert step == 205 * GIB  # 20 % of 1024 extents, rounded up
    assert value("thinpool_guard_state", reason="below_threshold", **deep) == 1


@pytest.mark.parametrize("pool", TWINS)
def test_vgs_of_one_name_are_left_alone(seen: Seen, pool: str) -> None:
    """LVM extends neither by its name; what they have free belongs to nobody."""
    assert seen.wanted[pool] == {}
    assert seen.after.label("thinpool_guard_state", "reason", **of(pool)) == "layout_unknown"
    assert grown(seen.after, pool) == 0
    assert seen.after.value("thinpool_data_size_bytes", **of(pool)) == 32 * MIB
    assert seen.after.value("thinpool_vg_free_bytes", vg="twin") is None
    assert "2 VGs are named twin" in seen.report


def test_the_guard_follows_new_names(seen: Seen) -> None:
    """A VG and its pool are renamed in use; the guard extends it by its new name."""
    assert grown(seen.renamed, RENAMED) == 1
    assert seen.renamed.value("thinpool_data_size_bytes", **of(RENAMED)) == 39 * MIB
    assert seen.renamed.value("thinpool_data_size_bytes", **of("calm/pool")) is None


def test_nothing_is_refused(seen: Seen) -> None:
    """An lvextend runs for the pools that grow, once for each, and for no other."""
    tried = [
        f"{event['vg']}/{event['pool']}"
        for event in seen.events
        if event["event"] == "extending"
    ]

    assert sorted(tried) == sorted([*GROWN, RENAMED])
    assert names_of(seen.events, "extend_failed") == []


def names_of(events: Sequence[Mapping[str, object]], name: str) -> list[object]:
    """Name the pools of an event."""
    return [event["pool"] for event in events if event["event"] == name]
