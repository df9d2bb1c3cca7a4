"""Each alert fires, is silent just below, outlives a missed scrape, and ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rules.case import Case
from tests.rules.cases import CASES
from tests.rules.healthy import Names, timeline
from tests.rules.more_cases import MORE
from tests.rules.promtool import Test, expect, hold, selector

NAMES = Names()
LASTS = 15  # minutes for which it goes on after it fires


def labels_of(case: Case, names: Names = NAMES) -> dict[str, str]:
    """Give the labels that the alert must have, and no other."""
    own = {"host": names.of_host, "vg": names.of_vg, "pool": names.of_pool}[case.of]
    return {"alertname": case.alert, "severity": case.severity, **own, **case.labels}


def firing(case: Case, minute: int, *, is_firing: bool) -> Test:
    """Expect the alert, exactly with its labels, or expect it not."""
    own = {"alertname": case.alert, "severity": case.severity, "alertstate": "firing"}
    series = selector("ALERTS", {"alertstate": "firing", **labels_of(case)})
    return expect(minute, selector("ALERTS", own), *[(series, 1)] * is_firing)


@pytest.mark.parametrize("case", [*CASES, *MORE], ids=lambda case: case.id)
def test_fires_outlives_missed_scrapes_and_ends(case: Case, tmp_path: Path) -> None:
    """In this order; a scrape that fails leaves a marker, one not made leaves nothing."""
    hold_through(case, tmp_path, "stale", "_")


# These compare the samples of a few minutes.
COMPARING = {"ThinPoolAboveThreshold", "ThinPoolGuardErrors", "ThinPoolGuardStale"}


@pytest.mark.parametrize(
    "case",
    [case for case in (*CASES, *MORE) if case.alert in COMPARING],
    ids=lambda case: case.id,
)
def test_scrapes_need_not_be_at_the_time_of_evaluations(case: Case, tmp_path: Path) -> None:
    """In a real Prometheus they never are, and a range then holds one sample fewer."""
    hold_through(case, tmp_path, "stale", is_between=True)


def hold_through(case: Case, directory: Path, *gaps: str, is_between: bool = False) -> None:
    """Expect an alert to fire, to go on through gaps between scrapes, and to end."""
    begins = case.before
    fires = begins + case.fires
    missed = {fires + number * case.step: gap for number, gap in enumerate(gaps, 1)}
    ends = fires + LASTS
    series = timeline(
        NAMES,
        (case.before, {}),
        (case.fires + LASTS, case.bad),
        (case.ends + 2, case.recovered),
        always=case.always,
        missed=missed if case.outlives_missed else {},
    )
    hold(
        directory,
        series,
        firing(case, begins - 1, is_firing=False),
        firing(case, begins + case.quiet, is_firing=False),
        *(firing(case, minute, is_firing=True) for minute in range(fires, ends, case.step)),
        firing(case, ends + case.ends, is_firing=False),
        every=case.step,
        is_between=is_between,
    )


@pytest.mark.parametrize("case", [*CASES, *MORE], ids=lambda case: case.id)
def test_is_silent_just_below(case: Case, tmp_path: Path) -> None:
    """At no minute of as long a time."""
    minutes = case.before + case.fires + LASTS
    series = timeline(
        NAMES, (case.before, {}), (case.fires + LASTS, case.enough), always=case.always
    )
    own = {"alertname": case.alert, "severity": case.severity, "alertstate": "firing"}
    hold(
        tmp_path,
        series,
        expect(minutes - 1, f"count_over_time({selector('ALERTS', own)}[{minutes}m])"),
        every=case.step,
    )
