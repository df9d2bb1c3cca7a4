"""Whether LVM can archive a VG's metadata, without which it changes nothing of the VG."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from exporter.command import Output
from exporter.errors import CommandFailedError, HostError
from exporter.sources.lvm_config import parse_config

Run = Callable[[Sequence[str]], Output]

KEYS = ("backup/archive", "backup/archive_dir")
DEFAULT_DIRECTORY = "/etc/lvm/archive"
NOT_UNDERSTOOD = frozenset({2, 3})  # no such command, no such option
# A PV's metadata area, by default: no archive that LVM writes is larger.
PROBE_BYTES = 1024 * 1024


def argv_archive(lvm: str) -> tuple[str, ...]:
    """Ask for the settings in force."""
    return (lvm, "lvmconfig", "--type", "full", *KEYS)


def argv_archive_set(lvm: str) -> tuple[str, ...]:
    """Ask for what is set, of an LVM without `lvmconfig --type full` (before 2.02.123)."""
    return (lvm, "dumpconfig")


def parse_archive_set(text: str) -> Path | None:
    """Find the same in all settings that are no defaults. Raises ParseError."""
    settings = parse_config(text, source="dumpconfig")
    if settings.get(KEYS[0]) == "0":
        return None
    return Path(settings.get(KEYS[1], DEFAULT_DIRECTORY))


def parse_archive(text: str) -> Path | None:
    """Find the directory in `archive=1` and `archive_dir="/etc/lvm/archive"`; None if unused.

    Source: lvmconfig(8).
    """
    directory = re.search(r'^[ \t]*archive_dir="([^\0\n]+)"$', text, re.MULTILINE)
    is_off = re.search(r"^[ \t]*archive=0$", text, re.MULTILINE)
    return Path(directory[1]) if directory and not is_off else None


def can_archive(run: Run, lvm: str) -> bool:
    """Try what LVM has to do: write a file there. False also where that is not known."""
    try:
        directory = _read_directory(run, lvm)
        return directory is None or _can_write(directory)
    except (HostError, OSError, ValueError):  # the last for a null byte in its name
        return False


def _read_directory(run: Run, lvm: str) -> Path | None:
    try:
        return parse_archive(run(argv_archive(lvm)).stdout)
    except CommandFailedError as error:
        if error.status not in NOT_UNDERSTOOD:
            raise
    return parse_archive_set(run(argv_archive_set(lvm)).stdout)


def _can_write(directory: Path) -> bool:
    """Write as much as an archive may need; a full or read-only file system raises OSError."""
    while not directory.exists():
        directory = directory.parent  # LVM makes what is missing
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()
    return True
