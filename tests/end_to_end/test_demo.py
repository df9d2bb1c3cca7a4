"""What a newcomer sees within a minute, through the real program and a real Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.program import Program
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


def test_the_metrics_are_wellformed(demo: Program) -> None:
    """Promtool has nothing to say."""
    assert lint(demo.get("/metrics")[1].encode()) == (0, "")


@pytest.fixture(scope="module")
def prometheus(demo: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Debian's Prometheus on the demo, and give its address."""
    with scraping(demo.address, tmp_path_factory.mktemp("prometheus")) as address:
        yield address


def test_a_real_prometheus_scrapes_it(prometheus: str) -> None:
    """Every pool arrives with its labels, and the target is up."""
    found = scraped(prometheus, "thinpool_data_used_bytes > 0")

    names = {(labels.get("vg", ""), labels["pool"]) for labels in found}
    assert names == POOLS


def test_it_stops_when_told(tmp_path: Path) -> None:
    """SIGTERM ends it with status 0."""
    with Program("demo", directory=tmp_path) as program:
        assert program.stop() == 0
        assert program.events("stopped")
