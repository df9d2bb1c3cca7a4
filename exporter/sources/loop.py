"""The file under a loop device, and the free space of its file system."""

from __future__ import annotations

import os
import re
from pathlib import Path

from exporter.model import LoopBacking

LOOP_DEVICE = re.compile(r"7:([0-9]{1,10})")  # kernel admin-guide/devices.txt
DELETED = b" (deleted)"  # follows the name of such a file
MAX_NAME_BYTES = 4096  # the kernel writes one page


def read(device_number: str, sys_directory: Path = Path("/sys")) -> LoopBacking | None:
    """Describe the loop device with this number, None if it is no loop device.

    Free bytes are f_bfree times f_frsize, as Docker counts them: dockerd is root and may
    use the reserved blocks. None where the file cannot be reached.
    """
    match = LOOP_DEVICE.fullmatch(device_number)
    if not match:
        return None
    device = f"/dev/loop{match[1]}"
    try:
        with (sys_directory / "dev/block" / device_number / "loop/backing_file").open(
            "rb"
        ) as file:
            name = file.read(MAX_NAME_BYTES).removesuffix(b"\n").removesuffix(DELETED)
    except OSError:
        return LoopBacking(device=device, file=None, free_bytes=None)
    # The name of a file is bytes, and a record is text.
    shown = name.decode("utf-8", "backslashreplace")
    return LoopBacking(device=device, file=shown, free_bytes=_free_bytes(name))


def _free_bytes(file: bytes) -> int | None:
    try:
        figures = os.statvfs(file)
    except (OSError, ValueError):  # a null byte is in no name
        return None
    return figures.f_bfree * figures.f_frsize
