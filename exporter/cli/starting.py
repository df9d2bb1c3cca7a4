"""What commands begin with: defaults, the settings, and when to end."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from pathlib import Path

from msgspec import structs

from exporter.config import Settings, load
from exporter.errors import ConfigError

DEFAULT_CONFIG = Path("/etc/thinpool-exporter/config.yml")
DEFAULT_ADDRESS = ":10128"


def settings_of(options: argparse.Namespace) -> Settings:
    """Read the configuration, and what overrides it. Raises ConfigError."""
    path = options.config_file or DEFAULT_CONFIG
    try:
        settings = load(path, required=options.config_file is not None)
    except ConfigError as error:
        raise ConfigError([_named(path, fault) for fault in error.faults]) from error
    if options.guard_mode is None:
        return settings
    return structs.replace(
        settings, guard=structs.replace(settings.guard, mode=options.guard_mode)
    )


def _named(path: Path, fault: str) -> str:
    return fault if fault.startswith(f"{path}: ") else f"{path}: {fault}"


def stop_on_signals() -> threading.Event:
    """Return what is set when this process is told to end.

    A thread sets it: the handler interrupts this thread anywhere, also within the event's own
    lock, which it could then not take.
    """
    stop = threading.Event()
    told = os.eventfd(0, os.EFD_CLOEXEC)

    def wait() -> None:
        os.eventfd_read(told)
        stop.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.eventfd_write(told, 1))
    return stop
