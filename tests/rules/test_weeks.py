"""Alerts that need days of samples: the trend of a week."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.rules.healthy import GIB, Names
from tests.rules.promtool import expect, hold_hourly, selector

NAMES = Names()
DAY_HOURS = 24
DAYS = 12
HOURS = DAYS * DAY_HOURS
MINUTES = 60
LABELS = {**NAMES.of_pool, "device": "data"}
ALERT = {"alertname": "ThinPoolFullWithinWeeks", "alertstate": "firing", "severity": "warning"}
FIRING = selector("ALERTS", {**ALERT, **LABELS})


def pool(used_gib: Callable[[int], float], **more: float) -> dict[str, list[str]]:
    """Write the series of a pool of 200 GiB that can reach 300, by the hour."""
    figures: Mapping[str, float] = {
        "thinpool_data_size_bytes": 200 * GIB,
        "thinpool_virtual_size_bytes": 500 * GIB,
        "thinpool_thin_volumes": 7,
        "thinpool_guard_responsible": 1,
        **more,
    }
    series = {
        selector(name, NAMES.of_pool): [repr(float(value))] * HOURS
        for name, value in figures.items()
    }
    used = selector("thinpool_data_used_bytes", NAMES.of_pool)
    series[used] = [repr(used_gib(hour) * GIB) for hour in range(HOURS)]
    reach = selector("thinpool_attainable_bytes", LABELS)
    series[reach] = [repr(300 * GIB)] * HOURS
    return series


def steadily(hour: int) -> float:
    """Gain 12 GiB a day: after eight days 104 GiB are left, for nine days."""
    return 100 + 0.5 * hour


def test_disks_are_ordered_in_time(tmp_path: Path) -> None:
    """After a week of growth, and half a day of being sure."""
    hold_hourly(
        tmp_path,
        pool(steadily),
        expect(7 * DAY_HOURS * MINUTES, FIRING),
        expect((8 * DAY_HOURS + 14) * MINUTES, FIRING, (FIRING, 1)),
        expect((HOURS - 1) * MINUTES, FIRING, (FIRING, 1)),
        expect(
            10 * DAY_HOURS * MINUTES,
            "thinpool:used:growth7d * 86400 / 1024 ^ 3",
            (selector("", LABELS), 12),
        ),
    )


@pytest.mark.parametrize(
    "used_gib",
    [
        lambda hour: 100 + 5 * (hour % DAY_HOURS),  # each day as the day before
        lambda hour: 100 + 0.1 * hour,  # 2.4 GiB a day: for two months
        lambda hour: 290 - 0.5 * hour,
    ],
    ids=["sawtooth", "slow", "shrinking"],
)
def test_what_leads_nowhere_soon_is_no_ticket(
    used_gib: Callable[[int], float], tmp_path: Path
) -> None:
    """At no hour of the twelve days."""
    fired = f"count_over_time({selector('ALERTS', ALERT)}[{DAYS}d])"
    hold_hourly(tmp_path, pool(used_gib), expect((HOURS - 1) * MINUTES, fired))


def test_volumes_that_fit_need_no_disk(tmp_path: Path) -> None:
    """However fast they are written full."""
    fired = f"count_over_time({selector('ALERTS', ALERT)}[{DAYS}d])"
    series = pool(steadily, thinpool_virtual_size_bytes=200 * GIB)
    hold_hourly(tmp_path, series, expect((HOURS - 1) * MINUTES, fired))
