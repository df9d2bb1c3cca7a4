"""Keeps the names of Docker's thin volumes: whose they are, and whether that is still so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from exporter.model import VolumeOwner

RENAMED_SECONDS = 60.0  # a container may get another name

ReadOwners = Callable[[Path, Iterable[str]], Mapping[str, VolumeOwner]]


class VolumeNames:
    """Reads owners in a thread of its own: the files may lie on a disk that hangs."""

    def __init__(self, read: ReadOwners, clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._named: frozenset[str] = frozenset()
        self._named_at = float("-inf")
        self.owners: Mapping[str, VolumeOwner] = {}

    def refresh(self, root: Path, devices: frozenset[str], *, wait_seconds: float) -> None:
        """Read the owners of these devices, where one is new or a name may have changed.

        Waits so long and no longer; as long as that reading goes on, there is no other.
        """
        is_recent = self._clock() < self._named_at + RENAMED_SECONDS
        is_reading = self._thread is not None and self._thread.is_alive()
        if is_reading or (devices == self._named and is_recent):
            return
        self._named, self._named_at = devices, self._clock()
        self._thread = threading.Thread(
            target=self._take, args=(root, devices), name="names", daemon=True
        )
        self._thread.start()
        self._thread.join(wait_seconds)

    def _take(self, root: Path, devices: frozenset[str]) -> None:
        self.owners = self._read(root, devices) if devices else {}
