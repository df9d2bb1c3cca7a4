"""Notices that LVM's configuration, a profile, or a VG has changed on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

FILES = ("lvm.conf", "lvmlocal.conf")
PROFILE_DIRECTORY, BACKUP_DIRECTORY = "profile", "backup"
Signature = frozenset[tuple[str, int, int, int]]


class FilesWatch:
    """Compares what identifies the files' contents, without reading them."""

    def __init__(self, files: Callable[[], Iterable[Path]]) -> None:
        self._files = files
        self._last = self._signature()

    def has_changed(self) -> bool:
        """Whether anything differs from the last time this was asked."""
        return bool(self.changed())

    def changed(self) -> frozenset[str]:
        """Tell the names of the files that differ from the last time this was asked."""
        before, self._last = self._last, self._signature()
        return frozenset(Path(row[0]).name for row in before ^ self._last)

    def know(self, name: str) -> None:
        """Take the present state of the files of this name for the last that was asked of."""
        others = {row for row in self._last if Path(row[0]).name != name}
        present = {row for row in self._signature() if Path(row[0]).name == name}
        self._last = frozenset(others | present)

    def _signature(self) -> Signature:
        return frozenset(_signatures(self._files()))


def _signatures(files: Iterable[Path]) -> Iterator[tuple[str, int, int, int]]:
    for path in files:
        try:
            status = path.stat()
        except OSError:
            continue  # gone: the others' signature differs without it
        yield str(path), status.st_mtime_ns, status.st_size, status.st_ino


def configuration_files(environment: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Name the files of LVM's configuration; the first ones need not exist."""
    directory = _directory(environment)
    yield from (directory / name for name in FILES)
    yield from _entries(directory / PROFILE_DIRECTORY)


def backup_files(environment: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Name the files that LVM writes anew with every change of a VG, one for each.

    Nothing where its backup is switched off, or lies elsewhere: then only time tells.
    """
    yield from _entries(_directory(environment) / BACKUP_DIRECTORY)


def _directory(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("LVM_SYSTEM_DIR", "/etc/lvm"))


def _entries(directory: Path) -> Iterator[Path]:
    try:
        yield from sorted(directory.iterdir())
    except OSError:
        return
