"""What it costs an extension to wait for udev: lvextend with and without, in turn."""

from __future__ import annotations

from statistics import median

from exporter.manner import ENVIRONMENT
from tests.bench.guard import sides
from tests.bench.guard.race_trial import BUSY, IDLE, busy
from tests.bench.guard.table import say
from tests.vm import scenarios
from tests.vm.image import cached_image
from tests.vm.machine import Hardware, Machine

ROUNDS = 15
LVEXTEND = ("/sbin/lvm", "lvextend", "-qq")
WAITS, WAITS_NOT = (), ("--noudevsync",)
# As in systemd/thinpool-guard.service.
PRIORITY = ("--property=Nice=-15", "--property=CPUWeight=10000")
# The shell's own clock, so that the start of a unit does not count.
TIMED = 'began=$(date +%s%N); "$@" >/dev/null || exit; echo $(($(date +%s%N) - began))'


def measure() -> bool:
    """Measure on an idle guest and a busy one; whether waiting is no quicker."""
    met = []
    with Machine(cached_image("bookworm"), Hardware(is_preallocated=True)) as machine:
        scenarios.mask_dmeventd(machine)
        for guest in (IDLE, BUSY):
            with (
                sides.fresh_pool(machine, sides.SMALL),
                busy(machine, is_busy=guest == BUSY),
            ):
                waiting, not_waiting = _seconds(machine)
            say(
                f"{guest}: {_told(waiting)} waiting for udev, {_told(not_waiting)} without: "
                f"{median(waiting) / median(not_waiting):.1f} : 1"
            )
            met.append(median(waiting) >= median(not_waiting))
    return all(met)


def _seconds(machine: Machine) -> tuple[list[float], list[float]]:
    """Time extensions by an extent each, with and without the wait in turn."""
    taken: dict[tuple[str, ...], list[float]] = {WAITS: [], WAITS_NOT: []}
    extents = sides.SMALL_EXTENTS
    for _ in range(ROUNDS):
        for options, seconds in taken.items():
            extents += 1
            command = (*LVEXTEND, *options, "-l", str(extents), "docker/thinpool")
            seconds.append(_time(machine, command))
    return taken[WAITS], taken[WAITS_NOT]


def _time(machine: Machine, command: tuple[str, ...]) -> float:
    environment = [f"--setenv={name}={value}" for name, value in ENVIRONMENT.items()]
    unit = ("systemd-run", "--quiet", "--collect", "--wait", "--pipe", *PRIORITY, *environment)
    result = machine.run((*unit, "sh", "-c", TIMED, "sh", *command), timeout_seconds=120)
    return int(result.stdout) / 1e9


def _told(seconds: list[float]) -> str:
    return f"{median(seconds):.2f} s (median of {len(seconds)}; worst {max(seconds):.2f} s)"
