"""What we print from lvs is what the kernel counts, within the precision of the print.

Without the kernel our figures come from lvs, whose sizes are exact in bytes and whose shares
have two decimals. In any other unit, or with a comma, nothing is read at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from exporter.collectors import families
from exporter.errors import HostError
from exporter.model import MAX_METADATA_BYTES, METADATA_BLOCK_BYTES, LvmPool, PoolMode
from exporter.report.text import percent
from exporter.simulation.figures import make_percent, percent_text
from exporter.sources import lvm
from exporter.sources.lvm_dialect import FULL, Dialect
from exporter.sources.lvm_layout import make_layout
from exporter.sources.lvm_output import HINTS
from exporter.units import format_bytes
from tests.factories import (
    make_collectors,
    make_failed_state,
    make_pool,
    make_snapshot,
    make_usage,
)
from tests.printed import UNITS, print_size, read_size
from tests.recordings.replay import HERE, Recording

KIB = 1024
EXTENT_BYTES = 4 * KIB**2
HUNDREDTH = Fraction(1, 10_000)  # of a percent's print, as a share
# LVM calculates shares in C's floats: 24 bits, twice rounded.
FLOAT_ERROR = Fraction(1, 2**22)
NAMED = Dialect(has_json=False)
BARE = Dialect(
    has_json=False, has_binary=False, unknown_settings=frozenset({HINTS}), has_selection=False
)
PAIRS = Mapping[str, str]


class Pool(Struct, frozen=True):
    """A pool as the kernel counts it."""

    chunk_bytes: int
    extents: int
    metadata_extents: int
    used_chunks: int
    used_blocks: int

    @property
    def size_bytes(self) -> int:
        """The data LV, of which the kernel uses whole chunks alone."""
        return self.extents * EXTENT_BYTES

    @property
    def chunks(self) -> int:
        """All of the data device's."""
        return self.size_bytes // self.chunk_bytes

    @property
    def blocks(self) -> int:
        """All of the metadata device's that the kernel uses."""
        size_bytes = min(self.metadata_extents * EXTENT_BYTES, MAX_METADATA_BYTES)
        return size_bytes // METADATA_BLOCK_BYTES


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """Draw a pool of any size that LVM makes, with any chunks, as full as can be."""
    chunk_bytes = 65536 * draw(st.integers(1, 64) | st.sampled_from([256, 4096, 16384]))
    smallest = -(-chunk_bytes // EXTENT_BYTES)
    extents = draw(st.integers(smallest, 10_000) | st.integers(smallest, 2**32))
    metadata_extents = draw(st.integers(1, 4064))
    pool = Pool(chunk_bytes, extents, metadata_extents, 0, 0)
    return Pool(
        chunk_bytes,
        extents,
        metadata_extents,
        draw(near_the_ends(pool.chunks)),
        draw(near_the_ends(pool.blocks)),
    )


def near_the_ends(total: int) -> st.SearchStrategy[int]:
    """Draw a usage, often one that a rounded print takes for none or all."""
    few = st.integers(0, min(3, total))
    return few | few.map(lambda left: total - left) | st.integers(0, total)


def share(used: int, total: int, *, is_new: bool) -> str:
    """Print a share as LVM does: since 2.02.172 without false 0.00 and 100.00."""
    exact = make_percent(used, total)
    return percent_text(exact) if is_new else f"{exact / 1_000_000:.2f}"


def template() -> dict[str, Any]:
    """Take a real pool's row for all that does not matter here."""
    rows = Recording(HERE / "bookworm" / "above_threshold").rows("lvs")
    return dict(next(row for row in rows if row["segtype"] == "thin-pool"))


TEMPLATE = template()


def row_of(pool: Pool, *, is_new: bool = True) -> dict[str, str]:
    """Print a pool's fields, its sizes in bytes."""
    return TEMPLATE | {
        "lv_attr": "twi-aotz--",
        "lv_allocation_policy": "inherit",  # asked for since the recording
        "lv_size": str(pool.size_bytes),
        "lv_metadata_size": str(pool.metadata_extents * EXTENT_BYTES),
        "chunk_size": str(pool.chunk_bytes),
        "data_percent": share(pool.used_chunks, pool.chunks, is_new=is_new),
        "metadata_percent": share(pool.used_blocks, pool.blocks, is_new=is_new),
    }


def as_json(row: PAIRS) -> str:
    """Print as --reportformat json: every value is text."""
    return json.dumps({"report": [{"lv": [row]}]}, indent=4)


def as_json_std(row: PAIRS) -> str:
    """Print as json_std: numbers bare, nothing as null, lists as lists."""
    text = {"data_percent", "metadata_percent", "lv_size", "lv_metadata_size", "chunk_size"}
    bare = {name: json.loads(value) if name in text else value for name, value in row.items()}
    changed = {"lv_role": row["lv_role"].split(","), "lv_profile": row["lv_profile"] or None}
    return json.dumps({"report": [{"lv": [bare | changed]}], "log": []})


def as_named(row: PAIRS, dialect: Dialect = NAMED, quote: str = "'") -> str:
    """Print as --nameprefixes, those fields that are asked for."""
    asked = lvm.LVS.asked(dialect)
    return "  " + " ".join(f"LVM2_{name.upper()}={quote}{row[name]}{quote}" for name in asked)


LAYOUTS = {
    "json": (as_json, FULL),
    "json_std": (as_json_std, FULL),
    "named": (as_named, NAMED),
    "letters": (lambda row: as_named(row, BARE), BARE),
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def read(text: str, dialect: Dialect) -> LvmPool | None:
    """Read the one pool of a report; None for one that is refused."""
    try:
        rows, problems = lvm.parse_rows(text, lvm.LVS, dialect)
    except HostError:
        return None
    layout = make_layout(rows, (), (), problems)
    return layout.pools[0] if layout.pools else None


def printed(text: str, layout: str) -> LvmPool | None:
    """Read it in the dialect of the layout."""
    return read(text, LAYOUTS[layout][1])


def samples(found: LvmPool) -> dict[str, float]:
    """Make the metrics of a host whose kernel cannot be asked."""
    pool = make_pool(kernel=None, lvm=found, mode=PoolMode.UNKNOWN)
    mute = make_collectors(device_mapper=make_failed_state())
    every = families(make_snapshot(pools=(pool,), collectors=mute))
    return {sample.name: sample.value for family in every for sample in family.samples}


def bound(size_bytes: int, block_bytes: int, text: str, *, is_new: bool) -> Fraction:
    """Tell how far the printed share of a size may be from the kernel's count.

    Half a hundredth of a percent; all of it next to 0 and 100, which newer LVM keeps for what
    is exactly so. The kernel counts whole blocks: the LV's size may be one block more.
    """
    is_clamped = is_new and text in {"0.01", "99.99"}
    rounding = HUNDREDTH * (1 if is_clamped else Fraction(1, 2))
    return size_bytes * (rounding + FLOAT_ERROR) + block_bytes


@every_layout
@given(pool=pools(), is_new=st.booleans())
def test_shares_give_what_the_kernel_counts(pool: Pool, layout: str, *, is_new: bool) -> None:
    """In every layout, with the rounding of either age, at every size."""
    row = row_of(pool, is_new=is_new)
    found = printed(LAYOUTS[layout][0](row), layout)

    assert found is not None
    metrics = samples(found)
    for device, used, total, block in (
        ("data", pool.used_chunks, pool.chunks, pool.chunk_bytes),
        ("metadata", pool.used_blocks, pool.blocks, METADATA_BLOCK_BYTES),
    ):
        told, size_bytes = row[f"{device}_percent"], total * block
        assert metrics[f"thinpool_{device}_size_bytes"] == size_bytes
        error = abs(int(metrics[f"thinpool_{device}_used_bytes"]) - used * block)
        assert error <= bound(size_bytes, block, told, is_new=is_new)


@every_layout
@given(pool=pools(), unit=st.sampled_from(UNITS), comma=st.sampled_from(".,"), data=st.data())
def test_any_other_unit_is_refused_or_exact(
    pool: Pool, layout: str, unit: str, comma: str, data: st.DataObject
) -> None:
    """A size with a suffix or with decimals is none of bytes; no figure is made of it."""
    size = print_size(pool.size_bytes, unit, comma=comma)
    bare = print_size(pool.size_bytes, unit, comma=comma, has_suffix=False)
    # Sectors without a suffix are digits as bytes are: LVM prints what it was asked for.
    text = size if unit in "sShHrR" else data.draw(st.sampled_from([size, bare]))
    row = row_of(pool) | {"lv_size": text}
    render, dialect = LAYOUTS[layout]

    try:
        report = render(row)
    except json.JSONDecodeError:  # json_std prints numbers alone
        return
    found = read(report, dialect)

    assert found is None or found.size_bytes == pool.size_bytes


@every_layout
@given(pool=pools())
def test_a_comma_is_no_point(pool: Pool, layout: str) -> None:
    """Of a locale that we do not ask for: the row is refused, and 65,54 is not 6554."""
    row = row_of(pool)
    changed = row | {"data_percent": row["data_percent"].replace(".", ",")}
    if layout != "json_std":
        assert printed(LAYOUTS[layout][0](changed), layout) is None


@given(pool=pools())
def test_a_form_that_was_not_asked_for_gives_nothing(pool: Pool) -> None:
    """Without the quotes a value's end is not known; columns have no names."""
    row = row_of(pool)
    columns = "  LV       VG     LSize\n  thinpool docker 24.00g\n"

    assert read(as_named(row, quote=""), NAMED) is None
    assert read(columns, FULL) is None
    assert read(columns, NAMED) is None


@given(size_bytes=st.integers(0, 2**62), unit=st.sampled_from(UNITS))
def test_every_unit_of_lvs_can_be_held_against_bytes(size_bytes: int, unit: str) -> None:
    """What tests judge real lvs by: no print is farther off than it may be."""
    told = read_size(print_size(size_bytes, unit), unit)
    cut_off = 511 if unit in "sS" else 0  # LVs are whole sectors
    double = Fraction(size_bytes, 2**51)

    assert abs(size_bytes - told.value) <= told.bound + cut_off + double


@given(size_bytes=st.integers(0, 2**62))
def test_a_size_in_the_report_is_near(size_bytes: int) -> None:
    """`check` and the status page round to two digits of the unit that they name."""
    number, unit = format_bytes(size_bytes).split()
    one = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].index(unit)
    half = 0 if one == 1 else Fraction(one, 200)

    assert abs(Fraction(number) * one - size_bytes) <= half + Fraction(size_bytes, 2**51)


@given(pool=pools())
def test_a_share_in_the_report_is_lvms_own(pool: Pool) -> None:
    """From the kernel's counts `check` says what a new LVM would, to a hundredth."""
    usage = make_usage(used_blocks=pool.used_chunks, total_blocks=pool.chunks)
    told = Fraction(percent(usage).removesuffix(" %"))
    lvms = Fraction(share(pool.used_chunks, pool.chunks, is_new=True))

    assert abs(told - lvms) <= Fraction(1, 100)
    assert (told == 100) == (pool.used_chunks == pool.chunks)
    assert (told == 0) == (pool.used_chunks == 0)
