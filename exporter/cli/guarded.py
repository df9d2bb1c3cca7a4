"""What a process has that guards: the host, its lock, and settings that may change."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import structlog

from exporter.cli.host import real_host
from exporter.cli.restarts import lock_patience
from exporter.cli.starting import settings_of
from exporter.collection import HostAccess
from exporter.config import Settings
from exporter.guard.memory import MemoryFile
from exporter.residence import HostMemory, Residence
from exporter.service.guarding import Part
from exporter.service.protection import Protection
from exporter.service.reloading import Reloading

logger = structlog.get_logger("exporter")


class Guarded(NamedTuple):
    """A host that this process is the guard of, and the settings that it began with."""

    host: HostAccess
    settings: Settings
    reloading: Reloading
    memory: Callable[[], MemoryFile | None] = lambda: None
    parts: tuple[Part, ...] = ()  # to be watched beside the service's own
    is_memory_locked: Callable[[], bool | None] = lambda: None


@contextmanager
def protected(options: argparse.Namespace) -> Iterator[Guarded]:
    """Become the host's guard, with what it needs to act in every need, until the end."""
    settings = settings_of(options)
    host = real_host(settings)
    lvm = settings.commands.lvm
    residence = Residence(HostMemory(), host.runner, lvm, warn=logger.warning)
    protection = Protection(options.state, residence.start, log=logger)
    try:
        settings = protection.take(settings, lambda: lock_patience(options.unit))
        reloading = reload_on_signal(options, protection.take)
        yield Guarded(
            host,
            settings,
            reloading,
            lambda: protection.memory,
            (residence.supervise,),
            lambda: residence.is_locked,
        )
    finally:
        protection.release()


def reload_on_signal(
    options: argparse.Namespace,
    permit: Callable[[Settings], Settings] = lambda settings: settings,
) -> Reloading:
    """Have the configuration read again on SIGHUP."""
    reloading = Reloading(
        lambda: settings_of(options), permit=permit, wall_clock=time.time, log=logger
    )
    signal.signal(signal.SIGHUP, lambda *_: reloading.request())
    return reloading
