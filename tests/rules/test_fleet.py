"""A rack of hosts loses its network: one page for all, and nothing else that is not so."""

from __future__ import annotations

from pathlib import Path

from tests.rules.healthy import Names, timeline
from tests.rules.promtool import Test, expect, hold

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
        counted(BEFORE + 3, **every_host),
        *(counted(BEFORE + minute, **others, ExportersDown=1) for minute in (5, 7, 9)),
        *(
            counted(BEFORE + minute, **others, ExportersDown=1, ExporterDown=RACK)
            for minute in range(10, LOST)
        ),
        # The page goes on for five minutes, lest a network that wavers page again.
        counted(BEFORE + LOST, **every_host, ExportersDown=1),
        *(counted(BEFORE + LOST + minute, **every_host) for minute in (6, AFTER - 1)),
    )


def test_a_few_hosts_of_many_are_tickets(tmp_path: Path) -> None:
    """A fifth of the hosts, or five of them, page nobody."""
    for fleet, lost in ((100, 20), (10, 5)):
        series: dict[str, list[str]] = {}
        for number in range(fleet):
            gaps = range(5, 30) if number < lost else ()
            series |= timeline(
                Names(instance=f"host{number}:10128"),
                (30, {}),
                missed=dict.fromkeys(gaps, "stale"),
            )
        hold(tmp_path, series, counted(29, ExporterDown=lost))


def test_says_which_share_is_lost(tmp_path: Path) -> None:
    """The page names the job, the share, and where to look."""
    series: dict[str, list[str]] = {}
    for number in range(10):
        gaps = range(5, 20) if number < 6 else ()
        series |= timeline(
            Names(instance=f"host{number}:10128"), (20, {}), missed=dict.fromkeys(gaps, "stale")
        )
    place = "https://github.com/thinpool-exporter/thinpool-exporter/blob/main/rules/runbooks"
    annotations = {
        "summary": "Many exporters cannot be scraped.",
        "description": "60% of the hosts of job thinpool cannot be scraped: "
        "look for a network, not for the hosts.",
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
