"""Whether LVM can archive a VG's metadata, without which it changes nothing of the VG."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from exporter.command import Output
from exporter.errors import HostError

Run = Callable[[Sequence[str]], Output]

KEYS = ("backup/archive", "backup/archive_dir")
# A PV's metadata area, by default: no archive that LVM writes is larger.
PROBE_BYTES = 1024 * 1024


def argv_archive(lvm: str) -> tuple[str, ...]:
    """Ask for the settings in force."""
    return (lvm, "lvmconfig", "--type", "full", *KEYS)


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
        directory = parse_archive(run(argv_archive(lvm)).stdout)
        return directory is None or _can_write(directory)
    except (HostError, OSError):
        return False


def _can_write(directory: Path) -> bool:
    """Write as much as an archive may need; a full or read-only file system raises OSError."""
    while not directory.exists():
        directory = directory.parent  # LVM makes what is missing
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()
    return True
