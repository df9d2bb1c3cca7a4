"""The harness itself: what the other tests of the machine rely on.

What they use of scenarios.py on the way (Docker, dmeventd) they prove themselves.
"""

from pathlib import Path

import pytest

from tests.vm import payload, scenarios
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool
from tests.vm.ssh import GuestCommandError, GuestTimeoutError


@pytest.mark.every_release
def test_boots_clean(machine: Machine) -> None:
    """LVM and the kernel answer, nothing failed, and nothing of the subject runs yet."""
    machine.run("systemctl start systemd-udevd; modprobe dm-thin-pool; lvm version")

    assert "0 loaded units listed" in machine.run("systemctl --failed --no-pager").stdout
    assert scenarios.dmeventd_pid(machine) is None
    assert not machine.is_active("docker")


def test_wheel_is_installed(machine: Machine) -> None:
    """The package imports in the guest under the environment that the tests use."""
    result = machine.run(f"cd / && {payload.PREFIX}/bin/python -c 'import exporter'")

    assert result.stderr == ""


@pytest.mark.every_release
def test_pool_is_real(machine: Machine) -> None:
    """A pool made by the helper shows in the kernel with the blocks that were asked for."""
    pool = scenarios.make_pool(machine)
    volume = scenarios.make_volume(machine, pool)
    scenarios.fill(machine, volume, 100)

    status = scenarios.dm_status(machine)["docker-thinpool-tpool"]

    assert (status.mode, status.total_data, status.used_data) == ("rw", 8000, 1600)
    assert not status.queues_when_full
    assert scenarios.dmeventd_pid(machine) is None


def test_full_pool_fails_the_writer(machine: Machine) -> None:
    """A writer beyond an error-when-full pool sees the error, and the kernel says why."""
    pool = scenarios.make_pool(machine, Pool(profile=None))
    volume = scenarios.make_volume(machine, pool)

    result = scenarios.fill(machine, volume, 600)

    assert result.returncode != 0
    assert scenarios.dm_status(machine)["docker-thinpool-tpool"].mode == "out_of_data_space"


def test_restore_gives_fresh_disks(machine: Machine) -> None:
    """After a restore nothing of a pool is left, and the clock is right."""
    scenarios.make_pool(machine)
    machine.write("/etc/trace", "x")

    machine.restore("ready")

    assert machine.run("pvs --noheadings; dmsetup ls").stdout.strip() == "No devices found"
    assert machine.run("test -e /etc/trace", check=False).returncode == 1
    drift = machine.run("echo $(( $(date +%s) - $(cat) ))", stdin=machine.host_time())
    assert abs(int(drift.stdout)) <= 3


def test_failures_carry_the_output(machine: Machine, tmp_path: Path) -> None:
    """A failed command names its output, a slow one its deadline; logs can be collected."""
    with pytest.raises(GuestCommandError, match="no such thing"):
        machine.run("echo no such thing >&2; exit 3")
    with pytest.raises(GuestTimeoutError):
        machine.run("sleep 5", timeout_seconds=0.5)
    unit = machine.start("echo from the unit; sleep 60")

    machine.wait_until(f"journalctl -u {unit} -o cat | grep -q 'from the unit'", 20)

    assert machine.is_active(unit)
    collected = machine.collect_logs(tmp_path).joinpath("journal.txt").read_text()
    assert "from the unit" in collected
