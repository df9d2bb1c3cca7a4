"""Fleets: a rack that loses its network, and targets that are lost altogether."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from tests.rules.healthy import Names, timeline
from tests.rules.promtool import Test, expect, hold, selector

FLEET, RACK = 100, 40
BEFORE, LOST, AFTER = 20, 40, 30  # minutes
# One host of the rack had a page and a ticket of its own when it was lost.
TROUBLED = {"thinpool_needs_check": 1, "thinpool_profile_missing": 1, "thinpool_loopback": 0}


def counted(minute: int, **alerts: int) -> Test:
    """Expect so many of each alert to fire, and no other."""
    return expect(
        minute,
        'count by (alertname) (ALERTS{alertstate="firing"})',
        *((f'{{alertname="ThinPool{name}"}}', count) for name, count in alerts.items()),
    )


def test_a_lost_rack_is_one_page(tmp_path: Path) -> None:
    """Its hosts get a ticket each; what was known of them ends, and comes back with them."""
    series: dict[str, list[str]] = {}
    minutes = BEFORE + LOST + AFTER
    for number in range(FLEET):
        is_lost = number < RACK
        gaps = range(BEFORE, BEFORE + LOST) if is_lost else ()
        series |= timeline(
            Names(instance=f"host{number}:10128"),
            (minutes, {}),
            always=TROUBLED if number in {0, FLEET - 1} else {},
            missed=dict.fromkeys(gaps, "stale"),
        )
    every_host = {"NeedsCheck": 2}
    others = {"NeedsCheck": 1}  # of the host that is not of the rack
    hold(
        tmp_path,
        series,
        counted(BEFORE - 1, **every_host),
        # At 4 the last answer is exactly five minutes old: only Prometheus 2 counts it.
        counted(BEFORE + 2, **every_host),
        # Of the host that had a page already, the page goes on under another name.
        counted(BEFORE + 3, **every_host, HostLost=1),
        *(
            counted(BEFORE + minute, **others, HostLost=1, ExportersDown=1)
            for minute in (5, 7, 9)
        ),
        *(
            counted(BEFORE + minute, **others, HostLost=1, ExportersDown=1, ExporterDown=RACK)
            for minute in range(10, LOST)
        ),
        # The page goes on for five minutes, lest a network that wavers page again.
        counted(BEFORE + LOST, **every_host, ExportersDown=1),
        *(counted(BEFORE + LOST + minute, **every_host) for minute in (6, AFTER - 1)),
    )


def test_a_few_hosts_of_many_are_tickets(tmp_path: Path) -> None:
    """Ten of them, or half of a small fleet, page nobody."""
    for fleet, lost in ((100, 10), (10, 5), (1, 1)):
        series: dict[str, list[str]] = {}
        for number in range(fleet):
            gaps = range(5, 30) if number < lost else ()
            series |= timeline(
                Names(instance=f"host{number}:10128"),
                (30, {}),
                missed=dict.fromkeys(gaps, "stale"),
            )
        hold(tmp_path, series, counted(29, ExporterDown=lost))


@pytest.mark.parametrize(("fleet", "lost"), [(60, 11), (5, 3), (5, 5), (40, 9)])
def test_many_hosts_are_a_page(fleet: int, lost: int, tmp_path: Path) -> None:
    """A rack of a fleet, most of a small one, or a fifth."""
    series: dict[str, list[str]] = {}
    for number in range(fleet):
        gaps = range(5, 40) if number < lost else ()
        series |= up(f"host{number}:10128", 40, gaps)
    hold(tmp_path, series, counted(39, ExporterDown=lost, ExportersDown=1))


def test_hosts_that_reboot_in_turn_are_no_page(tmp_path: Path) -> None:
    """Each takes six minutes, and twenty are down at any time: an upgrade of a large fleet."""
    series: dict[str, list[str]] = {}
    for number in range(300):
        begins = 10 + number // 20 * 6
        series |= up(f"host{number}:10128", 110, range(begins, begins + 6))
    fired = 'count_over_time(ALERTS{alertstate="firing"}[110m])'
    hold(tmp_path, series, expect(109, fired))


def test_hosts_in_maintenance_do_not_count(tmp_path: Path) -> None:
    """They are down because somebody works on them."""
    series: dict[str, list[str]] = {}
    for number in range(20):
        gaps = range(20, 60) if number < 15 else ()
        series |= timeline(
            Names(instance=f"host{number}:10128"),
            (60, {}),
            always={"thinpool_maintenance_end_timestamp_seconds": 7200 if gaps else 0},
            missed=dict.fromkeys(gaps, "stale"),
        )
    hold(tmp_path, series, counted(50, ExporterDown=15, Maintenance=15))


def up(instance: str, minutes: int, down: Collection[int] = ()) -> dict[str, list[str]]:
    """Write a host's `up` alone."""
    labels = {"job": "thinpool", "instance": instance}
    return {selector("up", labels): [str(int(minute not in down)) for minute in range(minutes)]}


def lost_targets(fleet: int, lost: int, minutes: int = 120) -> dict[str, list[str]]:
    """Write the `up` of a fleet of which some targets are gone after an hour."""
    series: dict[str, list[str]] = {}
    for number in range(fleet):
        values = ["1"] * minutes
        if number < lost:
            values[60:] = ["stale", *["_"] * (minutes - 61)]
        series[selector("up", {"job": "thinpool", "instance": f"host{number}:10128"})] = values
    return series


@pytest.mark.parametrize(
    ("fleet", "lost", "severity"),
    [(10, 10, "critical"), (10, 9, "critical"), (10, 4, "warning"), (1, 1, "critical")],
)
def test_targets_that_are_gone_are_told(
    fleet: int, lost: int, severity: str, tmp_path: Path
) -> None:
    """They have no `up` that could be 0."""
    labels = {"alertname": "ThinPoolTargetsLost", "alertstate": "firing"}
    own = selector("ALERTS", {**labels, "severity": severity, "job": "thinpool"})
    hold(
        tmp_path,
        lost_targets(fleet, lost),
        expect(59, 'ALERTS{alertstate="firing"}'),
        expect(80, 'ALERTS{alertstate="firing"}', (own, 1)),
        expect(119, 'ALERTS{alertstate="firing"}', (own, 1)),
    )


def test_a_fleet_that_shrinks_a_little_is_quiet(tmp_path: Path) -> None:
    """A fifth of its hosts may be taken away."""
    hold(tmp_path, lost_targets(10, 2), expect(119, "ALERTS"))


def test_a_textfile_is_watched_as_well(tmp_path: Path) -> None:
    """Its target belongs to node_exporter's job; other targets of that job are none of ours."""
    ours, other = {"job": "node", "instance": "a:9100"}, {"job": "node", "instance": "b:9100"}
    series = {
        selector("up", ours): ["1"] * 30 + ["0"] * 90,
        selector("up", other): ["0"] * 120,
        selector("thinpool_exporter_build_info", {**ours, "version": "0.2.0"}): ["1"] * 30
        + ["stale"]
        + ["_"] * 89,
    }
    labels = {"alertname": "ThinPoolExporterDown", "alertstate": "firing", **ours}
    own = selector("ALERTS", {**labels, "severity": "warning"})
    hold(tmp_path, series, expect(110, 'ALERTS{alertstate="firing"}', (own, 1)))


def test_says_which_share_is_lost(tmp_path: Path) -> None:
    """The page names the job, the share, and where to look."""
    series: dict[str, list[str]] = {}
    for number in range(10):
        series |= up(f"host{number}:10128", 20, range(5, 20) if number < 6 else ())
    place = "https://github.com/thinpool-exporter/thinpool-exporter/blob/main/rules/runbooks"
    annotations = {
        "summary": "Many hosts cannot be scraped.",
        "description": "60% of the hosts of job thinpool cannot be scraped. Look for a network "
        "or a rack first, not at the hosts. First: Prometheus' page /targets: what do the lost "
        "hosts have in common?",
        "runbook_url": f"{place}/ThinPoolExportersDown.md",
        "dashboard": "http://grafana/d/thinpool-fleet?var-job=thinpool",
    }
    labels = {"severity": "critical", "job": "thinpool"}
    alert = {"exp_labels": labels, "exp_annotations": annotations}
    hold(
        tmp_path,
        series,
        {"eval_time": "12m", "alertname": "ThinPoolExportersDown", "exp_alerts": [alert]},
    )
