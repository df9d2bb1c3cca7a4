"""`check --output=plugin` and `json`: what monitoring systems and programs read."""

from __future__ import annotations

import io
import json
import re

import pytest
from msgspec.structs import replace

from exporter.bulkhead import Bulkheads
from exporter.model import Device, Snapshot
from exporter.report import Output, Report, print_failure, print_report
from exporter.report.machine import JsonFinding, JsonPool, JsonReport, JsonStep, JsonUsage
from exporter.simulation import ManualClock
from tests.factories import make_kernel_pool, make_pool, make_snapshot, make_status
from tests.fakes import FakeLog
from tests.golden.snapshots import SNAPSHOTS

# Monitoring Plugins' guidelines: 'label'=value[UOM];[warn];[crit];[min];[max]
FIGURE = re.compile(r"'((?:[^'=]|'')+)'=(U|[0-9]+\.[0-9]{2}%);([0-9]*);([0-9]+);0;100")


def report_of(snapshot: Snapshot) -> Report:
    """Report on a host without a guard."""
    return Report.of(snapshot, None, Bulkheads(FakeLog(), ManualClock()))


def printed(report: Report, output: Output) -> str:
    """Print a report."""
    stream = io.StringIO()
    print_report(report, stream, output)
    return stream.getvalue()


def figures(line: str) -> dict[str, tuple[str, str, str]]:
    """Read the performance data: value, warning and critical by label."""
    _, pipe, text = line.rstrip("\n").partition(" | ")
    found = FIGURE.findall(text)
    assert " ".join(match[0] for match in FIGURE.finditer(text)) == text
    assert bool(pipe) is bool(found)
    return {label: (value, warn, critical) for label, value, warn, critical in found}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_plugin_prints_one_line(name: str) -> None:
    """In ASCII, with one pipe, and two figures of each pool that a parser takes."""
    report = report_of(SNAPSHOTS[name]())
    line = printed(report, Output.PLUGIN)

    assert line.startswith(f"THINPOOL {report.severity.name} - ")
    assert line.count("\n") == 1
    assert line.isascii()
    assert line.count("|") == bool(report.pools)
    assert len(figures(line)) == 2 * len({pool.name for pool in report.pools})


def test_figures_have_the_thresholds_in_force() -> None:
    """A warning above LVM's threshold, and no value of what is not known."""
    pool = make_pool(effective_threshold_percent=100, metadata_threshold_percent=70)
    unknown = make_pool(name="mute", lvm=None, kernel=None)
    found = figures(printed(report_of(make_snapshot(pools=(pool, unknown))), Output.PLUGIN))

    assert found == {
        "docker/thinpool data": ("0.10%", "", "95"),
        "docker/thinpool metadata": ("0.03%", "70", "95"),
        "docker/mute data": ("U", "80", "95"),
        "docker/mute metadata": ("U", "80", "95"),
    }


@pytest.mark.parametrize(
    ("name", "label"), [("it's", "it''s"), ("a=b", "a\\x3db"), ("a|b\nc", "a\\x7cb\\x0ac")]
)
def test_any_name_is_a_label(name: str, label: str) -> None:
    """A quote is doubled; what a label or the line may not hold is escaped."""
    line = printed(report_of(make_snapshot(pools=(make_pool(name=name),))), Output.PLUGIN)

    assert set(figures(line)) == {f"docker/{label} data", f"docker/{label} metadata"}


def test_the_line_says_how_old_it_is_and_whether_it_is_real() -> None:
    """It may be a guard's account."""
    report = report_of(make_snapshot(is_simulated=True))
    line = printed(replace(report, published_seconds_ago=2.4), Output.PLUGIN)

    assert " (from the guard's Snapshot, 2 s old) (simulated host) | " in line


def test_json_keeps_its_keys() -> None:
    """README.md lists them; programs rely on them."""
    assert [kind.__struct_fields__ for kind in (JsonReport, JsonPool, JsonUsage)] == [
        (
            *("format", "status", "exit_status", "summary", "is_simulated"),
            *("taken_at", "published_seconds_ago", "pools", "host"),
        ),
        (
            *("vg", "pool", "status", "summary", "mode", "protection"),
            *("data", "metadata", "remedy", "findings"),
        ),
        ("used_bytes", "size_bytes", "threshold_percent"),
    ]
    assert JsonFinding.__struct_fields__ == ("status", "text", "remedy")
    assert JsonStep.__struct_fields__ == ("text", "is_command")


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_json_holds_the_report(name: str) -> None:
    """The same states and texts as the text."""
    report = report_of(SNAPSHOTS[name]())
    text = printed(report, Output.JSON)
    read = json.loads(text)

    assert text.count("\n") == 1
    assert (read["exit_status"], read["summary"]) == (report.exit_status, report.summary)
    assert [pool["summary"] for pool in read["pools"]] == [each.brief for each in report.pools]
    for pool, ours in zip(read["pools"], report.pools, strict=True):
        usage = ours.case.usage(Device.DATA)
        assert (pool["data"] or {}).get("used_bytes") == (usage.used_bytes if usage else None)
        assert len(pool["findings"]) == len(ours.findings)


def test_json_tells_commands_from_what_explains_them() -> None:
    """A program shows the one and offers the other."""
    status = make_status(needs_check=True)
    pool = make_pool(kernel=make_kernel_pool(status=status))
    read = json.loads(printed(report_of(make_snapshot(pools=(pool,))), Output.JSON))
    steps = read["pools"][0]["findings"][0]["remedy"]

    assert {"text": "lvconvert --repair docker/thinpool", "is_command": True} in steps
    assert any(not step["is_command"] for step in steps)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (Output.TEXT, "THINPOOL UNKNOWN - no \\xe9 \\x7c such file\n"),
        (Output.PLUGIN, "THINPOOL UNKNOWN - no \\xe9 \\x7c such file\n"),
    ],
)
def test_a_failure_is_one_line(output: Output, expected: str) -> None:
    """Whatever it says."""
    stream = io.StringIO()
    print_failure("no é |\nsuch file", stream, output)

    assert stream.getvalue() == expected


def test_a_failure_is_json_where_json_is_read() -> None:
    """With the keys of a report."""
    stream = io.StringIO()
    print_failure("no such file", stream, Output.JSON)
    read = json.loads(stream.getvalue())

    assert (read["status"], read["exit_status"]) == ("UNKNOWN", 3)
    assert (read["summary"], read["pools"]) == ("no such file", [])
