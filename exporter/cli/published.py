"""What a live guard has published: for the commands that need not read the host then."""

from __future__ import annotations

import time
from pathlib import Path

from exporter.guard.lock import running_guard
from exporter.model import Snapshot
from exporter.publish import SnapshotReader
from exporter.staleness import Freshness, freshness


def published_by_guard(directory: Path, *, is_root: bool) -> tuple[Snapshot | None, str]:
    """Return the Snapshot of the guard that runs, or why there is none.

    Root may ask the guard's lock whether it runs; anybody else goes by the Snapshot's age.
    """
    reader = SnapshotReader(directory)
    reader.look()
    snapshot, now = reader.snapshot, time.time()
    if snapshot is None or snapshot.guard is None:
        return None, str(reader.error or f"{directory} holds no Snapshot of a guard")
    if is_root:
        note = running_guard(directory)
        is_its = note is not None and note.pid == snapshot.guard.note.pid
        return (snapshot, "") if is_its else (None, "the guard that published does not run")
    if freshness(snapshot, now) is Freshness.OLD:
        age = abs(now - snapshot.taken_at)
        return None, f"what the guard published last is {age:.0f} s old"
    return snapshot, ""


def is_whole(snapshot: Snapshot) -> bool:
    """Whether it holds for the present, and every source has been read once at least."""
    states = snapshot.collectors.values()
    is_read = all(state.attempted_at is not None for state in states)
    return is_read and freshness(snapshot, time.time()) is not Freshness.OLD
