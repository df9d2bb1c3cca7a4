"""A page for Docker's real pool: from the kernel to whoever is on call, and back.

The rules and routes are those that users load; only how long an alert has to hold is shorter.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests import alertmanager, runbooks
from tests.prometheus import scraping
from tests.rules.promtool import FILES
from tests.vm.docked import PATIENCE_SECONDS, POOL, plug, start_writer
from tests.vm.guest import Guest
from tests.vm.machine import Machine
from tests.vm.runbook import Elsewhere, Filed, Runbook
from tests.waiting import wait_for

HOLDING = re.compile(r"^( +(?:for|keep_firing_for): )(\d+)([mh])$", re.MULTILINE)
MINUTES = {"m": 1, "h": 60}
# Within which whatever belongs to one incident has been raised; ten seconds in the example.
GROUP_WAIT = "10s"
FULL = "ThinPoolOutOfDataSpace"
Notification = Mapping[str, Any]


class Sent(NamedTuple):
    """What Alertmanager has sent, by the path of the receiver."""

    path: str
    content: Notification


def hurried_rules(directory: Path) -> list[str]:
    """Copy the rules; what has to hold for a minute has to hold for a second."""

    def hurry(match: re.Match[str]) -> str:
        return f"{match[1]}{int(match[2]) * MINUTES[match[3]]}s"

    copies = [directory / file.name for file in FILES]
    for file, copy in zip(FILES, copies, strict=True):
        copy.write_text(HOLDING.sub(hurry, file.read_text()))
    return [str(copy) for copy in copies]


def routes(receiver: str) -> dict[str, Any]:
    """Read the example's routes; alerts of one incident come in one page, as there."""
    config = alertmanager.hurried(receiver)
    for route in config["route"]["routes"]:
        route["group_wait"] = GROUP_WAIT
    return config


@contextmanager
def receiving() -> Iterator[tuple[str, list[Sent]]]:
    """Listen as a pager does: the address, and all that comes."""
    sent: list[Sent] = []

    class Pager(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            sent.append(Sent(self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pager) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", sent
        finally:
            server.shutdown()
            thread.join()


def pages(sent: list[Sent]) -> list[Notification]:
    """Find what somebody was woken up by, and what ended it; other alerts are other pages."""
    found = [one.content for one in sent if one.path == "/pages"]
    return [page for page in found if page["groupLabels"]["alertname"] == FULL]


def firing(page: Notification) -> set[str]:
    """Name what a notification calls wrong."""
    return {
        alert["labels"]["alertname"] for alert in page["alerts"] if alert["status"] == "firing"
    }


def test_a_full_pool_pages_once_and_its_runbook_ends_it(
    docked: Machine, guest: Guest, tmp_path: Path
) -> None:
    """Docker's pool cannot grow and fills: one page, whose link has what mends it."""
    target = f"127.0.0.1:{docked.port()}"
    plug(docked)
    with (
        receiving() as (receiver, sent),
        alertmanager.running(tmp_path / "alertmanager", routes(receiver)) as manager,
    ):
        managers = {"static_configs": [{"targets": [manager.removeprefix("http://")]}]}
        more = {
            "rule_files": hurried_rules(tmp_path),
            "alerting": {"alertmanagers": [managers]},
        }
        with scraping(target, tmp_path, more) as prometheus:
            start_writer(docked, 430)
            page = wait_for(
                lambda: next(iter(pages(sent)), None), seconds=PATIENCE_SECONDS, what="a page"
            )
            link = of_the_pool(page, target)
            book = Runbook(docked, FULL, **POOL)
            assert link == book.address
            shown = book.page()
            assert "out of data space" in shown
            assert "100.00 % full" in shown
            assert "vgextend docker /dev/NEW_DISK" in shown
            assert len(pages(sent)) == 1

            book.follow("If the group has none", NEW_DISK=docked.disk("data1"))
            wait_for(
                lambda: pages(sent)[-1]["status"] == "resolved" or None,
                seconds=2 * PATIENCE_SECONDS,
                what="the end of the page",
            )
            assert docked.run("docker wait writer").stdout.strip() == "0"
            # What came after the first page took from it, and added nothing.
            assert all(firing(later) <= firing(page) for later in pages(sent))
            assert guest.metrics().value("thinpool_mode", mode="rw", **POOL) == 1
            ask_elsewhere(docked, prometheus)
            on_call(docked, prometheus, manager)


def of_the_pool(page: Notification, target: str) -> str:
    """See that a page says whose it is, and return its link."""
    assert page["status"] == "firing"
    (full,) = (one for one in page["alerts"] if one["labels"]["alertname"] == FULL)
    assert full["labels"] == {
        "alertname": FULL,
        "severity": "critical",
        "job": "thinpool",
        "instance": target,
        **POOL,
    }
    for alert in page["alerts"]:
        assert {key: alert["labels"].get(key) for key in POOL} == POOL
        with urllib.request.urlopen(alert["annotations"]["host_page"], timeout=30) as answer:
            assert b"docker/thinpool" in answer.read()
    link: str = full["annotations"]["host_page"]
    return link


def ask_elsewhere(machine: Machine, prometheus: str) -> None:
    """Type what is typed beside Prometheus when many hosts are lost."""
    book = Elsewhere(machine, "ThinPoolExportersDown")
    address = prometheus.removeprefix("http://")
    assert '1 "lastError":""' in book.diagnose(PROMETHEUS=address)
    said = book.follow("If Prometheus does not scrape", PROMETHEUS=address)
    assert "Ready" in said
    assert "prometheus_target_scrape_pool_targets" in said
    lost = Elsewhere(machine, "ThinPoolHostLost")
    lost.diagnose(PROMETHEUS=address, HOST="127.0.0.1")
    gone = Elsewhere(machine, "ThinPoolTargetsLost")
    assert "=> 1 @" in gone.diagnose(PROMETHEUS=address)


def on_call(machine: Machine, prometheus: str, manager: str) -> None:
    """Type what stands in no alert's own runbook: it is over, and the next one may wait."""
    # Here the exporter's port is another one.
    host = {"HOST:10128": f"127.0.0.1:{machine.port()}"}
    book = Elsewhere(machine, runbooks.GENERAL)
    words = {**host, "PROMETHEUS": prometheus.removeprefix("http://")}
    said = book.section("Is it over?", 1, **words)
    assert 'alertname="ThinPoolOutOfDataSpace"' not in said
    assert "thinpool:used:ratio" in said
    words = {**host, "ALERTMANAGER": manager.removeprefix("http://")}
    silenced = book.section("May it wait?", 0, **words)
    assert "a disk is on its way" in silenced
    on_host = Filed(machine, runbooks.GENERAL)
    assert "docker/thinpool" in on_host.section("Is it over?")
    on_host.section("May it wait?", 1)
    assert "new disk" in machine.run("thinpool-exporter maintenance").stdout
