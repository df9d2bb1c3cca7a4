"""What this process uses, by /proc."""

from __future__ import annotations

import time
from pathlib import Path

from exporter.simulation import ManualClock
from exporter.sources.own_process import LASTS_SECONDS, OwnProcess


def test_reads_what_proc_says() -> None:
    """Each figure is this process's."""
    found = OwnProcess().read()

    assert found is not None
    assert 0 < found.cpu_seconds < time.time() - found.started_at + 60
    assert 0 < found.resident_bytes < found.virtual_bytes
    assert 0 < found.open_files <= found.max_files
    assert found.open_files <= len([*Path("/proc/self/fd").iterdir()])
    assert 0 < time.time() - found.started_at < 24 * 3600


def test_is_not_read_for_each_snapshot() -> None:
    """To count open files takes longer than all the rest."""
    clock = ManualClock()
    process = OwnProcess(clock)
    first = process.read()
    assert process.read() is first

    clock.now += LASTS_SECONDS
    assert process.read() is not first
