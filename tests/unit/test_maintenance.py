"""Planned work: what is set is shown everywhere, and nonsense in its file is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.collectors import families
from exporter.maintenance import FILE_NAME, MAX_BYTES, MaintenanceFile
from exporter.model import Maintenance
from exporter.report.host import host_figures, maintenance_words
from tests.factories import TAKEN_AT, make_snapshot

HOUR = 3600.0
PLANNED = Maintenance(until=TAKEN_AT + 2 * HOUR, reason="a new disk")


def shown_end(snapshot_maintenance: Maintenance | None) -> float:
    """Return the metric's value."""
    snapshot = make_snapshot(maintenance=snapshot_maintenance)
    (family,) = (
        one
        for one in families(snapshot)
        if one.name == "thinpool_maintenance_end_timestamp_seconds"
    )
    return float(family.samples[0].value)


def test_what_is_set_is_read_until_it_is_ended(tmp_path: Path) -> None:
    """By every process that shows a Snapshot, whoever wrote it."""
    writing, reading = MaintenanceFile(tmp_path), MaintenanceFile(tmp_path)
    assert reading.read() is None

    writing.write(PLANNED)
    assert reading.read() == PLANNED
    assert reading.shown_in(make_snapshot()).maintenance == PLANNED

    later = Maintenance(until=PLANNED.until + HOUR)
    writing.write(later)
    assert reading.read() == later

    writing.clear()
    writing.clear()
    assert reading.read() is None
    assert reading.shown_in(make_snapshot(maintenance=later)).maintenance is None


def test_a_snapshot_that_says_so_already_stays_the_same_one(tmp_path: Path) -> None:
    """Then nothing need be rendered anew."""
    file, snapshot = MaintenanceFile(tmp_path), make_snapshot()
    assert file.shown_in(snapshot) is snapshot
    file.write(PLANNED)
    planned = file.shown_in(snapshot)
    assert file.shown_in(planned) is planned


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'{"until":"tomorrow"}',
        b'{"until":1e300}',
        b'{"until":-1}',
        b"\xff",
        b" " * (MAX_BYTES + 1),
    ],
)
def test_nonsense_is_no_maintenance(tmp_path: Path, raw: bytes) -> None:
    """And does not keep the figures from being shown."""
    (tmp_path / FILE_NAME).write_bytes(raw)

    assert MaintenanceFile(tmp_path).read() is None


def test_the_metric_has_its_end() -> None:
    """In seconds since the epoch, and 0 without any."""
    assert shown_end(None) == 0
    assert shown_end(PLANNED) == PLANNED.until


def test_people_read_until_when_and_why() -> None:
    """In check and on the status page, as long as it lasts."""
    words = maintenance_words(PLANNED, TAKEN_AT)

    assert words.startswith("until ")
    assert words.endswith(", for another 2h: a new disk")
    assert maintenance_words(PLANNED, PLANNED.until) == "none"
    figures = {
        figure.name: figure.text
        for figure in host_figures(make_snapshot(maintenance=PLANNED), None)
    }
    assert figures["maintenance"] == words
    over = Maintenance(until=TAKEN_AT - 1)
    assert "maintenance" not in {
        figure.name for figure in host_figures(make_snapshot(maintenance=over), None)
    }
