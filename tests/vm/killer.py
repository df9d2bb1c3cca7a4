"""Kill the guard over and over while a pool fills: `python killer.py UNIT DEVICE KILLS SEED`.

Runs in the guest, on the environment of the installed program. Every other kill is aimed
at an lvextend under way, the rest come at any time; systemd starts the guard anew.
Each change of the pool's size is noted with the usage at that moment. Prints JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from exporter.devmapper import IoctlKernel
from exporter.sources.device_mapper import parse_pool_status

LOOK_SECONDS = 0.02
RESTART_SECONDS = 60.0
LONGEST_LIFE_SECONDS = 8.0
LONGEST_AIM_SECONDS = 60.0
LVEXTEND_SECONDS = 0.7
VG_LOCK = Path("/run/lock/lvm/V_docker")


class Watch(threading.Thread):
    """Notes every change of the pool's size, with the chunks in use when it was seen."""

    def __init__(self, device: str) -> None:
        super().__init__(daemon=True)
        self._kernel, self._device = IoctlKernel(), device
        self.sizes: list[tuple[int, int]] = []
        self.modes: set[str] = set()

    def run(self) -> None:
        """Look until the process ends."""
        while True:
            raw = self._kernel.status(self._device)
            status = parse_pool_status(raw.text, chunk_bytes=1) if raw and raw.text else None
            if status and status.data:
                self.modes.add(str(status.mode))
                if not self.sizes or self.sizes[-1][0] != status.data.total_blocks:
                    self.sizes.append((status.data.total_blocks, status.data.used_blocks))
            time.sleep(LOOK_SECONDS)


def main() -> None:
    """Kill until it is enough, and report."""
    unit, device, kills, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    watch = Watch(device)
    watch.start()
    aimed = 0
    dead = 0
    for number in range(kills):
        guard = wait_for_guard(unit, dead)
        if number % 2:
            time.sleep(chance.uniform(0, LONGEST_LIFE_SECONDS))
        else:
            wait_for_extension(chance)
        aimed += extending()
        os.kill(guard, signal.SIGKILL)
        dead = guard
    wait_for_guard(unit, dead)
    report = {
        "kills": kills,
        "while_extending": aimed,
        "sizes": watch.sizes,
        "modes": sorted(watch.modes),
    }
    sys.stdout.write(json.dumps(report))


def wait_for_guard(unit: str, dead: int) -> int:
    """Wait for the next guard to hold the lock of the one before."""
    ends_at = time.monotonic() + RESTART_SECONDS
    note = Path("/run/thinpool-exporter/guard.lock")
    while time.monotonic() < ends_at:
        argv = ("systemctl", "show", "--property=MainPID", "--value", unit)
        pid = int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
        if pid not in {0, dead} and note.exists() and f'"pid":{pid},' in note.read_text():
            return pid
        time.sleep(LOOK_SECONDS)
    raise SystemExit(f"no new guard within {RESTART_SECONDS:g} s")


def wait_for_extension(chance: random.Random) -> None:
    """Wait for an lvextend and a part of its time; one that does not come is not waited for."""
    ends_at = time.monotonic() + LONGEST_AIM_SECONDS
    while time.monotonic() < ends_at and not extending():
        time.sleep(LOOK_SECONDS)
    time.sleep(chance.uniform(0, LVEXTEND_SECONDS))


def extending() -> bool:
    """Whether an lvextend runs: nothing else here takes the VG's lock for writing."""
    try:
        inode = VG_LOCK.stat().st_ino
    except OSError:
        return False
    # "1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF"; "->" where it is waited for.
    locks = (
        line.replace("-> ", "").split() for line in Path("/proc/locks").read_text().splitlines()
    )
    return any(lock[3] == "WRITE" and lock[5].endswith(f":{inode}") for lock in locks)


if __name__ == "__main__":
    main()
