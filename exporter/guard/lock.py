"""The lock that keeps the host to one guard, and tells `check` that there is one.

It lies in /run, so that a reboot forgets it; the kernel drops it when the process ends. It is a
record lock of fcntl(2): to take it needs write access, which only root has; `check` asks the
kernel which process holds it, and takes nothing itself.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from exporter.errors import ExporterError
from exporter.model import GuardNote

FILE_NAME = "guard.lock"
# Whoever can open the file can lock it, and so keep every guard from starting.
MODE = 0o600
FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
MAX_BYTES = 64 * 1024
# A guard that is being replaced takes a moment to end.
PATIENCE_SECONDS = 1.0
PAUSE_SECONDS = 0.02
# struct flock of fcntl(2): type, whence, start, length, PID; padded to the struct's size.
FLOCK = struct.Struct("@hhqqi0q")
WHOLE_FILE = (os.SEEK_SET, 0, 0, 0)

# Asked only when another guard holds the lock; seconds.
Patience = Callable[[], float]


class GuardRunningError(ExporterError):
    """Another guard already protects this host."""


class GuardLock:
    """Holds the lock from `take` until `release`, or until the process ends.

    One process, one GuardLock: the kernel drops a record lock when the process that holds it
    closes any descriptor of the file.
    """

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

    def take(self, note: GuardNote, patience: Patience = lambda: PATIENCE_SECONDS) -> None:
        """Take the lock and leave the note in it; if it is held already, the note alone.

        Raises GuardRunningError when another guard holds it for longer than `patience` says,
        and OSError when the directory cannot be written or the file cannot be locked.
        """
        if self._descriptor >= 0:
            _write(self._descriptor, note)
            return
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = self._locked(patience)
        try:
            _write(descriptor, note)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go of the lock; the file stays, empty of meaning without it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _locked(self, patience: Patience) -> int:
        """Open the file and lock it; returns the descriptor."""
        ends_at = None
        while True:
            with ExitStack() as opened:
                descriptor = os.open(self._path, FLAGS, MODE)
                opened.callback(os.close, descriptor)
                os.fchmod(descriptor, MODE)  # earlier versions let others read it
                if _try_to_lock(descriptor):
                    if _is_same_file(descriptor, self._path):
                        opened.pop_all()
                        return descriptor
                elif _conflict(descriptor, fcntl.F_WRLCK)[0] == fcntl.F_RDLCK:
                    # No guard, but a process that opened the file while it could.
                    self._path.unlink(missing_ok=True)
                elif ends_at is None:
                    ends_at = self._clock() + patience()
                elif self._clock() >= ends_at:
                    break
            self._sleep(PAUSE_SECONDS)
        raise GuardRunningError(
            f"another guard holds {self._path}: stop it, or run with --guard.mode=observe"
        )


def running_guard(directory: Path) -> GuardNote | None:
    """Read the note of the guard that runs on this host, None if none does.

    The note counts only if the process that holds the lock is the one that it names.
    """
    try:
        descriptor = os.open(directory / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        _, holder = _conflict(descriptor, fcntl.F_RDLCK)
        note = _note(os.pread(descriptor, MAX_BYTES, 0))
    finally:
        os.close(descriptor)
    return note if note and note.pid == holder else None


def _write(descriptor: int, note: GuardNote) -> None:
    """Write in one piece: a reader never finds the file empty, or the end of a longer note."""
    before = os.fstat(descriptor).st_size
    os.pwrite(descriptor, msgspec.json.encode(note).ljust(before), 0)


def _try_to_lock(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _conflict(descriptor: int, kind: int) -> tuple[int, int]:
    """Ask what keeps this process from a lock: its type (F_UNLCK: nothing), and its PID."""
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, FLOCK.pack(kind, *WHOLE_FILE))
    lock_type, *_, pid = FLOCK.unpack(answer)
    return lock_type, pid


def _is_same_file(descriptor: int, path: Path) -> bool:
    """Whether the path still leads to the open file, which somebody may have removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _note(raw: bytes) -> GuardNote | None:
    try:
        return msgspec.json.decode(raw, type=GuardNote)
    except msgspec.DecodeError:
        return None
