"""Planned work on a host: until when its alerts are held back, and why.

The command `maintenance` writes a file, and every process that shows a Snapshot adds what the
file says. It lies in /run: a reboot ends the maintenance. The guard goes on extending pools.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import structs

from exporter.errors import ExporterError
from exporter.model import Maintenance, Snapshot
from exporter.textfile import write_state_file

FILE_NAME = "maintenance.json"
MODE = 0o644  # the web side's user reads it
MAX_BYTES = 4096
MAX_REASON_CHARACTERS = 200
MAX_SECONDS = 2.0**32  # since the epoch: the year 2106


class MaintenanceFile:
    """The file of one host, which need not exist."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._last: tuple[tuple[int, ...], Maintenance | None] = ((), None)

    def read(self) -> Maintenance | None:
        """Return what was set last, also if it is over; None without, or if it is unreadable.

        A file that is still the same is not read again.
        """
        try:
            found = self._path.stat()
            identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if self._last[0] != identity:
                self._last = (identity, self._load())
            return self._last[1]
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, maintenance: Maintenance) -> None:
        """Set it. Raises ExporterError."""
        write_state_file(self._path, msgspec.json.encode(maintenance), mode=MODE)

    def clear(self) -> None:
        """End it at once. Raises ExporterError."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise ExporterError(f"cannot remove {self._path}: {error.strerror}") from error

    def shown_in(self, snapshot: Snapshot) -> Snapshot:
        """Return the Snapshot with what the file says now."""
        found = self.read()
        if found == snapshot.maintenance:
            return snapshot
        return structs.replace(snapshot, maintenance=found)

    def _load(self) -> Maintenance:
        with self._path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise msgspec.DecodeError("too long")
            found = msgspec.json.decode(file.read(MAX_BYTES), type=Maintenance)
        if not 0 <= found.until <= MAX_SECONDS:
            raise msgspec.DecodeError("not a time")
        return found
