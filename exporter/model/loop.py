"""The files under the loop devices that a pool lies on."""

from __future__ import annotations

from msgspec import Struct


class LoopFile(Struct, frozen=True, kw_only=True):
    """A loop device, and the file under it, as far as it can be reached from here.

    `free_bytes` are those of the file's file system; `promised_bytes` what the file, being
    sparse, may still take from it. `file_system` is its number ("254:1").
    """

    device: str
    file: str | None = None
    is_deleted: bool = False
    file_system: str | None = None
    file_system_type: str | None = None
    free_bytes: int | None = None
    promised_bytes: int | None = None


class LoopBacking(Struct, frozen=True, kw_only=True):
    """Every loop device that a pool lies on, at whatever depth; at least one."""

    files: tuple[LoopFile, ...]

    @property
    def tightest(self) -> LoopFile:
        """The file whose file system lacks most of what is promised, or has least left."""
        return max(self.files, key=self._tightness)

    def _tightness(self, file: LoopFile) -> tuple[bool, int, int]:
        if file.free_bytes is None:
            return False, 0, 0
        return True, (self.promised_by(file) or 0) - file.free_bytes, file.promised_bytes or 0

    def promised_by(self, file: LoopFile) -> int | None:
        """Count what all files on this one's file system may still take; None if unknown."""
        if file.file_system is None:
            return file.promised_bytes
        shares = [
            other.promised_bytes
            for other in self.files
            if other.file_system == file.file_system
        ]
        known = [share for share in shares if share is not None]
        return sum(known) if len(known) == len(shares) else None

    @property
    def free_bytes(self) -> int | None:
        """What the tightest file system has left."""
        return self.tightest.free_bytes

    @property
    def promised_bytes(self) -> int | None:
        """What the pool's files may still take from the tightest file system."""
        return self.promised_by(self.tightest)

    def joined(self, other: LoopBacking | None) -> LoopBacking:
        """Add what lies under another device of the pool."""
        known = {file.device for file in self.files}
        more = other.files if other else ()
        return LoopBacking(
            files=(*self.files, *(file for file in more if file.device not in known))
        )
