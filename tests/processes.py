"""Real processes that tests start, watch, and leave nothing of."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path


def shell(script: str) -> tuple[str, ...]:
    """Build the argv of a script."""
    return ("/bin/sh", "-c", script)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return letter not in {"Z", "X"}


@contextlib.contextmanager
def numbers_file(directory: Path) -> Iterator[Path]:
    """Name a file where children leave their numbers; none of them stays behind."""
    file = directory / "pid"
    yield file
    for pid in file.read_text().split() if file.exists() else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
