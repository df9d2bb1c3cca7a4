"""The lock that keeps the host to one guard, and tells `check` that there is one.

It lies in /run, so that a reboot forgets it; the kernel drops it with the process.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec

from exporter.errors import ExporterError
from exporter.model import GuardNote

FILE_NAME = "guard.lock"
MAX_BYTES = 64 * 1024


class GuardRunningError(ExporterError):
    """Another guard already protects this host."""


class GuardLock:
    """Holds the lock from `take` until `release`, or until the process ends."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._descriptor = -1

    def take(self, note: GuardNote) -> None:
        """Take the lock and leave the note in it; when it is held already, the note alone.

        Raises GuardRunningError when another guard holds it, and OSError when the
        directory cannot be written.
        """
        if self._descriptor >= 0:
            self._write(note)
            return
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise GuardRunningError(
                f"another guard holds {self._path}: stop it, or run with --guard.mode=observe"
            ) from error
        self._descriptor = descriptor
        self._write(note)

    def _write(self, note: GuardNote) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, msgspec.json.encode(note), 0)

    def release(self) -> None:
        """Let go of the lock; the file stays, empty of meaning without it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def running_guard(directory: Path) -> GuardNote | None:
    """Read the note of the guard that runs on this host, None if none does."""
    try:
        descriptor = os.open(directory / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _note(os.pread(descriptor, MAX_BYTES, 0))
    finally:
        os.close(descriptor)
    return None


def _note(raw: bytes) -> GuardNote | None:
    try:
        return msgspec.json.decode(raw, type=GuardNote)
    except msgspec.DecodeError:
        return None  # being written at this very moment
