"""The web process: serves what the guard's process publishes, and touches nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from exporter.errors import ExporterError
from exporter.events import Log
from exporter.log import supervise as supervise_log
from exporter.maintenance import MaintenanceFile
from exporter.model import Snapshot
from exporter.notify import SILENT, Notifier
from exporter.publish import SnapshotReader
from exporter.service.pacing import HEALTH_SECONDS, publish_pause
from exporter.service.serving import Serving, WebOptions


class Following:
    """Looks for a new Snapshot every second, and serves the last good one."""

    def __init__(self, directory: Path, options: WebOptions, *, log: Log) -> None:
        self._reader = SnapshotReader(directory)
        self._maintenance = MaintenanceFile(directory)
        self._served: Snapshot | None = None
        self._serving = Serving(options, fault=self._fault, log=log)
        self._log = log
        self._told: str | None = None
        self._is_serving_well = True
        self._follower: threading.Thread | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, once it does."""
        return self._serving.addresses

    def run(
        self,
        stop: threading.Event,
        on_ready: Callable[[], None] = lambda: None,
        *,
        notifier: Notifier = SILENT,
    ) -> None:
        """Serve until `stop` is set, and tell systemd that all parts live.

        Raises ListenError, or ExporterError if a part ends or hangs.
        """
        # Before the first answer: a scrape that has waited at systemd's socket finds it all.
        self._look()
        self._serving.start()
        try:
            self._start_follower(stop)
            on_ready()
            while not stop.wait(HEALTH_SECONDS):
                supervise_log()
                if why := self._serving.why_ended() or self._why_follower_ended():
                    raise ExporterError(f"{why}; its log line is above")
                notifier.alive()
        finally:
            stop.set()
            self._serving.stop()

    def _start_follower(self, stop: threading.Event) -> None:
        self._follower = threading.Thread(
            target=self._follow, args=(stop,), name="follow", daemon=True
        )
        try:
            self._follower.start()
        except RuntimeError as error:  # no more threads, or no memory
            message = f"the thread that reads Snapshots cannot start: {error}"
            raise ExporterError(message) from error

    def _why_follower_ended(self) -> str | None:
        is_alive = self._follower is not None and self._follower.is_alive()
        return None if is_alive else "the thread that reads Snapshots has ended"

    def _follow(self, stop: threading.Event) -> None:
        pause = 0.0
        while not stop.wait(pause):
            began = time.thread_time()
            self._look()
            pause = publish_pause(time.thread_time() - began, is_awaited=False)

    def _look(self) -> None:
        """Serve what is new, if anything is."""
        try:
            self._reader.look()
            # Also of a guard that has been stopped: it is what most work begins with.
            snapshot = self._reader.snapshot and self._maintenance.shown_in(
                self._reader.snapshot
            )
            if snapshot and snapshot != self._served:
                self._serving.take(snapshot)
                self._served = snapshot
                self._is_serving_well = True
        except Exception:  # noqa: BLE001 - the boundary: the next Snapshot may be better
            if self._is_serving_well:  # once: there is a Snapshot a second
                self._log.exception("snapshot_not_served")
            self._is_serving_well = False
        self._tell()

    def _fault(self) -> str:
        return str(self._reader.error or "")

    def _tell(self) -> None:
        """Log each change between good and bad once."""
        error = self._fault()
        if error == self._told:
            return
        if error:
            self._log.warning("snapshot_unreadable", error=error)
        else:
            self._log.info("snapshot_readable")
        self._told = error
