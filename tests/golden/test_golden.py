"""Whole expositions, compared with the files beside this one, and linted."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter.bulkhead import Bulkheads
from exporter.collectors import SnapshotCollector
from exporter.exposition import Format, render
from exporter.model import Snapshot
from exporter.simulation import ManualClock
from tests.factories import TAKEN_AT
from tests.fakes import FakeLog
from tests.golden.snapshots import SNAPSHOTS
from tests.prometheus import lint

FOLDER = Path(__file__).parent


def exposition(snapshot: Snapshot, format_: Format = Format.TEXT) -> bytes:
    """Render without what differs between hosts: versions, and this process."""
    collector = SnapshotCollector(
        lambda: snapshot,
        version="0.0.0",
        python_version="3.x",
        clock=lambda: TAKEN_AT,
        bulkheads=Bulkheads(FakeLog(), ManualClock()),
    )
    return render(collector.collect(), format_)


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_renders_what_is_kept(name: str, *, is_updating: bool) -> None:
    """Each Snapshot gives exactly the exposition kept beside it."""
    golden = FOLDER / f"{name}.prom"
    rendered = exposition(SNAPSHOTS[name]())
    if is_updating:
        golden.write_bytes(rendered)

    assert rendered.decode() == golden.read_bytes().decode()


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_promtool_has_nothing_to_say(name: str) -> None:
    """Each golden is what Prometheus can read, and follows its conventions."""
    assert lint((FOLDER / f"{name}.prom").read_bytes()) == (0, "")


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_repeats_no_series(name: str) -> None:
    """No series occurs twice: Prometheus would drop the whole scrape."""
    lines = (FOLDER / f"{name}.prom").read_text().splitlines()
    series = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]

    assert len(series) == len(set(series))


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_openmetrics_holds_the_same_samples(name: str) -> None:
    """The strict OpenMetrics parser finds every sample of the text format."""
    text = exposition(SNAPSHOTS[name](), Format.OPENMETRICS).decode()
    # mypy: the library's parser carries no types.
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    parsed = [sample for family in families for sample in family.samples]
    lines = (FOLDER / f"{name}.prom").read_text().splitlines()

    assert len(parsed) == sum(not line.startswith("#") for line in lines)


def test_every_golden_has_its_snapshot() -> None:
    """No file is left behind when its Snapshot is renamed."""
    assert {path.stem for path in FOLDER.glob("*.prom")} == set(SNAPSHOTS)
