"""`guard`: collector and guard; publishes to a file what `web` serves."""

from __future__ import annotations

import argparse

import structlog

from exporter import __version__
from exporter.cli.guarded import protected
from exporter.cli.host import CLOCKS
from exporter.cli.starting import stop_on_signals
from exporter.maintenance import MaintenanceFile
from exporter.notify import Notifier
from exporter.publish import SnapshotWriter
from exporter.service.guarding import Guarding
from exporter.sources.own_process import OwnProcess

logger = structlog.get_logger("exporter")


def main(options: argparse.Namespace) -> int:
    """Guard this host until this process is told to end."""
    with protected(options) as guarded:
        guarding = Guarding(
            guarded.host,
            guarded.settings,
            publish=SnapshotWriter(options.state).write,
            reloading=guarded.reloading,
            clocks=CLOCKS,
            log=logger,
        )
        guarding.remember_in(guarded.memory)
        guarding.is_memory_locked = guarded.is_memory_locked
        guarding.own_figures = OwnProcess().read
        guarding.maintenance = MaintenanceFile(options.state).shown_in
        stop, notifier = stop_on_signals(), Notifier.of_process()
        mode = str(guarded.settings.guard.mode)
        logger.info("guarding", version=__version__, guard_mode=mode)
        try:
            guarding.start(stop)
            guarding.watch(stop, notifier, guarded.parts)
        finally:
            stop.set()
            notifier.stopping()
            guarding.stop()
    logger.info("stopped")
    return 0
