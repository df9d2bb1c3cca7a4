"""What is no cause for an alert: a day of hosts that are well, and what looks like trouble."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.rules.healthy import GIB, HOST, POOL, Curve, Names, Ramp, Value, timeline
from tests.rules.promtool import Series, expect, hold

DAY = 24 * 60
LOW, HIGH = 100 * GIB, 155 * GIB
BELOW = 'thinpool_guard_state{reason="below_threshold"}'
Host = tuple[Mapping[str, Value], Mapping[int, str]]


def never(directory: Path, series: Series, minutes: int, *, every: int = 1) -> None:
    """Expect no alert at all to have fired."""
    fired = f'count_over_time(ALERTS{{alertstate="firing"}}[{minutes}m])'
    hold(directory, series, expect(minutes - 1, fired), every=every)


def curve(at: Callable[[int], float | None], minutes: int = DAY) -> Curve:
    """Draw a curve over a day."""
    return Curve([at(minute) for minute in range(minutes)])


def filled_by_day(minute: int) -> float:
    """Use in a day: filled for ten hours, pruned, and so again."""
    return LOW + (HIGH - LOW) * (minute % 720) / 600 if minute % 720 < 600 else LOW


def extended(minute: int) -> float:
    """Size of a pool that is extended by 40 GiB twice a day."""
    return (200 + 40 * (minute // 500)) * GIB


def busy() -> Host:
    """Make a guarded host that fills, is extended, pruned, upgraded and started again."""
    upgrade = {600: "stale", 601: "stale", 602: "stale", 900: "_", 1200: "stale"}
    size = curve(extended)
    changes: dict[str, Value] = {
        "thinpool_data_size_bytes": size,
        "thinpool_data_used_bytes": curve(filled_by_day),
        "thinpool_metadata_used_bytes": curve(lambda minute: (1 + minute % 300 / 200) * GIB),
        # The guard looked away for the length of its start, and counts from 0 again.
        'thinpool_guard_extend_failures_total{device="data",reason="stuck"}': curve(
            lambda minute: 1 if minute < 603 else 0
        ),
        "thinpool_vg_allocatable_bytes": curve(lambda minute: 500 * GIB - extended(minute)),
        # A scrape hit the moment of an extension.
        "thinpool_guard_responsible": curve(lambda minute: float(minute not in {500, 1000})),
        'thinpool_mode{mode="out_of_data_space"}': curve(lambda minute: float(minute == 500)),
        'thinpool_mode{mode="ro"}': curve(lambda minute: float(minute == 1000)),
        # Docker and the readings of LVM have a bad moment.
        "thinpool_docker_up": curve(lambda minute: float(not 700 <= minute < 704)),
        'thinpool_collector_success{collector="lvm"}': curve(
            lambda minute: float(not 800 <= minute < 810)
        ),
    }
    return changes, upgrade


def left_to_dmeventd() -> Host:
    """Make a host that dmeventd protects, with the guard behind it, and without Docker."""
    return {
        "thinpool_dmeventd_up": 1,
        "thinpool_monitored": 1,
        "thinpool_guard_responsible": 0,
        BELOW: None,
        'thinpool_guard_state{reason="dmeventd_monitors"}': 1,
        "thinpool_docker_up": 0,
        'thinpool_docker_info{storage_driver="overlay2"}': None,
    }, {}


def as_docker_teaches() -> Host:
    """Make a host of Docker's own layout: 95 % of the group is the pool's; nightly builds."""
    return {
        "thinpool_data_used_bytes": curve(
            lambda minute: (40 + 50 * max(0, minute - 60) / 120 * (minute < 180)) * GIB
        ),
        "thinpool_vg_allocatable_bytes": 6 * GIB,
        'thinpool_next_extend_possible_bytes{device="data"}': 6 * GIB,
    }, {}


def covered() -> Host:
    """Make a host whose volumes promise no more than the pool has, in a group without room."""
    return {
        "thinpool_virtual_size_bytes": 200 * GIB,
        "thinpool_data_used_bytes": 188 * GIB,
        "thinpool_vg_allocatable_bytes": 0,
        'thinpool_next_extend_possible_bytes{device="data"}': 0,
        "thinpool_guard_responsible": 0,
        'thinpool_next_extend_possible_bytes{device="metadata"}': 0,
    }, {}


def kept_in_reserve() -> Host:
    """Make a host where a step fits although much of the group is kept back."""
    return {
        "thinpool_data_used_bytes": 120 * GIB,
        "thinpool_vg_allocatable_bytes": 90 * GIB,
    }, {}


def not_watched() -> Host:
    """Make a host that `collect` describes every five minutes, with dmeventd alive."""
    guardless: dict[str, Value] = {
        name: None for name in (*POOL, *HOST) if "_guard_" in name or "_next_" in name
    }
    return {
        **guardless,
        "thinpool_dmeventd_up": 1,
        "thinpool_monitored": 1,
        "thinpool_exporter_snapshot_success": None,
        "thinpool_exporter_snapshot_timestamp_seconds": curve(
            lambda minute: minute // 5 * 300.0
        ),
    }, {}


def builds_and_prunes() -> Host:
    """Make a host that fills to 79 % in five hours, and is pruned, from its first day on."""
    return {
        "thinpool_data_used_bytes": curve(
            lambda m: (40 + 118 * (m % 720) / 300 * (m % 720 < 300)) * GIB
        ),
        "thinpool_vg_allocatable_bytes": 110 * GIB,
    }, {}


def thick() -> Host:
    """Make a host whose volumes fit, and are full."""
    return {
        "thinpool_virtual_size_bytes": 199 * GIB,
        "thinpool_data_used_bytes": 198.5 * GIB,
        "thinpool_vg_allocatable_bytes": 0,
        'thinpool_next_extend_possible_bytes{device="data"}': 0,
    }, {}


def without_pools() -> Host:
    """Make a host without any pool, whose guard is stopped for some hours."""
    return {
        **dict.fromkeys(POOL),
        "thinpool_guard_last_cycle_timestamp_seconds": curve(
            lambda m: 60 * (300 if 300 <= m < 600 else m)
        ),
        "thinpool_exporter_snapshot_timestamp_seconds": curve(
            lambda m: 60 * (300 if 300 <= m < 600 else m)
        ),
    }, {}


HOSTS = (
    *(busy, left_to_dmeventd, as_docker_teaches, covered, kept_in_reserve, not_watched),
    *(builds_and_prunes, thick, without_pools),
)


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.__name__)
def test_a_healthy_host_raises_nothing_in_a_day(
    host: Callable[[], Host], tmp_path: Path
) -> None:
    """Filling and pruning, extensions, restarts, upgrades and bad moments included."""
    changes, missed = host()
    series = timeline(Names(), (DAY, {}), always=changes, missed=missed)
    # Each minute only where a minute matters: a day of them takes long.
    never(tmp_path, series, DAY, every=2 if host is busy else 5)


def test_a_healthy_fleet_raises_nothing_in_a_day(tmp_path: Path) -> None:
    """Seven hosts, of which one after the other is started again and takes its time."""
    series: dict[str, list[str]] = {}
    for number in range(7):
        down = range(200 * number, 200 * number + 9)
        host = timeline(
            Names(instance=f"host{number}:10128"),
            (DAY, {}),
            missed=dict.fromkeys(down, "stale"),
        )
        series |= host
    never(tmp_path, series, DAY, every=5)


@pytest.mark.parametrize("lasts", [150, 180])
def test_a_backup_that_has_been_written_is_no_trend(lasts: int, tmp_path: Path) -> None:
    """It is a little larger than the one of the night before, and is kept for hours."""

    def used(minute: int) -> float:
        night, gain = minute % DAY - 540, 50 + 4 * (minute // DAY)
        written = min(max(0, night), lasts) / lasts
        return (60 + gain * written * (night < 480)) * GIB

    changes: Mapping[str, Value] = {
        "thinpool_data_used_bytes": curve(used, 2 * DAY),
        "thinpool_vg_allocatable_bytes": 40 * GIB,
    }
    never(tmp_path, timeline(Names(), (2 * DAY, {}), always=changes), 2 * DAY, every=5)


UNALARMING: dict[str, tuple[Mapping[str, Value], int]] = {
    # A third of the pool within ten minutes, at a rate that would fill it within the hour.
    "one_pull_of_images": (
        {"thinpool_data_used_bytes": curve(lambda m: (100 + min(m, 10) * 6) * GIB, 120)},
        120,
    ),
    # It is above its threshold all the time, and extended every four minutes.
    "a_burst_that_is_kept_up_with": (
        {
            "thinpool_data_used_bytes": curve(lambda m: (202 + m // 4 * 10) * GIB, 40),
            "thinpool_data_size_bytes": curve(lambda m: (210 + m // 4 * 10) * GIB, 40),
            "thinpool_vg_allocatable_bytes": 4000 * GIB,
        },
        40,
    ),
    # fstrim gives back what half an hour has written.
    "a_trim": (
        {"thinpool_data_used_bytes": curve(lambda m: (100 + m % 30 * 0.8) * GIB, 240)},
        240,
    ),
    # A clock that is an hour behind.
    "a_clock_that_is_wrong": (
        {
            "thinpool_guard_last_cycle_timestamp_seconds": Ramp(-3600, 60),
            "thinpool_exporter_snapshot_timestamp_seconds": Ramp(-3600, 60),
        },
        60,
    ),
    "no_pool_at_all": (
        {**dict.fromkeys(POOL), 'thinpool_collector_success{collector="lvm"}': 0},
        60,
    ),
    "a_pool_that_is_not_active": (
        {
            "thinpool_guard_responsible": 0,
            **{name: None for name in POOL if "_size_" in name or "_used_" in name},
        },
        60,
    ),
}


@pytest.mark.parametrize("name", UNALARMING)
def test_what_looks_like_trouble_is_none(name: str, tmp_path: Path) -> None:
    """For as long as it lasts."""
    changes, minutes = UNALARMING[name]
    never(tmp_path, timeline(Names(), (65, {}), (minutes, changes)), 65 + minutes)


@pytest.mark.parametrize("sample", ["stale", "_"])
def test_scrapes_that_are_lost_do_not_stop_the_guard(sample: str, tmp_path: Path) -> None:
    """Of three minutes one sample is left: whether its time moves cannot be said."""
    series = timeline(Names(), (60, {}), missed=dict.fromkeys((20, 21, 22), sample))
    never(tmp_path, series, 60)


def test_a_new_pool_is_given_time(tmp_path: Path) -> None:
    """A host that has just begun to fill its pool with images has no trend yet."""
    changes: Mapping[str, Value] = {
        "thinpool_data_used_bytes": curve(lambda m: min(m * 5, 90) * GIB, 120)
    }
    never(tmp_path, timeline(Names(), (120, {}), always=changes), 120)


def test_a_burst_that_nobody_keeps_up_with_does_page(tmp_path: Path) -> None:
    """The same use as that of the burst above, once the size stands still."""
    size = curve(lambda m: (200 + min(m, 16) // 4 * 10) * GIB, 40)
    used = curve(lambda m: (192 + min(m, 16) // 4 * 10) * GIB, 40)
    changes: Mapping[str, Value] = {
        "thinpool_data_size_bytes": size,
        "thinpool_data_used_bytes": used,
    }
    labels = 'device="data",instance="host:10128",job="thinpool",pool="thinpool",vg="docker"'
    page = f'alertname="ThinPoolAboveThreshold",severity="critical",{labels}'
    query = 'ALERTS{alertname="ThinPoolAboveThreshold",severity="critical",alertstate="firing"}'
    hold(
        tmp_path,
        timeline(Names(), (65, {}), (40, changes)),
        expect(65 + 16, query),
        expect(65 + 25, query, (f'ALERTS{{alertstate="firing",{page}}}', 1)),
    )
