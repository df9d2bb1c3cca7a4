"""Figures that cannot be: their row is a Problem, and the rest is read."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from exporter.command import Output
from exporter.model import LvmLayout
from exporter.sources.lvm import read_layout
from tests.recordings.replay import HERE, Recording

STATE = Recording(HERE / "bookworm" / "striped_and_raid1")
POOLS = {"linear", "mirrored", "striped"}
Row = dict[str, str]


OTHER_VG = "beside"


def layout_with(command: str, name: str, **changes: str) -> LvmLayout:
    """Read a recorded host of which the row of this name has other figures."""
    rows: dict[str, list[Row]] = {word: STATE.rows(word) for word in ("lvs", "vgs", "pvs")}
    rows["vgs"].append(rows["vgs"][0] | {"vg_name": OTHER_VG, "vg_uuid": "other"})
    key = {"lvs": "lv_name", "vgs": "vg_name"}[command]
    changed = [row | changes if row[key] == name else row for row in rows[command]]
    assert changed != rows[command]

    def run(argv: Sequence[str]) -> Output:
        answer = changed if argv[1] == command else rows[argv[1]]
        text = json.dumps({"report": [{argv[1].rstrip("s"): answer}]})
        return Output(argv=tuple(argv), status=0, stdout=text, stderr="")

    return read_layout(run, "/sbin/lvm")


@pytest.mark.parametrize("field", ["chunk_size", "lv_size", "lv_metadata_size"])
@pytest.mark.parametrize("text", ["", "0", "-1", "4194304.00", "4m"])
def test_a_pool_without_a_size_is_refused(field: str, text: str) -> None:
    """Blank, nothing or no count: the other pools of the VG are read."""
    layout = layout_with("lvs", "linear", **{field: text})

    assert {pool.name for pool in layout.pools} == POOLS - {"linear"}
    (problem,) = layout.problems
    assert "docker/linear" in problem.subject


@pytest.mark.parametrize("text", ["1", "511", "65537"])
def test_a_chunk_that_is_not_whole_sectors_is_refused(text: str) -> None:
    """LVM's arithmetic divides by the chunk's sectors."""
    layout = layout_with("lvs", "linear", chunk_size=text)

    assert {pool.name for pool in layout.pools} == POOLS - {"linear"}
    assert text in layout.problems[0].message


@pytest.mark.parametrize("text", ["", "0", "-4194304", "511", "4194305"])
def test_a_vg_without_a_size_of_its_extents_is_refused(text: str) -> None:
    """Its pools are still known by what lvs says."""
    layout = layout_with("vgs", "docker", vg_extent_size=text)

    assert [group.name for group in layout.volume_groups] == [OTHER_VG]
    assert {pool.name for pool in layout.pools} == POOLS
    assert len(layout.problems) == 1


@pytest.mark.parametrize("text", ["", "0", "-2"])
@pytest.mark.parametrize(("name", "pool"), [("_tdata", "striped"), ("_tmeta", "mirrored")])
def test_a_segment_without_stripes_is_refused(name: str, pool: str, text: str) -> None:
    """Then it is not known how its pool is laid out; those beside it are not affected."""
    layout = layout_with("lvs", f"[{pool}{name}]", stripes=text)

    (problem,) = layout.problems
    assert pool + name in problem.subject
    unknown = {
        found.name
        for found in layout.pools
        if None in {found.data_segment_type, found.metadata_segment_type}
    }
    assert unknown == {pool}


@pytest.mark.parametrize("kind", ["error", "zero", "thin"])
def test_a_segment_that_lies_on_nothing_has_no_stripes(kind: str) -> None:
    """As after `vgreduce --removemissing --force`; a thin volume's row says 0 as well."""
    layout = layout_with("lvs", "[striped_tdata]", segtype=kind, stripes="0")

    assert layout.problems == ()
    (pool,) = (found for found in layout.pools if found.name == "striped")
    assert (pool.data_segment_type, pool.data_stripes, pool.data_areas) == (kind, 1, 1)
