"""Writes a file so that a reader sees the old contents or the new, never a part."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from exporter.errors import ExporterError

MODE = 0o644  # node_exporter reads its textfile directory as another user


def write_atomically(
    path: Path, contents: bytes, *, mode: int = MODE, is_durable: bool = True
) -> None:
    """Write to a file beside `path` and rename it over. Raises ExporterError.

    Refuses to replace anything but a regular file, such as /dev/null or a link.
    """
    try:
        if not _is_replaceable(path):
            raise ExporterError(f"cannot write {path}: it exists and is not a regular file")
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(contents)
                file.flush()
                if is_durable:
                    os.fsync(descriptor)
                os.fchmod(descriptor, mode)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ExporterError(f"cannot write {path}: {error.strerror}") from error


def write_state_file(path: Path, contents: bytes, *, mode: int) -> None:
    """Write atomically to /run, and make the directory if it is missing.

    Does not wait for the disk: what a crash of the host loses is of no use after it.
    Raises ExporterError.
    """
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise ExporterError(f"cannot make {path.parent}: {error.strerror}") from error
    write_atomically(path, contents, mode=mode, is_durable=False)


def _is_replaceable(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True
