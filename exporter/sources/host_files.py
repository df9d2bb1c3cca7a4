"""The host's own small files: paths in, parsed values out; what cannot be read is a Problem."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from exporter.errors import HostError, ParseError
from exporter.model import Problem
from exporter.sources.mounts import visible

MAX_FILE_BYTES = 1024 * 1024

T = TypeVar("T")


class UnreadableFileError(HostError):
    """A file of the host could not be read, or is larger than such files are."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


class Places(Struct, frozen=True, kw_only=True):
    """Where the host's files are."""

    root: Path = Path("/")
    proc: Path = Path("/proc")
    sys: Path = Path("/sys")


class HostFiles:
    """Reads files below the host's root, and keeps what could not be read in `problems`."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.problems: list[Problem] = []

    def parsed(self, path: str, parse: Callable[[str], T]) -> T | None:
        """Read and parse a file; None without it, or where it says nothing."""
        file = self.at(path)
        try:
            return parse(visible(read_text(file, MAX_FILE_BYTES)))
        except FileNotFoundError:
            return None
        except (ParseError, UnreadableFileError) as error:
            self.problems.append(Problem(subject=path, message=str(error)))
            return None

    def exists(self, path: str) -> bool:
        """Whether there is such a file, or a link of that name."""
        return os.path.lexists(self.at(path))

    def at(self, path: str) -> Path:
        """Tell how a path of the host's is reached."""
        return self.places.root / path.lstrip("/")

    def globbed(self, pattern: str) -> Iterator[str]:
        """Name the host's files that a pattern without its leading slash means."""
        try:
            found = sorted(self.places.root.glob(pattern))
        except (OSError, ValueError, NotImplementedError):
            return
        for file in found:
            yield f"/{file.relative_to(self.places.root)}"


def read_text(file: Path, limit: int) -> str:
    """Read a file. Raises FileNotFoundError or UnreadableFileError."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(file) from error
    except OSError as error:
        raise UnreadableFileError(file, error.strerror or str(error)) from error
    if len(raw) > limit:
        raise UnreadableFileError(file, f"larger than {limit} bytes")
    return raw.decode("utf-8", "surrogateescape")
