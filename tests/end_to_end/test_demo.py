"""What a newcomer sees within a minute, through the real program and a real Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.end_to_end.program import Program
from tests.programs import Edition
from tests.prometheus import lint, scraped, scraping
from tests.waiting import wait_for

POOLS = {
    ("docker", "thinpool"),
    ("ci", "pool"),
    ("registry", "pool"),
    ("web", "pool"),
    ("", "docker-253:0-201549152-pool"),
}


def test_it_says_that_it_is_simulated(demo: Program) -> None:
    """On the page and in the log."""
    assert "simulated host" in demo.get("/")[1].lower()
    assert demo.events("simulated_host")


def test_it_has_one_pool_of_each_kind(demo: Program) -> None:
    """LVM's and Docker's own on loopback."""
    sizes = [series for series in demo.metrics() if "thinpool_data_size_bytes" in series]

    for vg, pool in POOLS:
        assert any(f'vg="{vg}"' in series and f'pool="{pool}"' in series for series in sizes)


def test_the_loopback_pool_is_shown_and_left_alone(demo: Program) -> None:
    """Loopback metrics are 1, and the reason is that it is not LVM's."""
    metrics = demo.metrics()
    pool = 'pool="docker-253:0-201549152-pool"'

    assert metrics["thinpool_docker_loopback_warning"] == 1
    assert (
        metrics[f'thinpool_loopback{{{pool},vg=""}}'] == 1
        or metrics[f'thinpool_loopback{{vg="",{pool}}}']
    )
    assert any(
        series.startswith("thinpool_guard_state")
        and pool in series
        and 'reason="not_lvm"' in series
        for series in metrics
    )


def total(demo: Program, name: str, vg: str) -> float:
    """Add up a counter of one VG."""
    return sum(
        value
        for series, value in demo.metrics().items()
        if series.startswith(name) and f'vg="{vg}"' in series
    )


@pytest.mark.parametrize(
    ("name", "vg"),
    [
        ("thinpool_guard_extends_total", "docker"),
        ("thinpool_guard_extends_total", "registry"),
        ("thinpool_guard_clamped_extends_total", "ci"),
    ],
)
def test_each_pool_in_need_is_extended(demo: Program, name: str, vg: str) -> None:
    """Data, metadata, and as far as the VG goes."""
    wait_for(lambda: total(demo, name, vg) or None, seconds=90, what=f"{name} of {vg}")


def test_the_metrics_are_wellformed(demo: Program, edition: Edition) -> None:
    """Promtool has nothing to say."""
    assert lint(demo.get("/metrics")[1].encode(), edition) == (0, "")


Scrape = tuple[str, str]  # the Accept header, and the Content-Type of the answer


@contextmanager
def listening(address: str) -> Iterator[tuple[str, list[Scrape]]]:
    """Pass scrapes on to an exporter: where to scrape, and what was asked and answered."""
    scrapes: list[Scrape] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            accepted = self.headers["Accept"]
            request = Request(f"http://{address}{self.path}", headers={"Accept": accepted})
            with urlopen(request, timeout=30) as answer:
                body, kind = answer.read(), answer.headers["Content-Type"]
            scrapes.append((accepted, kind))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", scrapes
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_real_prometheus_scrapes_it(demo: Program, tmp_path: Path, edition: Edition) -> None:
    """In OpenMetrics, which each asks for first; the pools arrive with all their labels."""
    counter = "thinpool_guard_extends_total"
    with listening(demo.address) as (target, scrapes):
        with scraping(target, tmp_path, edition=edition) as prometheus:
            found = scraped(prometheus, "thinpool_data_used_bytes > 0")
            buckets = scraped(prometheus, "thinpool_guard_extend_duration_seconds_bucket")
            counted = scraped(prometheus, f"{counter} >= 0")
        accepted, kind = scrapes[-1]

    assert {(labels.get("vg", ""), labels["pool"]) for labels in found} == POOLS
    assert {labels["__name__"] for labels in counted} == {counter}
    assert "+Inf" in {labels["le"] for labels in buckets}
    # Prometheus 3 takes names in UTF-8, and says so.
    assert edition is Edition.INSTALLED or "escaping=allow-utf-8" in accepted
    assert kind.startswith("application/openmetrics-text")


def test_it_stops_when_told(tmp_path: Path) -> None:
    """SIGTERM ends it with status 0."""
    with Program("demo", directory=tmp_path) as program:
        assert program.stop() == 0
        assert program.events("stopped")
