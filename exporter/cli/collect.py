"""`collect`: one collection as Prometheus text, to stdout or to a file."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import structlog

from exporter.bulkhead import Bulkheads
from exporter.cli.host import collect_once
from exporter.cli.starting import settings_of
from exporter.errors import ExporterError
from exporter.exposition import render, snapshot_collector
from exporter.textfile import write_atomically

STDOUT = Path("-")


def main(options: argparse.Namespace) -> int:
    """Read everything once, and write the exposition.

    Raises ExporterError if no source could be read, and then writes nothing: cron reports the
    failure, and the last good file stays.
    """
    snapshot = collect_once(settings_of(options))
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
