"""The lock that keeps the host to one guard, and tells `check` that there is one.

It lies in /run, so that a reboot forgets it; the kernel drops it with the process. A guard
holds two locks on the file: flock(2) excludes other guards, and the lock of fcntl(2) can be
asked for without being taken, so that a `check` never stands in a guard's way.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from exporter.errors import ExporterError
from exporter.model import GuardNote

FILE_NAME = "guard.lock"
MAX_BYTES = 64 * 1024
# A guard that is being replaced takes a moment to end; so does a `check` on an old kernel.
PATIENCE_SECONDS = 1.0
PAUSE_SECONDS = 0.02
# struct flock of fcntl(2): type, whence, start, length, PID; padded to the struct's size.
FLOCK = struct.Struct("@hhqqi0q")
WHOLE_FILE = (os.SEEK_SET, 0, 0, 0)


class GuardRunningError(ExporterError):
    """Another guard already protects this host."""


class GuardLock:
    """Holds the lock from `take` until `release`, or until the process ends."""

    def __init__(
        self,
        directory: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._path = directory / FILE_NAME
        self._clock = clock
        self._sleep = sleep
        self._descriptor = -1

    def take(self, note: GuardNote) -> None:
        """Take the lock and leave the note in it; when it is held already, the note alone.

        Raises GuardRunningError when another guard holds it for PATIENCE_SECONDS, and
        OSError when the directory cannot be written or the file cannot be locked.
        """
        if self._descriptor >= 0:
            _write(self._descriptor, note)
            return
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._exclude_others(descriptor)
            # The note first: whoever finds the second lock reads this guard's note.
            _write(descriptor, note)
            _announce(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go of the lock; the file stays, empty of meaning without it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _exclude_others(self, descriptor: int) -> None:
        ends_at = self._clock() + PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if self._clock() >= ends_at:
                    raise GuardRunningError(
                        f"another guard holds {self._path}: "
                        "stop it, or run with --guard.mode=observe"
                    ) from error
                self._sleep(PAUSE_SECONDS)
            else:
                return


def running_guard(directory: Path) -> GuardNote | None:
    """Read the note of the guard that runs on this host, None if none does."""
    try:
        descriptor = os.open(directory / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _note(os.pread(descriptor, MAX_BYTES, 0)) if _is_held(descriptor) else None
    finally:
        os.close(descriptor)


def _write(descriptor: int, note: GuardNote) -> None:
    """Write in one piece: a reader never finds the file empty, or the end of a longer note."""
    before = os.fstat(descriptor).st_size
    os.pwrite(descriptor, msgspec.json.encode(note).ljust(before), 0)


def _announce(descriptor: int) -> None:
    # Linux before 3.15 has no such lock; `check` then asks for the other one.
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, FLOCK.pack(fcntl.F_WRLCK, *WHOLE_FILE))


def _is_held(descriptor: int) -> bool:
    """Return whether a living process holds the lock."""
    question = FLOCK.pack(fcntl.F_RDLCK, *WHOLE_FILE)
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, question)
    except OSError:  # Linux before 3.15
        return not _can_be_shared(descriptor)
    return bool(FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _can_be_shared(descriptor: int) -> bool:
    """Try the lock, until the descriptor is closed: a guard that starts meanwhile waits."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note(raw: bytes) -> GuardNote | None:
    try:
        return msgspec.json.decode(raw, type=GuardNote)
    except msgspec.DecodeError:
        return None
