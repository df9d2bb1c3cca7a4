"""`check`: a person's report on every pool."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from exporter.cli.host import CLOCKS, collect_once
from exporter.cli.starting import settings_of
from exporter.guard.judge import Judge
from exporter.guard.lock import running_guard
from exporter.model import Snapshot
from exporter.publish import SnapshotReader
from exporter.report import Report, print_report
from exporter.service.wiring import rules
from exporter.volumes import with_volumes_of

WATCH_SECONDS = 1.0
FRESH_SECONDS = 30.0


def main(options: argparse.Namespace) -> int:
    """Report, and end as monitoring plugins do."""
    settings = settings_of(options)
    note = running_guard(options.state)
    published = _published(options.state) if note else None
    snapshot = collect_once(settings, watch_seconds=0.0 if published else WATCH_SECONDS)
    if published:
        snapshot = with_volumes_of(published, snapshot)
    in_force = rules(settings).as_noted(note) if note else rules(settings)
    report = Report.of(Judge(in_force, CLOCKS).foresee(snapshot), note)
    print_report(report, sys.stdout)
    return report.exit_status


def _published(directory: Path) -> Snapshot | None:
    """Read what the guard says, which has watched the volumes for longer than we can."""
    reader = SnapshotReader(directory)
    reader.look()
    snapshot = reader.snapshot
    is_fresh = snapshot is not None and time.time() - snapshot.taken_at < FRESH_SECONDS
    return snapshot if is_fresh else None
