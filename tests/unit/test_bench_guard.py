"""The arithmetic of the guard's benchmarks."""

from __future__ import annotations

import json

import pytest

from tests.bench.guard.fio import Job, argv_fio, parse_report
from tests.bench.guard.growth import size_by_policy, steps_apart
from tests.bench.guard.search import RateSearch
from tests.bench.guard.table import Row, table


def searched(search: RateSearch, limit: float) -> RateSearch:
    """Let every rate up to a limit pass."""
    while (rate := search.next_rate) is not None:
        search.note(passed=rate <= limit)
    return search


@pytest.mark.parametrize("limit", [30.0, 120.0, 199.0, 570.0])
def test_the_search_ends_within_its_resolution_below_the_limit(limit: float) -> None:
    """What it answers passes, and a little more would not."""
    search = searched(RateSearch(25.0, 600.0, resolution=1.15), limit)

    assert search.highest is not None
    assert search.highest <= limit < search.highest * 1.15


def test_the_device_s_own_speed_is_tried_first() -> None:
    """One side may need only the trials that confirm it."""
    search = searched(RateSearch(25.0, 600.0, confirmations=3), 1000.0)

    assert search.highest == 600.0
    assert search.trials == 3


def test_where_nothing_passes_there_is_no_answer() -> None:
    """And the search ends all the same."""
    search = searched(RateSearch(25.0, 600.0, resolution=1.15), 0.0)

    assert search.highest is None
    assert search.lowest_failed is not None
    assert search.lowest_failed <= 25.0 * 1.15


def test_a_rate_that_passes_only_once_has_not_passed() -> None:
    """The second trial counts as much as the first."""
    search = RateSearch(25.0, 600.0, confirmations=2)
    search.note(passed=True)
    assert search.next_rate == 600.0

    search.note(passed=False)

    assert search.lowest_failed == 600.0
    assert search.highest is None


def fio_report(*, error: int = 0) -> str:
    """Print as fio 3.33 does, as far as it is read; a failing write comes with a message."""
    written = {
        "io_bytes": 3 * 1024**3,
        "runtime": 6000,
        "lat_ns": {"min": 780797, "max": 36785553, "mean": 5695358.6},
    }
    text = json.dumps({"fio version": "fio-3.33", "jobs": [{"error": error, "write": written}]})
    return f"fio: io_u error on file /dev/docker/volume: Input/output error\n{text}\n"


def test_a_report_gives_throughput_and_longest_wait() -> None:
    """In the units that the figures have."""
    written = parse_report(fio_report())

    assert written.mib_per_second == 512
    assert written.longest_wait_seconds == pytest.approx(0.0368, abs=1e-4)
    assert not written.has_failed


def test_an_error_of_one_write_is_a_failure() -> None:
    """ENOSPC comes as 28, EIO as 5."""
    assert parse_report(fio_report(error=28)).has_failed


def test_fractions_of_a_rate_are_kept() -> None:
    """Whole MiBs would be too coarse at the low end of the search."""
    argv = argv_fio(Job(device="/dev/docker/volume", mib=100, rate_mib=25.5))

    assert "--rate=26112k" in argv


@pytest.mark.parametrize(
    ("used", "size"),
    [(100, 125), (101, 150), (120, 150), (121, 180), (155, 216)],
)
def test_the_policy_s_own_steps(used: int, size: int) -> None:
    """500 MiB in extents of 4 MiB, 80/20: 125, 150, 180, 216 extents."""
    assert size_by_policy(125, used, threshold=80, percent=20) == size


def test_steps_are_counted_in_those_of_the_policy() -> None:
    """One step more of 180 extents is 36."""
    assert steps_apart(216, 180, percent=20) == 1
    assert steps_apart(150, 180, percent=20) == pytest.approx(-30 / 36)


def test_the_table_says_whether_the_goal_is_met() -> None:
    """As Markdown, so that it can be kept."""
    rows = [
        Row(figure="f", goal="g", ours="1", theirs="2", is_met=True),
        Row(figure="h", goal="i", ours="3", is_met=False),
    ]

    assert table(rows).splitlines() == [
        "| figure | goal | ours | dmeventd | verdict |",
        "| --- | --- | --- | --- | --- |",
        "| f | g | 1 | 2 | met |",
        "| h | i | 3 | – | MISSED |",
    ]
