"""What holds of every alert: it ends only when mended, and at every scrape interval it fires.

When the host dies while it is paged for, somebody is still paged.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs import Edition
from tests.rules.case import Case
from tests.rules.cases import CASES
from tests.rules.healthy import Curve, Names, timeline
from tests.rules.more_cases import MORE
from tests.rules.promtool import expect, hold, selector
from tests.rules.test_alerts import NAMES, firing, labels_of

HOURS = 60
# What differs between the versions of Prometheus, test_alerts.py shows.
ONE = (Edition.INSTALLED,)
ALL = [*CASES, *MORE]
PAGES = [case for case in ALL if case.severity == "critical"]
# These tell that something changes, or is about to: they end with that.
OF_CHANGE = {
    *("ThinPoolDataFillingUp", "ThinPoolMetadataFillingUp", "ThinPoolLoopBackingFillingUp"),
    *("ThinPoolFillingFast", "ThinPoolGuardImpaired"),
    "ThinPoolFiguresLost",  # of what is gone nothing is left after a day
}
STANDING = [
    case
    for case in ALL
    if case.alert not in OF_CHANGE and not any(isinstance(v, Curve) for v in case.bad.values())
]
# A growing pool is full within the day.
GROWING = {"thinpool_data_used_bytes"}


@pytest.mark.parametrize(
    "case",
    [case for case in STANDING if not (case.before == 65 and GROWING & set(case.bad))],
    ids=lambda case: case.id,
)
def test_ends_only_when_it_is_mended(case: Case, tmp_path: Path) -> None:
    """A day and a half later nothing is better, and it still fires."""
    lasts, every = 36 * HOURS, 30
    begins = -(-case.before // every) * every
    series = timeline(NAMES, (begins, {}), (lasts, case.bad), always=case.always)
    first = begins + -(-case.fires // every) * every + 4 * every
    minutes = (*range(first, begins + lasts, 4 * HOURS), begins + lasts - every)
    hold(
        tmp_path,
        series,
        *(firing(case, minute, is_firing=True) for minute in minutes),
        every=every,
        editions=ONE,
    )


@pytest.mark.parametrize("case", PAGES, ids=lambda case: case.id)
def test_a_page_does_not_end_with_the_host(case: Case, tmp_path: Path) -> None:
    """Its figures are gone two minutes after it has fired; at each minute there is a page."""
    if case.of != "pool" and case.alert != "ThinPoolGuardStale":
        pytest.skip("not about one host")
    every = max(2, case.step)
    fires = (-(-(case.before + case.fires) // every) + 1) * every
    dies = fires + 2 * every
    ends = dies + 2 * HOURS
    lost = dict.fromkeys(range(dies, ends), "stale")
    series = timeline(
        NAMES,
        (case.before, {}),
        (ends - case.before, case.bad),
        always=case.always,
        missed=lost,
    )
    own = {"alertstate": "firing", "severity": "critical", "instance": NAMES.instance}
    paging = f"count({selector('ALERTS', own)}) > bool 0"
    hold(
        tmp_path,
        series,
        *(expect(minute, paging, ("{}", 1)) for minute in range(fires, ends, every)),
        every=every,
        editions=ONE,
    )


@pytest.mark.parametrize("seconds", [15, 30, 120])
@pytest.mark.parametrize(
    "case", [case for case in ALL if case.before < 6 * HOURS], ids=lambda case: case.id
)
def test_fires_at_every_scrape_interval(case: Case, seconds: int, tmp_path: Path) -> None:
    """As soon as at one minute, or a few samples later; and it does not flap."""
    lasts = 30
    series = timeline(
        NAMES, (case.before, {}), (case.fires + lasts, case.bad), always=case.always
    )
    every = 2
    fires = case.before + case.fires + 4 * seconds // 60 + every
    fires += fires % every
    hold(
        tmp_path,
        series,
        firing(case, case.before // every * every - every, is_firing=False),
        *(
            firing(case, minute, is_firing=True)
            for minute in range(fires, case.before + case.fires + lasts - 1, every)
        ),
        every=every,
        scrape_seconds=seconds,
        editions=ONE,
    )


def test_a_host_that_comes_back_well_ends_the_page(tmp_path: Path) -> None:
    """It was full and died; after its reboot it is scraped again, and has space."""
    (case,) = (case for case in CASES if case.alert == "ThinPoolOutOfDataSpace")
    lost = dict.fromkeys(range(20, 80), "stale")
    series = timeline(Names(), (10, {}), (15, case.bad), (80, {}), missed=lost)
    page = labels_of(case)
    lost_page = {key: page[key] for key in ("severity", "instance", "job")}
    own = {"alertname": "ThinPoolHostLost", "alertstate": "firing"}
    hold(
        tmp_path,
        series,
        expect(60, selector("ALERTS", own), (selector("ALERTS", {**own, **lost_page}), 1)),
        expect(90, 'ALERTS{alertstate="firing",severity="critical"}'),
    )
