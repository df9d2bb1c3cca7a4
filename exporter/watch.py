"""Notices that LVM's configuration or a profile has changed on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

FILES = ("lvm.conf", "lvmlocal.conf")
PROFILE_DIRECTORY = "profile"
Signature = frozenset[tuple[str, int, int, int]]


class ConfigurationWatch:
    """Compares what identifies the files' contents, without reading them."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._last = self._signature()

    def has_changed(self) -> bool:
        """Whether anything differs from the last time this was asked."""
        before, self._last = self._last, self._signature()
        return before != self._last

    def _signature(self) -> Signature:
        return frozenset(_signatures(self._environment))


def _signatures(environment: Mapping[str, str]) -> Iterator[tuple[str, int, int, int]]:
    for path in configuration_files(environment):
        try:
            status = path.stat()
        except OSError:
            continue  # gone: the others' signature differs without it
        yield str(path), status.st_mtime_ns, status.st_size, status.st_ino


def configuration_files(environment: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Name the files of LVM's configuration; the first ones need not exist."""
    directory = Path(environment.get("LVM_SYSTEM_DIR", "/etc/lvm"))
    yield from (directory / name for name in FILES)
    try:
        yield from sorted((directory / PROFILE_DIRECTORY).iterdir())
    except OSError:
        return
