"""`run`: collector, guard and web side in one process."""

from __future__ import annotations

import argparse

import structlog

from exporter import __version__
from exporter.cli.guarded import Guarded, protected
from exporter.cli.host import CLOCKS
from exporter.cli.listening import web_options
from exporter.cli.starting import stop_on_signals
from exporter.maintenance import MaintenanceFile
from exporter.notify import Notifier
from exporter.service.service import Service

logger = structlog.get_logger("exporter")


def main(options: argparse.Namespace) -> int:
    """Guard and serve this host."""
    with protected(options) as guarded:
        return serve(guarded, options)


def serve(guarded: Guarded, options: argparse.Namespace) -> int:
    """Collect, guard and serve until this process is told to end."""
    stop = stop_on_signals()
    service = Service(
        guarded.host,
        guarded.settings,
        web_options(options),
        reloading=guarded.reloading,
        clocks=CLOCKS,
        log=logger,
    )
    service.remember_in(guarded.memory)
    service.tell(guarded.is_memory_locked, MaintenanceFile(options.state))
    service.run(
        stop,
        notifier=Notifier.of_process(),
        parts=guarded.parts,
        on_ready=lambda: logger.info(
            "serving",
            version=__version__,
            addresses=list(service.addresses),
            guard_mode=str(guarded.settings.guard.mode),
        ),
    )
    logger.info("stopped")
    return 0
