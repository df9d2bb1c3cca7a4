"""Alerts of a pool that fills name who fills it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rules.case import Case
from tests.rules.cases import CASES
from tests.rules.healthy import GIB, Names, Ramp, Value, timeline
from tests.rules.promtool import got
from tests.rules.test_annotations import HOSTILE, PLAIN

SHOP = 'thinpool_volume_mapped_bytes{volume="docker-253:0-131-5e5e",container="shop"}'
DATA = 'thinpool_volume_mapped_bytes{volume="data",container=""}'
NAMING = {
    "ThinPoolOutOfDataSpace",
    "ThinPoolDataFillingUp",
    "ThinPoolAboveThreshold",
    "ThinPoolNextExtensionImpossible",
}
SLOW, FAST = Ramp(40 * GIB, 0.05 * GIB), Ramp(GIB, 0.1 * GIB)
LONG = 70  # minutes: an hour and more, so that the gain is that of an hour


def named(alert: str) -> list[Case]:
    """Find the cases of an alert that are about data."""
    return [
        case
        for case in CASES
        if case.alert == alert and case.labels.get("device", "data") == "data"
    ]


@pytest.mark.parametrize(
    ("case", "names"),
    [
        (case, names)
        for alert in sorted(NAMING)
        for case in named(alert)
        for names in (PLAIN, HOSTILE)
    ],
    ids=lambda value: value.id if isinstance(value, Case) else value.vg,
)
def test_names_the_container_that_grows_fastest(
    case: Case, names: Names, tmp_path: Path
) -> None:
    """Though another volume is far larger."""
    before = max(case.before, LONG)
    series = timeline(
        names,
        (before, {}),
        (case.fires + 1, case.bad),
        always={**case.always, SHOP: FAST, DATA: SLOW},
    )
    said = got(
        tmp_path, series, case.alert, case.severity, before + case.fires, every=case.step
    )
    assert " The most was written by container shop: 6GiB in the last hour. First: " in said


FULL = next(case for case in CASES if case.alert == "ThinPoolOutOfDataSpace")
IDLE: dict[str, Value] = {SHOP: GIB, DATA: 40 * GIB}


def of(case: Case, directory: Path, **always: Value) -> str:
    """Return what a case's page says after an hour."""
    before = max(case.before, LONG)
    series = timeline(
        PLAIN, (before, {}), (case.fires + 1, case.bad), always={**case.always, **always}
    )
    return got(directory, series, case.alert, case.severity, before + case.fires)


def test_names_a_volume_that_is_no_containers(tmp_path: Path) -> None:
    """By the LV."""
    said = of(FULL, tmp_path, **{DATA: FAST})

    assert " The most was written by volume data: 6GiB in the last hour." in said


@pytest.mark.parametrize("always", [IDLE, {}], ids=["idle", "not collected"])
def test_names_nobody_where_nobody_grows(always: dict[str, Value], tmp_path: Path) -> None:
    """What fills the pool may have ended, or may not be among those that are exported."""
    assert "was written by" not in of(FULL, tmp_path, **always)


METADATA = next(
    case
    for case in CASES
    if case.alert == "ThinPoolAboveThreshold" and case.labels == {"device": "metadata"}
)


def test_who_grows_is_not_what_fills_metadata(tmp_path: Path) -> None:
    """Snapshots and small writes do; the largest gain of data says nothing of it."""
    assert "was written by" not in of(METADATA, tmp_path, **{SHOP: FAST})
