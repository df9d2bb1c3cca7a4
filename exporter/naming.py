"""Keeps the names of Docker's thin volumes: whose they are, and whether that is still so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import structlog

from exporter.model import VolumeOwner

RENAMED_SECONDS = 60.0  # a container may get another name
# After a failed reading, and twice as long after each further one, up to RENAMED_SECONDS.
FIRST_PAUSE_SECONDS = 5.0

ReadOwners = Callable[[Path, Iterable[str]], Mapping[str, VolumeOwner]]

log = structlog.get_logger(__name__)


def log_error(error: Exception) -> None:
    """Log a failed reading."""
    log.error("volume_names_not_read", error=str(error) or repr(error))


class VolumeNames:
    """Reads owners in a thread of its own: the files may lie on a disk that hangs.

    A reading that fails leaves the last owners, calls `on_error` and is repeated with a
    back-off.
    """

    def __init__(
        self,
        read: ReadOwners,
        clock: Callable[[], float],
        *,
        on_error: Callable[[Exception], object] = log_error,
    ) -> None:
        self._read = read
        self._clock = clock
        self._on_error = on_error
        self._thread: threading.Thread | None = None
        self._named: frozenset[str] = frozenset()
        self._due_at = float("-inf")
        self._failures = 0
        self.owners: Mapping[str, VolumeOwner] = {}

    def refresh(self, root: Path, devices: frozenset[str], *, wait_seconds: float) -> None:
        """Read the owners of these devices, if one is new or a name may have changed.

        Waits so long and no longer; as long as that reading goes on, there is no other.
        """
        is_new = devices != self._named and not self._failures
        is_reading = self._thread is not None and self._thread.is_alive()
        if is_reading or not (is_new or self._clock() >= self._due_at):
            return
        self._named, self._due_at = devices, self._clock() + RENAMED_SECONDS
        thread = threading.Thread(
            target=self._take, args=(root, devices), name="names", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or no memory
            self._fail(error)
            return
        self._thread = thread
        thread.join(wait_seconds)

    def _take(self, root: Path, devices: frozenset[str]) -> None:
        try:
            self.owners = self._read(root, devices) if devices else {}
        except Exception as error:  # noqa: BLE001 - the bulkhead of this thread
            self._fail(error)
        else:
            self._failures = 0

    def _fail(self, error: Exception) -> None:
        pause = FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures, 8)
        self._failures += 1
        self._due_at = self._clock() + min(pause, RENAMED_SECONDS)
        self._on_error(error)
