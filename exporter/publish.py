"""The Snapshot file: all that passes from the guard's process to the web side's.

One JSON object, `{"format": 1, "program": "0.4.0", "snapshot": {…}}`, replaced whole, so that
a reader sees the old one or the new one. Fields that a reader does not know are passed over;
where a field changes its meaning `format` is raised, and an older reader says so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from exporter import __version__
from exporter.errors import ExporterError, quote
from exporter.model import Snapshot
from exporter.textfile import write_state_file

Kind = TypeVar("Kind")

FILE_NAME = "snapshot.json"
FORMAT = 1
# A hundred pools with their VGs take 200 kB.
MAX_BYTES = 32 * 1024 * 1024
# Its group is the web side's: who may ask for the metrics is for that side to decide.
MODE = 0o640


class PublishedError(ExporterError):
    """The Snapshot file is missing, or is nothing that this version can read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


class _Header(Struct, frozen=True):
    """What every format has."""

    format: int
    program: str


class _Envelope(_Header, frozen=True):
    snapshot: Snapshot


class SnapshotWriter:
    """Publishes; one process alone, the guard."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME

    def write(self, snapshot: Snapshot) -> None:
        """Replace the file; make its directory if it is missing. Raises ExporterError."""
        raw = encode(snapshot)
        if len(raw) > MAX_BYTES:
            raise PublishedError(self._path, f"{len(raw)} bytes are more than readers take")
        write_state_file(self._path, raw, mode=MODE)


def encode(snapshot: Snapshot) -> bytes:
    """Encode; a name of a file that is no UTF-8 must not keep all the rest from readers."""
    envelope = _Envelope(FORMAT, __version__, snapshot)
    try:
        return msgspec.json.encode(envelope)
    except UnicodeEncodeError:
        return msgspec.json.encode(_visible(msgspec.to_builtins(envelope)))


def _visible(value: object) -> object:
    if isinstance(value, dict):
        return {_visible(name): _visible(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_visible(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


class SnapshotReader:
    """Follows the file: `snapshot` is the last good one, `error` what the last look met."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._seen: tuple[int, ...] = ()
        self.snapshot: Snapshot | None = None
        self.error: PublishedError | None = None

    def look(self) -> bool:
        """Read the file if it is another than last time; whether there is a new Snapshot."""
        try:
            is_new = self._take()
        except PublishedError as error:
            self.error = error
            return False
        self.error = None
        return is_new

    def _take(self) -> bool:
        try:
            with self._path.open("rb") as file:
                identity = _identity(os.fstat(file.fileno()))
                if identity == self._seen:
                    if self.error:
                        raise self.error  # still the file that could not be read
                    return False
                self._seen = identity
                raw = file.read(MAX_BYTES + 1)
        except OSError as error:
            self._seen = ()
            raise PublishedError(self._path, _reason(error)) from error
        self.snapshot = decode(raw, self._path)
        return True


def decode(raw: bytes, path: Path) -> Snapshot:
    """Read what `encode` has made; `path` is for messages. Raises PublishedError."""
    if len(raw) > MAX_BYTES:
        raise PublishedError(path, f"larger than {MAX_BYTES} bytes")
    header = _parse(raw, _Header, path)
    by = f"written by version {quote(header.program)} in format {header.format}"
    if header.format != FORMAT:
        here = f"this is version {__version__}, which reads format {FORMAT}"
        raise PublishedError(path, f"{by}, and {here}: restart both sides")
    return _parse(raw, _Envelope, path, by).snapshot


def _parse(raw: bytes, kind: type[Kind], path: Path, by: str = "") -> Kind:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = f"{by}, and not understood by version {__version__}" if by else "not a Snapshot"
        raise PublishedError(path, f"{what}: {quote(str(error))}") from error


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "not there: is thinpool-guard.service running?"
    if isinstance(error, PermissionError):
        return "may not be read: the web side must be in the file's group"
    return error.strerror or str(error)
