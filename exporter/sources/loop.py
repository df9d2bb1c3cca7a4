"""The file under a loop device, and the free space of its file system."""

from __future__ import annotations

import os
from pathlib import Path

from exporter.model import LoopBacking

LOOP_MAJOR = "7"  # kernel admin-guide/devices.txt


def read(device_number: str, sys_directory: Path = Path("/sys")) -> LoopBacking | None:
    """Describe the loop device with this number, None if it is no loop device.

    Free bytes are f_bfree times f_frsize, as Docker counts them: dockerd is root and may
    use the reserved blocks. None where the file cannot be reached.
    """
    major, _, minor = device_number.partition(":")
    if major != LOOP_MAJOR:
        return None
    directory = sys_directory / "dev" / "block" / device_number / "loop"
    try:
        # A deleted file keeps its name with this suffix.
        file = (directory / "backing_file").read_text().rstrip("\n").removesuffix(" (deleted)")
    except OSError:
        return LoopBacking(device=f"/dev/loop{minor}", file=None, free_bytes=None)
    return LoopBacking(device=f"/dev/loop{minor}", file=file, free_bytes=_free_bytes(file))


def _free_bytes(file: str) -> int | None:
    try:
        figures = os.statvfs(file)
    except OSError:
        return None
    return figures.f_bfree * figures.f_frsize
