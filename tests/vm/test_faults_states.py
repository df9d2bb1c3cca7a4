"""A host of many faults: each VG has another, all pools are over their threshold.

One guard looks at all of them at once; then each fault that can be mended is mended, under
the same guard. So no test here runs anything itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from tests.vm import faults, scenarios
from tests.vm.conftest import READY
from tests.vm.guest import CONFIG, Guest, Metrics, check, running
from tests.vm.machine import Machine

pytestmark = pytest.mark.every_release

SETTLE_SECONDS = 180.0
MEND_SECONDS = 120.0
SOUND = "sound/pool"
# A policy of its own, for the pools whose profile matters.
LOST, LOW = "lost", "low"


# By device: sectors in the kernel's tables, bytes in LVM's metadata.
Sizes = Mapping[str, int]


class Case(NamedTuple):
    """What the guard is to say of one pool, and what `check` tells to do next."""

    reason: str
    advice: str
    mode: str = "rw"


# None of these may be changed.
UNTOUCHED: Mapping[str, Case] = {
    "sick/check": Case("needs_check", "lvconvert --repair sick/check", mode="ro"),
    "sick/failed": Case("failed", "lvconvert --repair sick/failed", mode="failed"),
    "ward/muted": Case("read_only", "journalctl -k", mode="ro"),
    "ward/cold": Case("inactive", "lvchange -ay ward/cold", mode="inactive"),
    "ward/torn": Case("inactive", "lvchange -an ward/torn_tdata", mode="inactive"),
    "ward/lost": Case("profile_missing", f"/etc/lvm/profile/{LOST}.profile"),
    "asleep/pool": Case("suspended", "dmsetup resume asleep-pool"),
    "exported/pool": Case("vg_exported", "vgimport exported"),
    "foreign/pool": Case("vg_foreign", "system ID elsewhere"),
    # LVM shows nothing of a VG whose lock manager does not run.
    "shared/pool": Case("layout_unknown", "LVM does not tell how it is laid out"),
    "partial/pool": Case("vg_partial", "vgextend --restoremissing partial"),
    "empty/pool": Case("no_space", "vgextend empty"),
    "striped/pool": Case("no_space", "vgextend striped"),
}
# Odd, but no reason not to act.
GROWN = (SOUND, "ward/odd", "ward/thins", "ward/spent")
# Its metadata is over its threshold, and its VG keeps no spare for a repair.
BARE = "bare/pool"
# What mends a fault, and so lets the pool grow.
MENDED: Mapping[str, str] = {
    "ward/cold": f"lvchange -qq {faults.QUIET} -ay ward/cold",
    "ward/lost": "# its file is written",
    "asleep/pool": "dmsetup resume asleep-pool",
    "empty/pool": "vgextend -qq empty {disk}",
    "striped/pool": "pvchange -qq -xy /dev/mapper/pv-striped-1",
}


class Seen(NamedTuple):
    """Everything that one guard did and said."""

    before: Sizes
    after: Sizes
    metrics: Metrics
    status: int
    sections: Mapping[str, str]  # of the report of `check`, by pool
    events: list[dict[str, object]]
    mended: Metrics


def labels(pool: str) -> dict[str, str]:
    """Make the labels of a pool's series."""
    vg, name = pool.split("/")
    return {"vg": vg, "pool": name}


def make_zoo(machine: Machine) -> None:
    """Make every VG and its fault, in as few commands as it takes."""
    faults.prepared(machine)
    scenarios.write_profile(machine, LOST, 80, 20)
    scenarios.write_profile(machine, LOW, 40, 20)
    disk = faults.Disk(machine)
    faults.run(machine, *_make_sound(disk), *_make_ward(disk), *_make_sick(disk))
    faults.run(machine, *_make_groups(disk))
    scenarios.fill_metadata(machine, faults.dm_name(BARE), 78)
    machine.run(f"rm {scenarios.PROFILE_DIRECTORY}/{LOST}.profile")


def _make_sound(disk: faults.Disk) -> tuple[str, ...]:
    return (disk.group("sound"), faults.pool(SOUND), faults.filled(SOUND))


def _make_ward(disk: faults.Disk) -> tuple[str, ...]:
    """Make pools whose own state is odd, and which share a VG with sound ones."""
    quiet = faults.QUIET
    return (
        disk.group("ward", 500),
        *_full("ward/muted"),
        faults.read_only("ward/muted"),
        *_full("ward/cold"),
        "dmsetup remove --retry thin-ward-cold",
        f"lvchange -qq {quiet} -an ward/cold",
        # As a container's own LVM leaves it: a part is active without its pool.
        *_full("ward/torn"),
        "dmsetup remove --retry thin-ward-torn",
        f"lvchange -qq {quiet} -an ward/torn",
        f"lvchange -qq -y {quiet} -ay ward/torn_tdata",
        faults.pool("ward/lost", profile=LOST),
        faults.filled("ward/lost"),
        faults.pool("ward/odd", "--discards nopassdown", profile=LOW),
        faults.filled("ward/odd", 20),  # of 32: above LVM's least threshold alone
        "dmsetup message ward-odd 0 reserve_metadata_snap",
        # Full, and writes fail: as 60 s after it was full and queued them.
        faults.pool("ward/spent"),
        f"lvchange -qq {quiet} --errorwhenfull y ward/spent",
        f"{faults.filled('ward/spent', faults.DATA_MIB + 1)} && exit 1 || true",
        # Its own LV is down, the layer under its volume is not.
        faults.pool("ward/thins"),
        f"lvcreate -qq {quiet} -V 64M -n volume --thinpool thins ward",
        f"dd if=/dev/zero of=/dev/ward/volume bs=1M count={faults.USED_MIB} oflag=direct",
        f"lvchange -qq {quiet} -an ward/thins",
    )


def _full(name: str, *options: str) -> tuple[str, str]:
    return faults.pool(name, *options), faults.filled(name)


def _make_sick(disk: faults.Disk) -> tuple[str, ...]:
    return (
        disk.group("sick", 128),
        faults.pool("sick/check"),
        faults.filled("sick/check"),
        faults.needs_check("sick/check"),
        faults.pool("sick/failed"),
        faults.filled("sick/failed"),
        faults.failed("sick/failed"),
    )


def _make_groups(disk: faults.Disk) -> tuple[str, ...]:
    """Make pools that their VG keeps from growing."""
    plain = ("asleep", "exported", "foreign", "shared")
    made = (line for vg in plain for line in (disk.group(vg), *_full(f"{vg}/pool")))
    return (
        *made,
        *(disk.group("bare"), faults.pool(BARE, "--poolmetadataspare n")),
        # 63 extents, of which the pool, its metadata and the spare leave none.
        *(disk.group("empty", 37), *_full("empty/pool")),
        *(disk.group("partial", 64, 64), *_full("partial/pool")),
        *(disk.group("striped", 64, 64), *_full("striped/pool", "--stripes 2")),
        "pvchange -qq -xn /dev/mapper/pv-striped-1",
        # LVM looks for PVs on whatever it did not make: on a thin device of a suspended
        # pool it would wait, and no LVM command on the host would end.
        "dmsetup remove --retry thin-asleep-pool",
        faults.suspended("asleep/pool"),
        faults.exported("exported"),
        faults.edited("foreign", 'system_id = "elsewhere"'),
        faults.edited("shared", 'lock_type = "sanlock"', 'lock_args = "1.0.0:lvmlock"'),
        faults.without_disk("partial-1"),
    )


@pytest.fixture(scope="module")
def seen(booted: Machine) -> Seen:
    """Make the faults, let a guard look at them, mend some, and keep what it did."""
    booted.restore(READY)
    make_zoo(booted)
    before = sizes(booted)
    booted.write(CONFIG, "guard: {anticipate: false}\n")
    with running(booted) as guest:
        metrics = settled(guest, {pool: case.reason for pool, case in UNTOUCHED.items()})
        status, report = check(booted)
        after = sizes(booted)
        mended = mend(booted, guest)
    return Seen(
        before=before,
        after=after,
        metrics=metrics,
        status=status,
        sections=sections(report),
        events=guest.events(),
        mended=mended,
    )


def sizes(machine: Machine) -> Sizes:
    """Read the size of every device from the kernel, and of every LV from LVM."""
    found: dict[str, int] = defaultdict(int)
    for line in machine.run("dmsetup table").stdout.splitlines():
        name, _, length, *_ = line.split()
        found[f"kernel {name.rstrip(':')}"] += int(length)
    fields = "-a --noheadings --units b --nosuffix -o vg_name,lv_name,lv_size"
    for line in machine.run(f"lvs --nolocking {fields}").stdout.splitlines():
        vg, name, size = line.split()
        found[f"LVM {vg}/{name.strip('[]')}"] = int(size)
    return found


def settled(guest: Guest, reasons: Mapping[str, str]) -> Metrics:
    """Scrape until every pool is judged and the sound ones have grown, or for too long."""

    def is_settled(metrics: Metrics) -> bool:
        grown = all(has_grown(metrics, pool) for pool in GROWN)
        return (
            grown
            and has_grown(metrics, BARE, "metadata")
            and all(
                metrics.value("thinpool_guard_state", reason=reason, **labels(pool)) == 1
                for pool, reason in reasons.items()
            )
        )

    return guest.scrape_until(is_settled, seconds=SETTLE_SECONDS)


def mend(machine: Machine, guest: Guest) -> Metrics:
    """Mend what can be mended, and wait for the guard to notice, or for too long."""
    scenarios.write_profile(machine, LOST, 80, 20)
    disk = machine.disk("data1")
    faults.run(machine, *(line.format(disk=disk) for line in MENDED.values()))
    return guest.scrape_until(
        lambda metrics: all(has_grown(metrics, pool) for pool in MENDED), seconds=MEND_SECONDS
    )


def has_grown(metrics: Metrics, pool: str, device: str = "data") -> bool:
    """Whether the guard has extended a device of a pool, once."""
    name = "thinpool_guard_extends_total"
    return metrics.value(name, device=device, **labels(pool)) == 1


def sections(report: str) -> Mapping[str, str]:
    """Take a report apart by pool."""
    parts = (part.strip() for part in report.split("\n\n"))
    return {part.partition(":")[0]: part for part in parts}


@pytest.mark.parametrize("pool", UNTOUCHED)
def test_the_reason_is_told(seen: Seen, pool: str) -> None:
    """Each fault has the name that alerts and people go by."""
    reason = seen.metrics.label("thinpool_guard_state", "reason", **labels(pool))

    assert reason == UNTOUCHED[pool].reason


@pytest.mark.parametrize("pool", UNTOUCHED)
def test_what_must_not_grow_keeps_its_size(seen: Seen, pool: str) -> None:
    """Neither LVM's metadata nor the kernel's tables change, and nothing is counted."""
    marks = (f"LVM {pool}", f"kernel {faults.dm_name(pool)}")
    before = {name: size for name, size in seen.before.items() if name.startswith(marks)}

    assert before
    assert {name: seen.after.get(name) for name in before} == before
    for device in ("data", "metadata"):
        counted = seen.metrics.value(
            "thinpool_guard_extends_total", device=device, **labels(pool)
        )
        assert counted == 0


@pytest.mark.parametrize("pool", UNTOUCHED)
def test_check_names_the_next_step(seen: Seen, pool: str) -> None:
    """What to type, or whose word it is, stands in the pool's own part of the report."""
    assert seen.status == 2
    assert UNTOUCHED[pool].advice in seen.sections[pool]
    assert not re.search("^ *protected by", seen.sections[pool], re.MULTILINE)


@pytest.mark.parametrize("pool", UNTOUCHED)
def test_the_pools_mode_is_shown(seen: Seen, pool: str) -> None:
    """It is the kernel's, whatever LVM says."""
    shown = seen.metrics.value("thinpool_mode", mode=UNTOUCHED[pool].mode, **labels(pool))

    assert shown == 1


@pytest.mark.parametrize("pool", GROWN)
def test_what_is_sound_grows_in_spite_of_the_others(seen: Seen, pool: str) -> None:
    """Once, and to where LVM's own policy would have brought it."""
    device = f"kernel {faults.dm_name(pool)}_tdata"

    assert has_grown(seen.metrics, pool)
    assert seen.after[device] > seen.before[device]
    assert seen.metrics.value("thinpool_guard_responsible", **labels(pool)) == 1


@pytest.mark.parametrize("pool", MENDED)
def test_what_is_mended_grows(seen: Seen, pool: str) -> None:
    """The guard notices by itself that a fault has passed, within seconds."""
    reason = seen.mended.label("thinpool_guard_state", "reason", **labels(pool))

    assert has_grown(seen.mended, pool), reason


def test_metadata_without_a_spare_grows_and_gets_one(seen: Seen) -> None:
    """LVM makes the spare by itself, as long as no PV is named."""
    assert "LVM bare/lvol0_pmspare" not in seen.before
    assert has_grown(seen.metrics, BARE, "metadata")
    tmeta = f"kernel {faults.dm_name(BARE)}_tmeta"
    assert seen.after[tmeta] > seen.before[tmeta]
    assert seen.after["LVM bare/lvol0_pmspare"] == seen.after["LVM bare/pool_tmeta"]


def test_a_full_pool_takes_writes_again(seen: Seen) -> None:
    """Out of data space is no mode to stay in."""
    assert seen.metrics.value("thinpool_mode", mode="rw", **labels("ward/spent")) == 1


def test_the_faults_have_metrics(seen: Seen) -> None:
    """Of those that a pool's mode does not show."""
    flags = {
        "thinpool_needs_check": "sick/check",
        "thinpool_suspended": "asleep/pool",
        "thinpool_profile_missing": "ward/lost",
        "thinpool_metadata_snapshot_held": "ward/odd",
    }
    for name, pool in flags.items():
        assert seen.metrics.value(name, **labels(pool)) == 1, name
        assert seen.metrics.value(name, **labels(SOUND)) == 0, name
    discards = seen.metrics.label("thinpool_info", "discards", **labels("ward/odd"))
    assert discards == "nopassdown"


def test_the_effective_threshold_is_lvms(seen: Seen) -> None:
    """A profile may say 40; LVM never goes below 50."""
    name = "thinpool_autoextend_threshold_ratio"

    assert seen.metrics.value(name, **labels("ward/odd")) == 0.5


def test_nothing_that_is_forbidden_is_tried(seen: Seen) -> None:
    """An lvextend runs for the pools that grow, and for no other."""
    tried = {
        f"{event['vg']}/{event['pool']}"
        for event in seen.events
        if event["event"] == "extending"
    }

    assert tried == {*GROWN, *MENDED, BARE}
