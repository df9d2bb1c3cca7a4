"""`demo`: what `run` does, on a simulated host."""

from __future__ import annotations

import argparse
import time

import structlog

from exporter.cli.guarded import Guarded, reload_on_signal
from exporter.cli.run import serve
from exporter.cli.starting import settings_of
from exporter.simulation.demo import demo_host

logger = structlog.get_logger("exporter")


def main(options: argparse.Namespace) -> int:
    """Guard and serve a host that does not exist."""
    host = demo_host(time.monotonic).access()
    logger.warning("simulated_host", note="nothing of this host is read or changed")
    reloading = reload_on_signal(options)
    return serve(Guarded(host, settings_of(options), reloading), options)
