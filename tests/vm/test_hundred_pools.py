"""A hundred pools in five volume groups: all shown, all guarded, all extended when all fill."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.vm import faults, scenarios
from tests.vm.conftest import READY
from tests.vm.guest import CONFIG, Metrics, check, running
from tests.vm.machine import Machine

# Making them takes some minutes.
pytestmark = pytest.mark.campaign

GROUPS, POOLS_OF_EACH = 5, 20
MIB = 1024 * 1024
CHUNK = 65536
DATA_MIB, USED_MIB = 8, 7  # above 80 %, and below it after one step
GROWN_MIB = 10  # 8 extents and 20 % of them, rounded up
GROUP_MIB = 300
READY_SECONDS, MAKE_SECONDS, GROW_SECONDS = 300, 600, 600
NAMES = tuple(
    f"group{group}/pool{pool}" for group in range(GROUPS) for pool in range(POOLS_OF_EACH)
)


class Seen(NamedTuple):
    """What one guard showed and did."""

    idle: Metrics
    statuses: dict[str, scenarios.Status]
    grown: Metrics
    grown_seconds: float
    report: str
    sizes: dict[str, int]  # of the data, by LVM, afterwards


def labels(name: str) -> dict[str, str]:
    """Make the labels of a pool's series."""
    vg, _, pool = name.partition("/")
    return {"vg": vg, "pool": pool}


def make(machine: Machine) -> None:
    """Make the pools, each with a thin volume that LVM does not know."""
    faults.prepared(machine)
    disk = faults.Disk(machine)
    for number in range(GROUPS):
        faults.run(machine, disk.group(f"group{number}", GROUP_MIB))
        group = [name for name in NAMES if name.startswith(f"group{number}/")]
        lines = [line for name in group for line in pool(name)]
        machine.run("\n".join(("set -e", *lines)), timeout_seconds=MAKE_SECONDS)


def pool(name: str) -> Iterator[str]:
    """Make one of them, of 8 MiB."""
    vg, lv = name.split("/")
    yield (
        f"lvcreate -qq {faults.QUIET} --type thin-pool -Zn -L {DATA_MIB}M "
        f"--poolmetadatasize 2M -c 64K --metadataprofile {faults.PROFILE} -n {lv} {vg}"
    )
    yield faults.filled(name, 1)


def has_grown(metrics: Metrics) -> bool:
    """Whether the guard has extended all of them."""
    return all(
        metrics.value("thinpool_guard_extends_total", device="data", **labels(name)) == 1
        for name in NAMES
    )


@pytest.fixture(scope="module")
def seen(booted: Machine) -> Seen:
    """Look at them, fill all of them one after the other, and wait until all have grown."""
    booted.restore(READY)
    make(booted)
    booted.write(CONFIG, "guard: {anticipate: false}\n")
    with running(booted, ready_seconds=READY_SECONDS) as guest:
        idle = guest.scrape_until(is_whole, seconds=READY_SECONDS)
        statuses = scenarios.dm_status(booted)
        began = time.monotonic()
        fill = "\n".join(faults.write(name, USED_MIB - 1, offset_mib=1) for name in NAMES)
        booted.start(fill, unit="fill")
        grown = guest.scrape_until(has_grown, seconds=GROW_SECONDS)
        took = time.monotonic() - began
        _, report = check(booted)
        assert guest.events("extend_failed") == []
    form = "--noheadings --nosuffix --units b -o vg_name,lv_name,lv_size"
    printed = booted.run(f"lvs {form} -S segtype=thin-pool", timeout_seconds=120).stdout
    lines = (line.split() for line in printed.splitlines())
    return Seen(
        idle=idle,
        statuses=statuses,
        grown=grown,
        grown_seconds=took,
        report=report,
        sizes={f"{vg}/{lv}": int(size) for vg, lv, size in lines},
    )


def is_whole(metrics: Metrics) -> bool:
    """Whether LVM and the kernel have been read of all."""
    return all(
        metrics.value("thinpool_guard_responsible", **labels(name)) == 1
        and metrics.value("thinpool_vg_free_bytes", vg=labels(name)["vg"]) is not None
        for name in NAMES
    )


def test_all_are_shown_as_the_kernel_counts_them(seen: Seen) -> None:
    """Sizes, use and volumes of each."""
    for name in NAMES:
        status = seen.statuses[faults.dm_name(name)]
        value = seen.idle.value
        of = labels(name)
        assert value("thinpool_data_size_bytes", **of) == (status.total_data or 0) * CHUNK
        assert value("thinpool_data_used_bytes", **of) == (status.used_data or 0) * CHUNK
        assert value("thinpool_guard_responsible", **of) == 1, name
        assert value("thinpool_thin_volumes", **of) == 1


def test_all_are_extended_when_all_fill(seen: Seen) -> None:
    """Each by exactly its step, as LVM says afterwards."""
    assert has_grown(seen.grown)
    assert seen.sizes == dict.fromkeys(NAMES, GROWN_MIB * MIB)
    said = f"a hundred pools filled and grew in {seen.grown_seconds:.0f} s"
    print(said)  # noqa: T201 - a figure to read, by -s


def test_a_hundred_pools_fit_into_the_program(seen: Seen) -> None:
    """What they cost is printed; that nothing was cut short or failed is asserted."""
    value = seen.grown.value
    resident = (value("process_resident_memory_bytes") or 0) / MIB
    said = [f"resident {resident:.1f} MiB, exposition {len(seen.grown.text) >> 10} KiB"]
    for collector in ("lvm", "device_mapper", "policy"):
        assert value("thinpool_collector_success", collector=collector) == 1
        took = value("thinpool_collector_duration_seconds", collector=collector)
        said.append(f"{collector} {took:.2f} s")
    print(*said, sep=", ")  # noqa: T201 - figures to read, by -s
    assert all(name in seen.report for name in NAMES)
