"""`maintenance`: hold a host's alerts back while somebody works on it."""

from __future__ import annotations

import argparse
import sys
import time

from exporter.errors import ExporterError
from exporter.maintenance import MAX_REASON_CHARACTERS, MaintenanceFile
from exporter.model import Maintenance
from exporter.report.host import maintenance_words


def main(options: argparse.Namespace) -> int:
    """Set, end or tell it. Raises ExporterError."""
    file = MaintenanceFile(options.state)
    if options.is_end:
        if options.seconds is not None or options.reason:
            raise ExporterError("--end takes neither a duration nor a reason")
        file.clear()
    elif options.seconds is not None:
        until = time.time() + options.seconds
        file.write(Maintenance(until=until, reason=options.reason[:MAX_REASON_CHARACTERS]))
    elif options.reason:
        raise ExporterError("for how long? For example: thinpool-exporter maintenance 2h")
    sys.stdout.write(f"maintenance: {maintenance_words(file.read(), time.time())}\n")
    return 0
