"""What this process uses of the host, from /proc."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import psutil

from exporter.model import ProcessFigures

# To count the open files takes longer than all else that a Snapshot needs.
LASTS_SECONDS = 10.0


class OwnProcess:
    """Reads this process's figures; for one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process = psutil.Process()
        self._figures: ProcessFigures | None = None
        self._read_at = float("-inf")

    def read(self) -> ProcessFigures | None:
        """Return the figures of the last LASTS_SECONDS; None where /proc does not tell."""
        if self._clock() >= self._read_at + LASTS_SECONDS:
            self._read_at = self._clock()
            try:
                self._figures = self._read()
            except (psutil.Error, OSError):
                self._figures = None
        return self._figures

    def _read(self) -> ProcessFigures:
        with self._process.oneshot():
            times, memory = self._process.cpu_times(), self._process.memory_info()
            return ProcessFigures(
                cpu_seconds=times.user + times.system,
                resident_bytes=memory.rss,
                virtual_bytes=memory.vms,
                started_at=self._process.create_time(),
                open_files=self._process.num_fds(),
                max_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            )
