"""`web`: serves what `guard` publishes; touches nothing else."""

from __future__ import annotations

import argparse
import signal

import structlog

from exporter import __version__
from exporter.cli.listening import web_options
from exporter.cli.starting import stop_on_signals
from exporter.notify import Notifier
from exporter.service.following import Following

logger = structlog.get_logger("exporter")


def main(options: argparse.Namespace) -> int:
    """Serve until this process is told to end."""
    stop, notifier = stop_on_signals(), Notifier.of_process()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # its files it looks at by itself
    web = Following(options.state, web_options(options), log=logger)

    def on_ready() -> None:
        logger.info("serving", version=__version__, addresses=list(web.addresses))
        notifier.ready()

    web.run(stop, on_ready, notifier=notifier)
    logger.info("stopped")
    return 0
