"""What lvs prints of real pools, in every unit and layout, beside what the kernel counts.

The pools have chunks that do not divide their size, and are filled step by step.
"""

from __future__ import annotations

import json
import shlex
from fractions import Fraction
from typing import Any

import pytest

from exporter.collectors import families
from exporter.model import LvmPool, PoolMode
from exporter.sources import lvm
from exporter.sources.lvm_dialect import FULL
from exporter.sources.lvm_layout import make_layout
from exporter.sources.lvm_report import parse_named
from tests.factories import make_collectors, make_failed_state, make_pool, make_snapshot
from tests.printed import UNITS, cut_columns, read_size
from tests.vm import scenarios
from tests.vm.conftest import READY
from tests.vm.guest import collect
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool, Status

VG = "odd"
# 500 MiB are none of these often: the kernel leaves a part of a chunk.
POOLS = {
    name: Pool(
        vg=VG, lv=name, data="500M", metadata="4M", chunk=chunk, profile=None, has_spare=False
    )
    for name, chunk in (("a", "192K"), ("b", "1472K"), ("c", "64K"))
}
# The last fills the pool of the largest chunks, and leaves the others a few.
STEPS_MIB = (0, 1, 251, 498)
FIELDS = ("lv_name", "lv_size", "lv_metadata_size", "data_percent", "metadata_percent")
TITLES = ("LV", "LSize", "MSize", "Data%", "Meta%")
BLOCK_BYTES = 4096
HUNDREDTH = Fraction(1, 100)
FORMS = {
    "columns": "",
    "json": "--reportformat json",
    "named": "--noheadings --nameprefixes",
    "bare": "--nosuffix --reportformat json",
}
MARK = "=== "
LVS = f"lvs {VG} --select segtype=thin-pool -o {','.join(FIELDS)}"
Row = dict[str, str]


@pytest.fixture(scope="module")
def pools(booted: Machine) -> Machine:
    """Make the pools, each with a volume to write to."""
    booted.restore(READY)
    for pool in POOLS.values():
        scenarios.make_pool(booted, pool)
        scenarios.make_volume(booted, pool, f"volume_{pool.lv}", "600M")
    return booted


def statuses(machine: Machine) -> dict[str, Status]:
    """Read the kernel's counts, by pool, after it has written down what it knows."""
    machine.run("dmsetup status --target thin-pool")
    return {name: scenarios.dm_status(machine)[f"{VG}-{name}-tpool"] for name in POOLS}


def prints(machine: Machine) -> dict[tuple[str, str], str]:
    """Have lvs print in every unit and form, in one go."""
    lines = [
        f"echo {shlex.quote(f'{MARK}{unit} {form}')}; {LVS} --units {unit} {options}"
        for unit in UNITS
        for form, options in FORMS.items()
    ]
    text = machine.run("\n".join(("set -e", *lines)), timeout_seconds=600).stdout
    parts = (part.partition("\n") for part in text.split(MARK)[1:])
    return {(head.split()[0], head.split()[1]): body for head, _, body in parts}


def rows(text: str, form: str) -> dict[str, Row]:
    """Read one print without any parser of sizes or shares of ours."""
    if form == "columns":
        found = [
            {field: row[title] for field, title in zip(FIELDS, TITLES, strict=True)}
            for row in cut_columns(text)
        ]
    elif form == "named":
        raw, problems = parse_named(text, FIELDS, source="lvs")
        assert not problems
        found = [dict(row) for row in raw]
    else:
        (section,) = json.loads(text)["report"]
        found = section["lv"]
    return {row["lv_name"]: row for row in found}


def our_reading(machine: Machine) -> dict[str, LvmPool]:
    """Ask lvs as the program does, and read it so."""
    text = machine.run(lvm.argv_lvs("lvm", (VG,))).stdout
    found, problems = lvm.parse_rows(text, lvm.LVS, FULL)
    return {pool.name: pool for pool in make_layout(found, (), (), problems).pools}


def without_kernel(found: LvmPool) -> dict[str, float]:
    """Make the metrics of a host whose kernel cannot be asked."""
    pool = make_pool(kernel=None, lvm=found, mode=PoolMode.UNKNOWN)
    mute = make_collectors(device_mapper=make_failed_state())
    every = families(make_snapshot(pools=(pool,), collectors=mute))
    return {sample.name: sample.value for family in every for sample in family.samples}


def shares(status: Status) -> dict[str, Fraction]:
    """Tell the kernel's shares in percent."""
    figures: Any = status
    return {
        "data_percent": Fraction(100 * figures.used_data, figures.total_data),
        "metadata_percent": Fraction(100 * figures.used_metadata, figures.total_metadata),
    }


@pytest.mark.parametrize("mib", STEPS_MIB)
def test_every_print_is_what_the_kernel_counts(pools: Machine, mib: int) -> None:
    """Sizes to half of their last digit, shares to a hundredth, in every unit and form."""
    for pool in POOLS.values():
        if mib:
            done = scenarios.fill(pools, f"/dev/{VG}/volume_{pool.lv}", mib)
            assert done.returncode == 0, done.stderr
    before = statuses(pools)
    printed = prints(pools)
    assert statuses(pools) == before
    exact = our_reading(pools)

    assert len(printed) == len(UNITS) * len(FORMS)
    for (unit, form), text in printed.items():
        found = rows(text, form)
        assert found.keys() == POOLS.keys()
        for name, row in found.items():
            told = (unit, form, row)
            sizes = exact[name].size_bytes, exact[name].metadata_size_bytes
            for field, size_bytes in zip(("lv_size", "lv_metadata_size"), sizes, strict=True):
                if unit not in "hHrR" or form != "bare":  # which do not tell their unit then
                    assert read_size(row[field], unit).allows(size_bytes), told
            for field, share in shares(before[name]).items():
                assert abs(Fraction(row[field]) - share) <= HUNDREDTH, told
                assert (Fraction(row[field]) == 100) == (share == 100), told
                assert (Fraction(row[field]) == 0) == (share == 0), told


def test_our_figures_are_the_kernels(pools: Machine) -> None:
    """To the byte with the kernel, and without it as near as a share has digits."""
    kernel, metrics = statuses(pools), collect(pools)
    for name, found in our_reading(pools).items():
        chunk = found.chunk_bytes
        told = without_kernel(found)
        status: Any = kernel[name]
        for device, used, total, block in (
            ("data", status.used_data, status.total_data, chunk),
            ("metadata", status.used_metadata, status.total_metadata, BLOCK_BYTES),
        ):
            labels = {"vg": VG, "pool": name}
            used_name, size_name = (
                f"thinpool_{device}_{what}_bytes" for what in ("used", "size")
            )
            assert metrics.value(used_name, **labels) == used * block
            assert metrics.value(size_name, **labels) == total * block
            assert 0 <= told[size_name] - total * block < block
            assert abs(told[used_name] - used * block) <= told[size_name] / 10_000 + block
