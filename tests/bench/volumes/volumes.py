"""What it costs to know who fills a pool: one slow reading with 1,000 thin volumes.

Real devices in the machine; with and without the volumes' statuses, in turn, and beside them
dmsetup, which is asked for no more than these statuses.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.guard.table import say
from tests.bench.host import yardstick_seconds
from tests.vm import payload, scenarios
from tests.vm.image import cached_image
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool

GUEST = Path(__file__).with_name("guest.py")
POOL = Pool(data="400M", metadata="64M", profile=None)
VOLUMES = 1000
DEADLINE_SECONDS = 900
# Of a second of each fifteen on this machine's core: less than the guard takes at idle.
GOAL_SECONDS = 0.05


def measure() -> bool:
    """Measure; whether the reading keeps to its goal."""
    with Machine(cached_image("bookworm")) as machine:
        payload.install(machine)
        scenarios.mask_dmeventd(machine)
        scenarios.make_pool(machine, POOL)
        # Or it would look at each of a thousand new devices, for minutes.
        machine.run("systemctl stop 'systemd-udevd*'")
        machine.put(GUEST, "/root/guest.py")
        machine.put(Path(__file__).parents[1] / "host.py", "/root/host.py")
        python = f"{payload.PREFIX}/bin/python"
        argv = ("env", "PYTHONPATH=/root", python, "/root/guest.py", str(VOLUMES))
        result = machine.run(argv, timeout_seconds=DEADLINE_SECONDS)
    say(result.stdout.rstrip())
    slowness = _seconds(result.stdout, "yardstick") / yardstick_seconds()
    seconds = _seconds(result.stdout, "a whole reading") / slowness
    say(f"the emulated CPU runs Python {slowness:.1f} times slower than this one")
    say(f"a whole reading, by that: {1000 * seconds:.1f} ms (goal: {1000 * GOAL_SECONDS:g} ms)")
    return seconds <= GOAL_SECONDS


def _seconds(text: str, name: str) -> float:
    """Find a line's figure, which is in milliseconds."""
    line = next(line for line in text.splitlines() if line.startswith(name))
    return float(line.partition(": ")[2].split()[0]) / 1000
