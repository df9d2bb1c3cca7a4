"""Writes a file so that a reader sees the old contents or the new, never a part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from exporter.errors import ExporterError

MODE = 0o644  # node_exporter reads its textfile directory as another user


def write_atomically(
    path: Path, contents: bytes, *, mode: int = MODE, is_durable: bool = True
) -> None:
    """Write to a file beside `path` and rename it over. Raises ExporterError."""
    try:
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
