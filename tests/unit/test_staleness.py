"""When a Snapshot, or the guard in it, is too old to be believed."""

from __future__ import annotations

import pytest

from exporter.model import Dmeventd, Snapshot
from exporter.staleness import Freshness, as_of, freshness, silence_seconds
from tests.factories import TAKEN_AT, make_guard_report, make_pool, make_snapshot

HUNG = make_snapshot(guard=make_guard_report(last_cycle_at=TAKEN_AT - 31))
NOT_BEGUN = make_snapshot(guard=make_guard_report(last_cycle_at=None))


@pytest.mark.parametrize(
    ("snapshot", "later", "silence", "expected"),
    [
        (make_snapshot(), 0, None, Freshness.CURRENT),
        (make_snapshot(), 30, None, Freshness.CURRENT),
        (make_snapshot(), 31, 31, Freshness.GUARD_SILENT),
        (make_snapshot(), 60, 60, Freshness.GUARD_SILENT),
        (make_snapshot(), 61, 61, Freshness.OLD),
        (make_snapshot(), -31, 31, Freshness.GUARD_SILENT),
        (make_snapshot(), -61, 61, Freshness.OLD),
        (HUNG, 0, 31, Freshness.GUARD_SILENT),
        (HUNG, 30, 61, Freshness.GUARD_SILENT),
        (NOT_BEGUN, 30, None, Freshness.CURRENT),
        (NOT_BEGUN, 31, 31, Freshness.GUARD_SILENT),
        (make_snapshot(guard=None), 30, None, Freshness.CURRENT),
        (make_snapshot(guard=None), 61, 61, Freshness.OLD),
    ],
)
def test_knows_what_is_too_old(
    snapshot: Snapshot, later: float, silence: float | None, expected: Freshness
) -> None:
    """The guard after 30 s, everything after 60 s; a clock set back makes nothing younger."""
    now = TAKEN_AT + later

    assert silence_seconds(snapshot, now) == silence
    assert freshness(snapshot, now) is expected


def test_what_is_current_is_left_as_it_is() -> None:
    """Not even a copy is made."""
    snapshot = make_snapshot()

    assert as_of(snapshot, TAKEN_AT + 30) is snapshot


@pytest.mark.parametrize("later", [31, 61])
def test_a_silent_guard_protects_no_pool(later: float) -> None:
    """What it has done stays."""
    snapshot = make_snapshot()
    report = as_of(snapshot, TAKEN_AT + later).guard

    assert snapshot.guard
    assert report
    assert not report.pools["docker/thinpool"].is_responsible
    counters = snapshot.guard.pools["docker/thinpool"].counters
    assert report.pools["docker/thinpool"].counters == counters


@pytest.mark.parametrize(("later", "is_known"), [(60, True), (61, False)])
def test_nobody_knows_what_dmeventd_has_done_since(later: float, *, is_known: bool) -> None:
    """It may have died with the guard."""
    watched = make_pool(is_monitored=True)
    snapshot = make_snapshot(
        pools=(watched,), dmeventd=Dmeventd(is_alive=True), guard=make_guard_report()
    )
    found = as_of(snapshot, TAKEN_AT + later)

    assert (found.pools[0].is_monitored is None) is not is_known
    assert (found.dmeventd.is_alive is None) is not is_known
