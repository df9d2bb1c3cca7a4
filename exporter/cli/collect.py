"""`collect`: one collection as Prometheus text, to stdout or to a file.

Where a guard runs, it is the Snapshot that the guard has published: the figures are the
guard's, and nothing waits for LVM's lock.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import structlog

from exporter.bulkhead import Bulkheads
from exporter.cli.host import collect_once
from exporter.cli.published import is_whole, published_by_guard
from exporter.cli.starting import settings_of
from exporter.errors import ExporterError
from exporter.exposition import render, snapshot_collector
from exporter.maintenance import MaintenanceFile
from exporter.model import Snapshot
from exporter.textfile import write_atomically

STDOUT = Path("-")


def main(options: argparse.Namespace) -> int:
    """Read everything once, and write the exposition.

    Raises ExporterError if no source could be read, and then writes nothing: cron reports the
    failure, and the last good file stays.
    """
    snapshot = _published(options) or collect_once(settings_of(options))
    snapshot = MaintenanceFile(options.state).shown_in(snapshot)
    if not any(state.is_ok for state in snapshot.collectors.values()):
        faults = "; ".join(
            f"{name}: {state.error}" for name, state in snapshot.collectors.items()
        )
        raise ExporterError(f"no source could be read, so nothing is written: {faults}")
    bulkheads = Bulkheads(structlog.get_logger("exporter"), time.monotonic)
    body = render(snapshot_collector(lambda: snapshot, bulkheads).collect())
    if options.output == STDOUT:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
    else:
        write_atomically(options.output, body)
    return 0


def _published(options: argparse.Namespace) -> Snapshot | None:
    if options.is_live:
        return None
    snapshot, _ = published_by_guard(options.state, is_root=os.geteuid() == 0)
    return snapshot if snapshot and is_whole(snapshot) else None
