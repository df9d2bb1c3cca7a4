"""What somebody is told when the guard of a host dies, and its last Snapshot is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rules.healthy import HOST, POOL, Names, Value, timeline
from tests.rules.month import answer_before_the_guard
from tests.rules.promtool import expect, hold, selector
from tests.rules.test_annotations import NOT_PROTECTED, not_protected, page

NAMES = Names()
DIES, MINUTES = 10, 30
# The pool is full, and its guard dies before it can extend it.
FULL: dict[str, Value] = {
    'thinpool_mode{mode="out_of_data_space"}': 1,
    'thinpool_mode{mode="rw"}': 0,
    'thinpool_guard_state{reason="below_threshold"}': None,
    'thinpool_guard_state{reason="extend"}': 1,
}
# What the exporter serves a minute later: see exporter.staleness.
DEAD: dict[str, Value] = {
    "thinpool_guard_last_cycle_timestamp_seconds": 600,
    "thinpool_exporter_snapshot_timestamp_seconds": 600,
    "thinpool_guard_responsible": 0,
    **{
        name: None for name in POOL if name.startswith(("thinpool_guard_mode", "thinpool_mode"))
    },
    **{name: None for name in POOL if "_guard_state" in name or "_used_" in name},
    **dict.fromkeys(("thinpool_needs_check", "thinpool_monitored", "thinpool_dmeventd_up")),
    "thinpool_docker_up": None,
}


def test_no_minute_passes_without_a_page(tmp_path: Path) -> None:
    """The pool's own page ends when its state is not known any more, and not before another."""
    firing = 'count(ALERTS{alertstate="firing",severity="critical"})'
    stale = {"alertname": "ThinPoolGuardStale", "alertstate": "firing", "severity": "critical"}
    series = selector("ALERTS", {**stale, **NAMES.of_host})
    ends = DIES + MINUTES - 1
    hold(
        tmp_path,
        timeline(NAMES, (DIES, {}), (MINUTES, DEAD), always=FULL),
        *(expect(minute, f"{firing} > bool 0", ("{}", 1)) for minute in range(2, ends)),
        *(
            expect(minute, selector("ALERTS", stale), (series, 1))
            for minute in range(DIES + 4, ends)
        ),
    )


def test_the_pool_counts_as_not_protected(tmp_path: Path) -> None:
    """Whoever was to extend it: nobody has heard of either for a quarter of an hour."""
    text = not_protected("no guard watches it, and whether dmeventd monitors it is unknown")
    alive: dict[str, Value] = {"thinpool_monitored": 1, "thinpool_dmeventd_up": 1}
    hold(
        tmp_path,
        timeline(NAMES, (DIES, {}), (MINUTES, DEAD), always=alive),
        page(NOT_PROTECTED, NAMES, DIES + 17, text),
    )


REBOOTS, ANSWERS = range(11, 18), 18
# Scraped more often than once a minute, a clock that moves once a minute would stand still.
CLOCKLESS: dict[str, Value] = dict.fromkeys(name for name in HOST if "timestamp" in name)


@pytest.mark.parametrize("seconds", [15, 60, 120])
def test_a_guard_that_starts_after_the_exporter_is_not_dead(
    seconds: int, tmp_path: Path
) -> None:
    """After a boot the first minute's scrapes find nothing that a guard has published."""
    series = timeline(NAMES, (40, {}), always=CLOCKLESS, missed=dict.fromkeys(REBOOTS, "stale"))
    answer_before_the_guard(series, ANSWERS)
    fired = 'count_over_time(ALERTS{alertstate="firing"}[40m])'
    hold(tmp_path, series, expect(39, fired), scrape_seconds=seconds)


@pytest.mark.parametrize("seconds", [15, 60, 120])
def test_a_guard_that_does_not_start_after_a_boot_is_dead(seconds: int, tmp_path: Path) -> None:
    """From the third minute on that the exporter answers."""
    series = timeline(NAMES, (40, {}), always=CLOCKLESS, missed=dict.fromkeys(REBOOTS, "stale"))
    for minute in range(ANSWERS, 40):
        answer_before_the_guard(series, minute)
    stale = {"alertname": "ThinPoolGuardStale", "alertstate": "firing", "severity": "critical"}
    page = selector("ALERTS", {**stale, **NAMES.of_host})
    hold(
        tmp_path,
        series,
        expect(ANSWERS, selector("ALERTS", stale)),
        *(expect(minute, selector("ALERTS", stale), (page, 1)) for minute in range(21, 40)),
        scrape_seconds=seconds,
    )
