"""`check`: a person's report on every pool."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import structlog

from exporter.bulkhead import Bulkheads
from exporter.cli.host import CLOCKS, collect_once
from exporter.cli.starting import settings_of
from exporter.guard.judge import Judge
from exporter.guard.lock import running_guard
from exporter.model import GuardNote, Snapshot
from exporter.publish import SnapshotReader
from exporter.report import Report, print_report
from exporter.service.wiring import rules
from exporter.staleness import silence_seconds
from exporter.volumes import with_volumes_of

WATCH_SECONDS = 1.0


def main(options: argparse.Namespace) -> int:
    """Report, and end as monitoring plugins do."""
    settings = settings_of(options)
    note = running_guard(options.state)
    published = _published(options.state, note) if note else None
    silence = silence_seconds(published, time.time()) if published else None
    is_watched = published is not None and silence is None
    snapshot = collect_once(settings, watch_seconds=0.0 if is_watched else WATCH_SECONDS)
    if published and is_watched:
        snapshot = with_volumes_of(published, snapshot)
    in_force = rules(settings).as_noted(note) if note else rules(settings)
    report = Report.of(
        Judge(in_force, CLOCKS).foresee(snapshot),
        note,
        Bulkheads(structlog.get_logger("exporter"), time.monotonic),
        silence_seconds=silence,
    )
    print_report(report, sys.stdout)
    return report.exit_status


def _published(directory: Path, note: GuardNote) -> Snapshot | None:
    """Read what the guard that runs has said: it has watched the volumes for longer."""
    reader = SnapshotReader(directory)
    reader.look()
    report = reader.snapshot.guard if reader.snapshot else None
    return reader.snapshot if report and report.note.pid == note.pid else None
