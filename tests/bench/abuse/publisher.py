"""The guard's side of a benchmark: publishes quiet pools, as `guard` does, until it is ended.

`python tests/bench/abuse/publisher.py DIRECTORY --pools 100`
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from exporter import log
from exporter.cli.guarded import logger
from exporter.config import Settings
from exporter.guard import Clocks
from exporter.notify import SILENT
from exporter.publish import SnapshotWriter
from exporter.service.guarding import Guarding
from exporter.service.reloading import Reloading
from tests.bench import frozen
from tests.bench.idle import quiet_host


def main() -> None:
    """Publish until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--pools", type=int, default=1)
    options = parser.parse_args()
    log.configure("error", "auto")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    guarding = Guarding(
        frozen.access(quiet_host(options.pools)),
        Settings(),
        publish=SnapshotWriter(options.directory).write,
        reloading=Reloading(Settings, wall_clock=time.time, log=logger),
        clocks=Clocks(monotonic=time.monotonic, wall=time.time),
        log=logger,
    )
    guarding.start(stop)
    guarding.watch(stop, SILENT)
    guarding.stop()


if __name__ == "__main__":
    main()
