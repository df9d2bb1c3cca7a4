"""One process that collects, guards and serves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from exporter.collection import HostAccess
from exporter.config import Settings
from exporter.events import Log
from exporter.guard import Clocks
from exporter.guard.memory import MemoryFile
from exporter.maintenance import MaintenanceFile
from exporter.notify import SILENT, Notifier
from exporter.service.guarding import Guarding, Part
from exporter.service.reloading import Reloading
from exporter.service.serving import Serving, WebOptions


class Service:
    """Collector, guard and web side of one host."""

    def __init__(
        self,
        host: HostAccess,
        settings: Settings,
        web: WebOptions,
        *,
        reloading: Reloading,
        clocks: Clocks,
        log: Log,
    ) -> None:
        self._serving = Serving(web, log=log)
        self._guarding = Guarding(
            host,
            settings,
            publish=self._serving.take,
            reloading=reloading,
            clocks=clocks,
            log=log,
        )

    def remember_in(self, memory: Callable[[], MemoryFile | None]) -> None:
        """Keep through a restart what the guard must not forget; before `run`."""
        self._guarding.remember_in(memory)

    def tell(
        self, is_memory_locked: Callable[[], bool | None], maintenance: MaintenanceFile
    ) -> None:
        """Tell with each Snapshot how this process and the host are kept; before `run`."""
        self._guarding.is_memory_locked = is_memory_locked
        self._guarding.maintenance = maintenance.shown_in

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the web side listens, once it does."""
        return self._serving.addresses

    def run(
        self,
        stop: threading.Event,
        on_ready: Callable[[], None] = lambda: None,
        *,
        notifier: Notifier = SILENT,
        parts: Sequence[Part] = (),
    ) -> None:
        """Serve until `stop` is set. Raises ListenError, or ExporterError if a part ends.

        `parts` are other ones to watch: see Guarding.watch.
        """
        # First, so that a port that is taken is said before anything is touched.
        self._serving.start()
        try:
            self._guarding.start(stop)
            on_ready()
            self._guarding.watch(stop, notifier, parts=(self._serving.why_ended, *parts))
        finally:
            stop.set()
            self._guarding.stop()
            self._serving.stop()
