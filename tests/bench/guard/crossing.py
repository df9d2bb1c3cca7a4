"""One crossing of a threshold, watched in the kernel; runs in the guest, as a module.

`crossing.py fill DM DEVICE KIND PERCENT` fills the pool slowly until it crosses, and waits
until it has grown; `crossing.py command DM ARGV…` times a command instead. Both print
seconds as JSON. Both look as often, so that the looking costs both the same.
"""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from exporter.devmapper import IoctlKernel
from tests.vm import empty_thins

LOOK_SECONDS = 0.005
# Slow: the last blocks before the threshold, and whatever follows until the pool grows.
SLOW_SECONDS = 0.05
NEAR_PERCENT = 0.5
DEADLINE_SECONDS = 60.0
FIELDS = {"metadata": 1, "data": 2}


class Pool:
    """One pool's use, as often as one likes."""

    def __init__(self, name: str, kind: str) -> None:
        self._kernel = IoctlKernel()
        self._name = name
        self._field = FIELDS[kind]

    def usage(self) -> tuple[int, int]:
        """Read the used and all blocks of data or metadata."""
        device = self._kernel.device(self._name)
        assert device is not None
        assert device.status is not None
        used, total = device.status.split()[self._field].split("/")
        return int(used), int(total)


def fill(name: str, device: str, kind: str, percent: float) -> dict[str, float]:
    """Use block after block; returns how long after the crossing the pool had grown."""
    pool = Pool(name, kind)
    use = _data_writer(device, pool) if kind == "data" else _thin_maker(name)
    used, total = before = pool.usage()
    while 100 * used < (percent - NEAR_PERCENT) * total:
        use()
        used, _ = pool.usage()
    while 100 * used <= percent * total:
        use()
        time.sleep(LOOK_SECONDS)
        used, _ = pool.usage()
    crossed = time.monotonic()
    used_then = used
    next_use = crossed
    while pool.usage()[1] == total:
        if time.monotonic() > crossed + DEADLINE_SECONDS:
            raise TimeoutError(f"{name} did not grow: {before}, {pool.usage()}")
        if time.monotonic() > next_use:
            use()
            next_use = time.monotonic() + SLOW_SECONDS
        time.sleep(LOOK_SECONDS)
    grown = time.monotonic() - crossed
    return {"grown": grown, "used": used_then, "before": total, "after": pool.usage()[1]}


def command(name: str, kind: str, argv: Sequence[str]) -> dict[str, float]:
    """Run a command that extends the pool; returns when that showed, and when it ended."""
    pool = Pool(name, kind)
    _, total = pool.usage()
    began = time.monotonic()
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    grown = 0.0
    while child.poll() is None:
        if not grown and pool.usage()[1] != total:
            grown = time.monotonic() - began
        time.sleep(LOOK_SECONDS)
    ended = time.monotonic() - began
    if child.returncode or pool.usage()[1] == total:
        raise RuntimeError(f"{argv} ended with {child.returncode} and extended nothing")
    return {"grown": grown or ended, "ended": ended}


def _data_writer(device: str, pool: Pool) -> Callable[[], None]:
    """Write the volume's next chunk; nobody else writes, so that its use says where."""
    chunk = 512 * 1024
    descriptor = os.open(device, os.O_WRONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, chunk)  # O_DIRECT wants whole pages
    offset = pool.usage()[0] * chunk

    def use() -> None:
        nonlocal offset
        os.pwrite(descriptor, buffer, offset)
        offset += chunk

    return use


def _thin_maker(name: str) -> Callable[[], None]:
    """Make the next empty thin device, which takes a block of metadata or more."""
    control = Path("/dev/mapper/control").open("rb", buffering=0)  # noqa: SIM115 - to the end
    # Numbers of their own for each run: the process's, which never comes twice in a boot.
    number = os.getpid() * 4096 % empty_thins.LAST_ID

    def use() -> None:
        nonlocal number
        number += 1
        empty_thins.send(control, name, f"create_thin {number}")

    return use


def main() -> None:
    """Do as asked and print."""
    task, name, *rest = sys.argv[1:]
    if task == "fill":
        device, kind, percent = rest
        figures = fill(name, device, kind, float(percent))
    else:
        figures = command(name, rest[0], rest[1:])
    sys.stdout.write(f"{json.dumps(figures)}\n")


if __name__ == "__main__":
    main()
