"""The two units on a real host: start, stop and memory (`python -m tests.bench units`).

In the virtual machine, on one pool of the article's layout, from the installed package. Its
processor is emulated: what takes processor time is divided by how much slower the same
loop of Python is there than here, run beside it each time.
"""

from __future__ import annotations

import statistics
import urllib.request
from pathlib import Path

from tests.bench.abuse.memory import parse
from tests.bench.guard.table import say
from tests.bench.host import yardstick_seconds
from tests.vm import payload, scenarios, units
from tests.vm.image import cached_image
from tests.vm.machine import Machine

ROUNDS = 5
SCRAPES = 200
START_GOAL_SECONDS, STOP_GOAL_SECONDS, MEMORY_GOAL_MIB = 1.5, 2.0, 60.0
SCRAPE_SECONDS = 10.0
GUEST_SCRIPT = "/root/host.py"
YARDSTICK = (
    "import sys; sys.path.insert(0, '/root'); import host; print(host.yardstick_seconds())"
)


def measure() -> bool:
    """Measure and print everything; whether the goals are met."""
    with Machine(cached_image("bookworm")) as machine:
        payload.install(machine)
        machine.use_steady_clock()
        scenarios.mask_dmeventd(machine)
        scenarios.article_pool(machine)
        scenarios.stop_dmeventd(machine)
        machine.put(Path(__file__).with_name("host.py"), GUEST_SCRIPT)
        units.start(machine)
        return all((starts_and_stops(machine), memory(machine)))


def starts_and_stops(machine: Machine) -> bool:
    """Start the guard beside a bare lvs, and stop it; the web side runs all the while."""
    starts, lists, stops, slower = [], [], [], []
    for _ in range(ROUNDS):
        stops.append(seconds_of(machine, f"systemctl stop {units.GUARD}"))
        lists.append(seconds_of(machine, "lvs -a -o+seg_monitor"))
        starts.append(seconds_of(machine, f"systemctl start {units.GUARD}"))
        there = float(machine.run((f"{payload.PREFIX}/bin/python", "-c", YARDSTICK)).stdout)
        slower.append(there / yardstick_seconds())
    beyond = statistics.median(
        (start - listed) / factor
        for start, listed, factor in zip(starts, lists, slower, strict=True)
    )
    say(
        f"start to ready: {statistics.median(starts):.2f} s emulated, a bare lvs "
        f"{statistics.median(lists):.2f} s; Python is {statistics.median(slower):.1f} times "
        f"slower there: {beyond:.2f} s beyond lvs; stop: {max(stops):.2f} s at most, emulated"
    )
    return beyond <= START_GOAL_SECONDS and max(stops) < STOP_GOAL_SECONDS


def memory(machine: Machine) -> bool:
    """Say what each process takes after some scrapes, LVM's locked files included."""
    url = f"http://127.0.0.1:{machine.port()}/metrics"
    for _ in range(SCRAPES):
        with urllib.request.urlopen(url, timeout=SCRAPE_SECONDS) as answer:
            answer.read()
    guard, web = (
        parse(machine.read(f"/proc/{units.main_pid(machine, unit)}/smaps_rollup"))
        for unit in (units.GUARD, units.WEB)
    )
    together = guard.unique + web.unique
    say(f"guard {guard} ({guard.locked:.1f} locked), web {web}, together {together:.1f} MiB")
    return together <= MEMORY_GOAL_MIB


def seconds_of(machine: Machine, command: str) -> float:
    """Time a command in the guest, by its own clock."""
    clock = "cut -d' ' -f1 /proc/uptime"
    script = f"{clock}; {command} >/dev/null && {clock}"
    began, ended = machine.run(script, timeout_seconds=120).stdout.split()
    return float(ended) - float(began)
