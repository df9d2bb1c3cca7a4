"""A page, from a full pool to somebody's desk: real Prometheus, rules and Alertmanager.

The host is the demo's, steered by hand; the receiver is ours. The rules are those that users
load, except that their `for` and `keep_firing_for` are sixty times shorter; the expressions
and their ranges are untouched.
"""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog

from exporter.cli.host import CLOCKS
from exporter.config import Settings
from exporter.service.reloading import Reloading
from exporter.service.service import Service
from exporter.service.serving import WebOptions
from exporter.simulation.demo import demo_host
from exporter.simulation.figures import GIB, KIB
from exporter.simulation.host import SimulatedHost
from tests.alertmanager import alerts, hurried, post, running
from tests.programs import Edition
from tests.prometheus import scraping
from tests.rules.promtool import shortened
from tests.waiting import PATIENCE_SECONDS, eventually, wait_for

POOL = "ci/pool"
CHUNK_BYTES = 512 * KIB
Notice = tuple[str, dict[str, Any]]  # the receiver's name, and one alert


@contextmanager
def receiver() -> Iterator[tuple[str, list[Notice], list[str]]]:
    """Run what a pager's provider would: its address, all alerts that it has been told.

    The last is the receiver's name for each notification, which may be of several alerts.
    """
    told: list[Notice] = []
    notifications: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            notifications.append(self.path.strip("/"))
            told.extend((self.path.strip("/"), alert) for alert in body["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", told, notifications
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving(host: SimulatedHost) -> Iterator[str]:
    """Guard and serve a simulated host as `demo` does: its address."""
    settings, log = Settings(), structlog.get_logger("exporter")
    reloading = Reloading(lambda: settings, wall_clock=time.time, log=log)
    web = WebOptions(addresses=["127.0.0.1:0"], telemetry_path="/metrics")
    service = Service(host.access(), settings, web, reloading=reloading, clocks=CLOCKS, log=log)
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: service.run(stop, ready.set))
    thread.start()
    try:
        assert ready.wait(PATIENCE_SECONDS)
        yield service.addresses[0]
    finally:
        stop.set()
        thread.join()


def size_bytes(host: SimulatedHost) -> int:
    """Give the size of the pool's data device."""
    return host.pool(POOL).lv_sizes_bytes()[0]


def use(host: SimulatedHost, ratio: float) -> None:
    """Fill the pool to so much of the size that it has."""
    host.fill(POOL, int(size_bytes(host) * ratio) // CHUNK_BYTES)


def get(url: str) -> tuple[int, str]:
    """Follow a link."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status, answer.read().decode()


def is_pool(alert: dict[str, Any]) -> bool:
    """Whether an alert is about the pool that cannot grow."""
    return (alert["labels"].get("vg"), alert["labels"].get("pool")) == ("ci", "pool")


def pages(told: list[Notice], status: str) -> list[dict[str, Any]]:
    """Find the pages that the pool is nearly full; that it fills fast is another one."""
    return [
        alert
        for name, alert in [*told]
        if name == "pages"
        and alert["status"] == status
        and is_pool(alert)
        and alert["labels"]["alertname"] == "ThinPoolAboveThreshold"
    ]


def until(found: Callable[[], list[dict[str, Any]]], what: str) -> dict[str, Any]:
    """Wait for the first of what is to be found."""
    return wait_for(lambda: found() or None, seconds=PATIENCE_SECONDS, what=what)[0]


@pytest.fixture
def host() -> SimulatedHost:
    """Make the demo's host, with its pool that cannot grow standing still."""
    host = demo_host(time.monotonic)
    pool = host.pool(POOL)
    pool.data.cleanup = None
    host.set_rate(POOL, 0)
    return host


def test_a_full_pool_pages_once_and_the_page_ends(
    host: SimulatedHost, tmp_path: Path, edition: Edition
) -> None:
    """With labels and links that lead somewhere; its tickets are held back meanwhile."""
    with receiver() as (receivers, told, _), serving(host) as exporter:
        # What the volume group still has is a part of a step; then there is nothing left.
        before = size_bytes(host)
        use(host, 0.85)
        assert eventually(lambda: size_bytes(host) > before)
        use(host, 0.995)
        with running(tmp_path / "alertmanager", hurried(receivers), edition) as alertmanager:
            target = {"targets": [alertmanager.removeprefix("http://")]}
            more = {
                "rule_files": shortened(tmp_path),
                "alerting": {"alertmanagers": [{"static_configs": [target]}]},
            }
            with scraping(exporter, tmp_path, more, edition):
                page = until(lambda: pages(told, "firing"), "the page")
                assert_right(page, exporter)
                assert_its_tickets_are_inhibited(alertmanager)

                host.vgextend("ci", 100 * GIB // host.vg("ci").extent_bytes)
                end = until(lambda: pages(told, "resolved"), "the end of the page")

    assert end["labels"] == page["labels"]
    # Once, though Alertmanager looked at it each second.
    assert pages(told, "firing") == [page]
    assert not [alert for name, alert in told if name == "tickets" and is_early(alert, end)]


def is_early(alert: dict[str, Any], end: dict[str, Any]) -> bool:
    """Whether a ticket about the pool came although its page said as much."""
    return is_pool(alert) and alert["startsAt"] < end["endsAt"] and alert["status"] == "firing"


def assert_right(page: dict[str, Any], exporter: str) -> None:
    """Labels to route by, and a runbook that shows this pool as it is."""
    assert page["labels"] == {
        "alertname": "ThinPoolAboveThreshold",
        "severity": "critical",
        "job": "thinpool",
        "instance": exporter,
        "vg": "ci",
        "pool": "pool",
        "device": "data",
    }
    links = page["annotations"]
    assert links["host_page"] == (
        f"http://{exporter}/runbooks/ThinPoolAboveThreshold?vg=ci&pool=pool"
    )
    assert links["dashboard"].endswith("&var-vg=ci&var-pool=pool")
    status, shown = get(links["host_page"])
    assert status == 200
    assert "ci/pool" in shown
    assert re.search(r"99(\.\d+)?[  ]?%", shown), shown


def assert_its_tickets_are_inhibited(alertmanager: str) -> None:
    """Find both held back: above its threshold, and nothing left for it."""
    tickets = {"ThinPoolAboveThreshold", "ThinPoolNextExtensionImpossible"}

    def judged() -> dict[str, str] | None:
        """Find the tickets, once all of them are known."""
        states = {
            alert["labels"]["alertname"]: alert["status"]["state"]
            for alert in alerts(alertmanager)
            if is_pool(alert) and alert["labels"]["severity"] == "warning"
        }
        is_judged = tickets <= set(states) and "unprocessed" not in states.values()
        return states if is_judged else None

    states = wait_for(judged, seconds=PATIENCE_SECONDS, what="the tickets")
    assert set(states.values()) == {"suppressed"}, states


def test_a_hundred_pools_at_once_are_one_page(tmp_path: Path, edition: Edition) -> None:
    """A deployment has filled them all; each host's tickets are held back by its page."""
    hosts = [f"host{number}:10128" for number in range(100)]
    pool = {"job": "thinpool", "vg": "docker", "pool": "thinpool"}
    full = {"alertname": "ThinPoolOutOfDataSpace", "severity": "critical", **pool}
    tickets = (
        {"alertname": "ThinPoolNextExtensionImpossible", "severity": "warning", **pool},
        {"alertname": "ThinPoolDockerMinFreeSpace", "severity": "warning", "job": "thinpool"},
    )
    raised = [{**labels, "instance": host} for host in hosts for labels in (full, *tickets)]
    with (
        receiver() as (receivers, told, notifications),
        running(tmp_path / "alertmanager", hurried(receivers), edition) as alertmanager,
    ):
        post(alertmanager, raised)
        wait_for(
            lambda: len({alert["labels"]["instance"] for _, alert in [*told]}) == 100 or None,
            seconds=PATIENCE_SECONDS,
            what="a page about all of them",
        )
        wait_for(
            lambda: (
                (
                    len(found := alerts(alertmanager)) == len(raised)
                    and all(alert["status"]["state"] != "unprocessed" for alert in found)
                )
                or None
            ),
            seconds=PATIENCE_SECONDS,
            what="all alerts judged",
        )

    assert set(notifications) == {"pages"}
    # Posted at once, and yet Alertmanager may look at a part of them first.
    assert len(notifications) <= 2
    assert {name for name, _ in told} == {"pages"}
