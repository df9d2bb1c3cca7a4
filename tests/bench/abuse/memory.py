"""What a process takes of memory, from /proc/PID/smaps_rollup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

MIB = 1024.0  # smaps counts in KiB


class Memory(NamedTuple):
    """In MiB. What is unique (USS) is what the host gains when the process ends."""

    resident: float
    unique: float
    locked: float = 0.0

    def __str__(self) -> str:
        return f"RSS {self.resident:.1f} USS {self.unique:.1f} MiB"

    def at_most(self, other: Memory) -> Memory:
        """Take the larger of each figure."""
        return Memory(*map(max, self, other))


def memory_of(pid: int) -> Memory:
    """Read it."""
    return parse(Path(f"/proc/{pid}/smaps_rollup").read_text())


def parse(text: str) -> Memory:
    """Read a rollup.

    Shape: `Private_Dirty:      20 kB`. Source: proc_pid_smaps(5).
    """
    sizes = {name: int(size) / MIB for name, size in re.findall(r"(\w+): +(\d+) kB", text)}
    unique = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return Memory(resident=sizes["Rss"], unique=unique, locked=sizes.get("Locked", 0.0))
