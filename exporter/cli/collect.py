"""`collect`: one collection as Prometheus text."""

from __future__ import annotations

import argparse
import sys
import time

import structlog

from exporter.bulkhead import Bulkheads
from exporter.cli.host import collect_once
from exporter.cli.starting import settings_of
from exporter.exposition import render, snapshot_collector
from exporter.textfile import write_atomically


def main(options: argparse.Namespace) -> int:
    """Read everything once, and write the exposition."""
    snapshot = collect_once(settings_of(options))
    bulkheads = Bulkheads(structlog.get_logger("exporter"), time.monotonic)
    body = render(snapshot_collector(lambda: snapshot, bulkheads).collect()).body
    if options.output:
        write_atomically(options.output, body)
    else:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
    return 0
