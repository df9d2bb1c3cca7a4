"""Texts of hosts of every age (tests/recordings/samples): what we make of each, exactly.

Columns for people are read by nothing of ours. Their rows are put into the form that we ask an
LVM of that age for, letters and all, and must give the records beside them.
"""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from exporter.errors import HostError, ParseError
from exporter.model import LvmPool
from exporter.sources import docker, lvm, policy
from exporter.sources.device_mapper import parse_pool_status
from exporter.sources.lvm_dialect import FULL, Dialect
from exporter.sources.lvm_layout import make_layout
from exporter.sources.lvm_output import HINTS
from exporter.sources.lvm_report import convert, parse_named, parse_report
from tests.printed import cut_columns, read_size
from tests.recordings.replay import HERE, Recording

SAMPLES = HERE / "samples"
EXPECTED: dict[str, Any] = json.loads((SAMPLES / "expected.json").read_text())
CHUNK_BYTES = 524_288
# An LVM of 2012: the fields of its reports that are not told by letters.
BY_LETTERS = {
    *("lv_health_status", "lv_permissions", "lv_role", "lv_when_full", "vg_permissions"),
    *("lv_allocation_policy", "vg_allocation_policy"),
}
NEWER = {"vg_profile", "vg_systemid"}
OLD = Dialect(
    fields={
        "lvs": frozenset(lvm.LV_FIELDS) - BY_LETTERS,
        "vgs": frozenset(lvm.VG_FIELDS) - BY_LETTERS - NEWER,
    },
    has_json=False,
    has_binary=False,
    has_selection=False,
    unknown_settings=frozenset({HINTS}),
)
TEMPLATE = next(
    row
    for row in Recording(HERE / "bookworm" / "above_threshold").rows("lvs")
    if row["segtype"] == "thin-pool"
)
COLUMNS = sorted(name for name, what in EXPECTED.items() if "lvs" in what)
# Words for people, which nothing reads: exit statuses and the kernel's words decide.
WORDS = sorted(name for name, what in EXPECTED.items() if what == "nothing")


def lvs_of(name: str) -> list[dict[str, str]]:
    """Take the rows of pools and thin volumes."""
    return [row for row in cut_columns((SAMPLES / name).read_text()) if row["Attr"][0] in "tV"]


def asked_for(row: dict[str, str], size_bytes: int) -> str:
    """Print the row as an LVM without JSON answers us: sizes in bytes, flags as letters."""
    told = TEMPLATE | {
        "vg_name": row["VG"],
        "lv_name": row["LV"],
        "lv_attr": row["Attr"],
        "lv_size": str(size_bytes),
        "data_percent": row.get("Data%", ""),
        "metadata_percent": row.get("Meta%", ""),
        "pool_lv": row.get("Pool", ""),
        "segtype": {"t": "thin-pool", "V": "thin"}.get(row["Attr"][0], "linear"),
    }
    names = lvm.LVS.asked(OLD)
    return " ".join(f"LVM2_{field.upper()}='{told[field]}'" for field in names)


def read(rows: list[str]) -> tuple[tuple[LvmPool, ...], int]:
    """Read them as our program does; pools, and how many rows were refused."""
    found, problems = lvm.parse_rows("\n".join(rows), lvm.LVS, OLD)
    layout = make_layout(found, (), (), problems)
    return layout.pools, len(layout.problems)


@pytest.mark.parametrize("name", COLUMNS)
def test_the_rows_of_every_table(name: str) -> None:
    """Each pool with its state, or the row refused; sizes within what the table shows."""
    wanted = EXPECTED[name]["lvs"]
    told = [
        asked_for(row, lv["size_bytes"]) for row, lv in zip(lvs_of(name), wanted, strict=True)
    ]

    pools, refused = read(told)

    states = [pool for pool in wanted if "health" in pool]
    found = [msgspec.to_builtins(pool) for pool in pools]
    assert [dict_of(pool, states) for pool in found] == states
    assert refused == EXPECTED[name].get("refused", 0)


def dict_of(pool: dict[str, object], like: list[dict[str, object]]) -> dict[str, object]:
    """Take the fields of a record that a table shows."""
    return {field: pool[field] for field in like[0]}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_table_shows_sizes_to_a_hundredth(name: str) -> None:
    """Two digits of a GiB, so half a hundredth of one is what the bytes may differ by."""
    wanted = EXPECTED[name]["lvs"]
    for row, lv in zip(lvs_of(name), wanted, strict=True):
        printed = read_size(row["LSize"], "g")
        assert printed.bound == Fraction(1024**3, 200)
        assert printed.allows(lv["size_bytes"])


@pytest.mark.parametrize("name", [name for name in COLUMNS if "monitor" in EXPECTED[name]])
def test_the_words_of_seg_monitor(name: str) -> None:
    """As they stand; an empty one is that of a pool that is not active."""
    lines = [
        f"LVM2_VG_NAME='{row['VG']}' LVM2_LV_NAME='{row['LV']}' "
        f"LVM2_SEG_MONITOR='{row['Monitor']}'"
        for row in lvs_of(name)
    ]
    raw, problems = parse_named("\n".join(lines), lvm.MONITOR_FIELDS, source="lvs")
    rows, unreadable = convert(raw, lvm.MONITOR_FIELDS, source="lvs")

    words = {f"{row['vg_name']}/{row['lv_name']}": row["seg_monitor"] for row in rows}
    assert words == EXPECTED[name]["monitor"]
    assert not [*problems, *unreadable]


def test_the_json_of_lvs() -> None:
    """Every field that it has, by our own readers of each."""
    text = (SAMPLES / "lvs-json.json").read_text()
    wanted = EXPECTED["lvs-json.json"]
    readers = lvm.LV_FIELDS | lvm.MONITOR_FIELDS
    fields = {name: readers[name] for name in ("vg_name", "lv_name", *wanted["vg1/idle"])}

    rows, problems = parse_report(text, fields, source="lvs")

    found = {f"{row.pop('vg_name')}/{row.pop('lv_name')}": row for row in map(dict, rows)}
    assert found == wanted
    assert not problems


def test_every_mode_of_the_kernels_status() -> None:
    """With and without the words that older kernels lack."""
    found = {}
    for line in (SAMPLES / "dmsetup-status-thin-pool-modes.txt").read_text().splitlines():
        name, _, words = line.partition(": ")
        status = parse_pool_status(words.split(" thin-pool ")[1], chunk_bytes=CHUNK_BYTES)
        found[name] = msgspec.to_builtins(status)

    assert found == EXPECTED["dmsetup-status-thin-pool-modes.txt"]


def test_the_room_of_a_volume_group() -> None:
    """Two digits of a MiB and of a GiB."""
    name = "vgs-free-too-small-for-20-percent.txt"
    wanted = EXPECTED[name]
    (row,) = cut_columns((SAMPLES / name).read_text())
    told = {
        "vg_name": row["VG"],
        "vg_uuid": "unknown",
        "vg_size": str(wanted["size_bytes"]),
        "vg_free": str(wanted["free_bytes"]),
        "vg_extent_size": "4194304",
        "vg_seqno": "1",
        "vg_attr": row["Attr"],
    }
    line = " ".join(f"LVM2_{field.upper()}='{value}'" for field, value in told.items())

    rows, problems = lvm.parse_rows(line, lvm.VGS, OLD)
    (group,) = make_layout((), rows, (), problems).volume_groups

    assert {field: getattr(group, field) for field in wanted} == wanted
    assert group.is_writable
    assert not any((group.is_exported, group.is_partial, group.is_clustered))
    for column, size_bytes in (("VSize", group.size_bytes), ("VFree", group.free_bytes)):
        assert read_size(row[column], "g").allows(size_bytes)


@pytest.mark.parametrize("name", WORDS)
def test_words_for_people_are_no_records(name: str) -> None:
    """Messages of LVM, dmeventd, Docker and the kernel: no reader makes a figure of one."""
    text = (SAMPLES / name).read_text()

    for refuse in (docker.parse_info_text, docker.parse_info_json, policy.parse_lvmconfig):
        with pytest.raises(ParseError):
            refuse(text)
    with pytest.raises(HostError):
        lvm.parse_rows(text, lvm.LVS, FULL)
    assert lvm.parse_rows(text, lvm.LVS, OLD) == ([], [])
    assert policy.parse_version(text) is None
    for line in text.splitlines():
        with pytest.raises(ParseError):
            parse_pool_status(line, chunk_bytes=CHUNK_BYTES)  # "Error starting daemon" too


def test_every_sample_is_used() -> None:
    """None lies there that no test reads."""
    assert {path.name for path in SAMPLES.iterdir()} == {*EXPECTED, "expected.json"}
