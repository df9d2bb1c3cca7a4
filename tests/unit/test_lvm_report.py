"""LVM's two forms of a report: JSON, and values behind their fields' names."""

from __future__ import annotations

import pytest

from exporter.errors import ParseError
from exporter.sources.lvm_report import names_in_help, parse_json, parse_named

ROW = '{"report": [{"lv": [{"lv_name": "thinpool", "lv_size": "4"}]}]}'
NAMED = "  LVM2_LV_NAME='thinpool' LVM2_LV_SIZE='4'\n"
FIELDS = ("lv_name", "lv_size")


def test_values_of_json_std_become_the_text_of_json() -> None:
    """Numbers, null, lists and truth values are printed bare by some versions."""
    text = """{"report": [{"lv": [{"lv_name": null, "lv_size": 4194304, "data_percent": 0.25,
    "lv_role": ["private", "thin"], "lv_suspended": true, "lv_tags": []}]}], "log": [1]}"""

    (row,) = parse_json(text, source="lvs")

    assert row == {
        "lv_name": "",
        "lv_size": "4194304",
        "data_percent": "0.25",
        "lv_role": "private,thin",
        "lv_suspended": "1",
        "lv_tags": "",
    }


@pytest.mark.parametrize(
    "text",
    [
        f"  WARNING: lvmetad is being updated, retrying\n{ROW}\n",
        f"{ROW}\n  1 logical volume(s) {{so far}} is no report\n".replace("{so far}", ""),
        f'  {ROW[:-1]}, "log": []}}\n',
    ],
)
def test_lines_around_the_report_are_none_of_it(text: str) -> None:
    """Older LVM prints some of its warnings to where the report goes."""
    assert [row["lv_name"] for row in parse_json(text, source="lvs")] == ["thinpool"]


def test_a_backslash_that_lvm_did_not_escape() -> None:
    r"""Device-mapper writes a space in a name as \x20; LVM escapes quotes alone."""
    text = r'{"report": [{"pv": [{"pv_name": "/dev/mapper/my\x20disk \"1\""}]}]}'

    (row,) = parse_json(text, source="pvs")

    assert row["pv_name"] == r'/dev/mapper/my\x20disk "1"'


def test_reads_values_by_the_names_before_them() -> None:
    """In whatever order; what is no row is a message."""
    lines = f"  WARNING: 'locking' is 0\n{NAMED}\n  LVM2_LV_SIZE='' LVM2_LV_NAME='[a_tdata]'\n"

    rows, problems = parse_named(lines, FIELDS, source="lvs")

    assert rows == [
        {"lv_name": "thinpool", "lv_size": "4"},
        {"lv_name": "[a_tdata]", "lv_size": ""},
    ]
    assert problems == []


def test_a_field_may_be_printed_by_its_other_name() -> None:
    """LVM 2.02.133 has `chunksize` and `chunk_size`, and goes by no underscores itself."""
    lines = "  LVM2_LV_NAME='a' LVM2_LVSIZE='4'\n"

    assert parse_named(lines, FIELDS, source="lvs") == ([{"lv_name": "a", "lv_size": "4"}], [])


@pytest.mark.parametrize("value", ["it's", "a b", "a=b", "'", "LVM2_LV_NAME=", "x' y='z"])
def test_whatever_stands_in_a_value_is_its_own(value: str) -> None:
    """LVM quotes and escapes nothing."""
    rows, problems = parse_named(
        f"  LVM2_LV_NAME='{value}' LVM2_LV_SIZE='4'\n", FIELDS, source="lvs"
    )

    assert [row["lv_name"] for row in rows] == [value]
    assert problems == []


@pytest.mark.parametrize(
    "line",
    [
        "LVM2_LV_NAME='a' LVM2_LV_SIZE='1' LVM2_LV_NAME='b' LVM2_LV_SIZE='2'",
        "LVM2_LV_NAME='a' LVM2_LV_SIZE='1' LVM2_OTHER='b'",
        "LVM2_LV_NAME='a'",
        "LVM2_LV_NAME='a' LVM2_LV_SIZE='1",
        "LVM2_LV_NAME=a LVM2_LV_SIZE=1",
        "LVM2_",
    ],
)
def test_a_row_that_is_not_clear_is_a_problem(line: str) -> None:
    """A field twice, too many, missing or cut off: nothing of it is taken."""
    rows, problems = parse_named(f"{line}\n{NAMED}", FIELDS, source="lvs")

    assert len(rows) == 1
    assert [problem.subject for problem in problems] == ["lvs"]


@pytest.mark.parametrize("text", ["", "{", '{"report": [{"lv": [{"a": {}}]}]}', "}{"])
def test_what_is_no_report_is_an_error(text: str) -> None:
    """One error that names the command."""
    with pytest.raises(ParseError, match="lvs"):
        parse_json(text, source="lvs")


def test_fields_are_found_in_help() -> None:
    """Headings, rules and what is told of a field are none."""
    text = """
  Logical Volume Fields
  ---------------------
    lv_all                 - All fields in this section.
    lv_size                - Size of LV - in current units.

  Unrecognised field: foo
"""
    assert names_in_help(text) == {"lv_all", "lv_size"}
