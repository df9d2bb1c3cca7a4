"""CPU that each daemon takes while nothing happens: with one pool, and with a hundred."""

from __future__ import annotations

from pathlib import Path

from tests.bench.guard import sides
from tests.bench.guard.sides import Side
from tests.bench.guard.table import Row, say
from tests.bench.host import yardstick_seconds
from tests.vm import payload, scenarios
from tests.vm.machine import Machine

GOALS = {1: 0.003, 100: 0.02}
SETTLE_SECONDS = 20
SECONDS = 60
VG = "docker"
PROFILE = "idle"
# Clock ticks of user and system time, a while apart, without anybody logging in meanwhile.
TICKS_APART = (
    "ticks() {{ sed 's/.*) //' /proc/{pid}/stat | awk '{{print $12 + $13}}'; }}; "
    "sleep {settle}; before=$(ticks); sleep {seconds}; after=$(ticks); "
    "echo $((after - before)) $(getconf CLK_TCK)"
)
YARDSTICK = "from host import yardstick_seconds; print(yardstick_seconds())"


def measure(machine: Machine) -> list[Row]:
    """Measure both daemons on the same pools, one after the other."""
    slowness = yardstick_in(machine) / yardstick_seconds()
    say(f"the emulated CPU runs Python {slowness:.1f} times slower than this one")
    rows = []
    for count, goal in GOALS.items():
        make_pools(machine, count)
        ours, theirs = (share(machine, side) for side in Side)
        rows.append(
            Row(
                figure=f"own CPU at idle, {count} pool{'s' if count > 1 else ''}",
                goal=f"≤ {100 * goal:g} % of a core",
                ours=_account(ours, slowness),
                theirs=_account(theirs, slowness),
                is_met=ours / slowness <= goal,
            )
        )
    return rows


def yardstick_in(machine: Machine) -> float:
    """Time a fixed piece of Python in the guest."""
    machine.put(Path(__file__).parents[1] / "host.py", "/root/host.py")
    python = f"{payload.PREFIX}/bin/python"
    return float(machine.run(("env", "PYTHONPATH=/root", python, "-c", YARDSTICK)).stdout)


def make_pools(machine: Machine, count: int) -> None:
    """Make small pools that need nothing; one process, which saves half of the time."""
    sides.wipe(machine)
    disks = [machine.disk(disk) for disk in sides.DISKS]
    scenarios.write_profile(machine, PROFILE, 80, 20)
    machine.run(("vgcreate", "-qq", VG, *disks))
    options = f"--type thin-pool -L 8M --poolmetadatasize 4M -Zn --metadataprofile {PROFILE}"
    lines = [f"lvcreate {options} -n pool{number} {VG}\n" for number in range(count)]
    environment = "LVM_RUN_BY_DMEVENTD=1 LVM_SUPPRESS_FD_WARNINGS=1"
    machine.run(f"{environment} lvm", stdin="".join(lines), timeout_seconds=600)
    made = len(scenarios.dm_status(machine))
    assert made == count, f"{made} of {count} pools were made"


def share(machine: Machine, side: Side) -> float:
    """Let a daemon rest for a while; returns its share of one core without its children."""
    with sides.protected(machine, side, VG):
        pid = sides.daemon_pid(machine, side)
        line = TICKS_APART.format(pid=pid, settle=SETTLE_SECONDS, seconds=SECONDS)
        ticks, per_second = machine.run(line, timeout_seconds=200).stdout.split()
    used = int(ticks) / int(per_second) / SECONDS
    say(f"{side.value:8} {100 * used:.2f} % of an emulated core")
    return used


def _account(used: float, slowness: float) -> str:
    return f"{100 * used / slowness:.2f} % ({100 * used:.2f} % of the emulated one)"
