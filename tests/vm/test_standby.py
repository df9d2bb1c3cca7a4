"""An lvm that was started ahead does what a plain command does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.vm import payload, scenarios
from tests.vm.guest import CONFIG, Guest, running
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool

pytestmark = pytest.mark.every_release

SCRIPT = "/root/standby_guest.py"
POOL = Pool(data="100M", metadata="8M")
# The brackets keep the pattern from matching the command line that it stands in.
WAITING = "[l]vm /proc/self/fd/0"
LABELS = {"vg": "docker", "pool": "thinpool"}


def test_an_lvm_that_waits_answers_as_a_plain_one(machine: Machine) -> None:
    """Exit status, both streams and effect; also of a configuration changed meanwhile."""
    scenarios.mask_dmeventd(machine)
    scenarios.make_pool(machine, POOL)
    machine.put(Path(__file__).with_name("standby_guest.py"), SCRIPT)

    argv = (f"{payload.PREFIX}/bin/python", SCRIPT, POOL.name)
    report = json.loads(machine.run(argv, timeout_seconds=120).stdout)

    statuses = []
    for words, answer in report["answers"].items():
        assert answer["ready"] == answer["plain"], words
        statuses.append(answer["plain"][0])
    assert statuses == [5, 5, 5, 3, 2]
    assert report["grown"] == {"plain": [0, 0], "ready": [0, 0]}
    assert report["with_new"][0] == 0
    assert report["archived"]
    assert scenarios.dmeventd_pid(machine) is None


def test_the_guard_has_two_ready_and_uses_the_older_one(machine: Machine) -> None:
    """It does the extension, and two wait again afterwards."""
    scenarios.mask_dmeventd(machine)
    scenarios.make_pool(machine, POOL)
    volume = scenarios.make_volume(machine, POOL)
    machine.write(CONFIG, "guard: {anticipate: false}\n")
    with running(machine) as guest:
        first = waiting(machine, guest)
        machine.run(("kill", "-STOP", first))
        assert scenarios.fill(machine, volume, 85).returncode == 0
        machine.wait_until(f"journalctl -u {guest.unit} | grep -q '\"extending\"'", 20)
        assert scenarios.dm_status(machine)["docker-thinpool-tpool"].total_data == 1600

        machine.run(("kill", "-CONT", first))

        guest.wait_for(20, "thinpool_guard_extends_total", 1, device="data", **LABELS)
        machine.wait_until(f"! test -e /proc/{first}", 10)
        assert waiting(machine, guest) != first
    machine.wait_until("! pgrep -x lvm", 10)


def waiting(machine: Machine, guest: Guest) -> str:
    """Wait for both lvms that the guard has ready, and name the older one's process."""
    machine.wait_until(f"test $(pgrep -fc '{WAITING}') = 2", 30)
    assert machine.is_active(guest.unit)
    return machine.run(("pgrep", "-o", "-f", WAITING)).stdout.strip()
