"""A host at its limits: no memory, a full root file system, no journal, and a full pool.

The guard's own files are on that very pool, whose file system answers nothing while it
waits for space.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.vm import payload, scenarios
from tests.vm.guest import Guest, running
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool
from tests.vm.waiting import wait_until

pytestmark = pytest.mark.any_release

DM_NAME = "docker-thinpool-tpool"
SMALL = Pool(data="400M", metadata="4M", error_when_full=False)
WRITTEN_MIB = 500
LEFT_MIB = 64
READS_PER_SECOND = 30
# Through the file system that holds the program: what it cannot write it keeps locked.
WRITE = f"dd if=/dev/zero of={payload.PREFIX}/fill bs=1M count={WRITTEN_MIB} conv=fsync"
WRITER_SECONDS = 150.0
GUEST_SCRIPTS = "/run/pressure"
# Blocks that ext4 keeps for root included: what cannot be had at once is had by the block.
FILL_ROOT = """
size=$(df -B1 --output=avail / | tail -1); n=0
while [ $size -ge 4096 ]; do
  n=$((n + 1)); fallocate -l $size /var/filler$n || { rm -f /var/filler$n; size=$((size / 2)); }
done 2> /dev/null
! cat /dev/zero > /var/filler 2> /dev/null
! sh -c 'echo full > /etc/lvm/archive/probe' 2> /dev/null
"""


def put_script(machine: Machine, name: str) -> str:
    """Put a script from beside this file where the root file system is not needed."""
    path = f"{GUEST_SCRIPTS}/{name}"
    machine.write(path, Path(__file__).with_name(name).read_text())
    return path


def move_program_to_pool(machine: Machine) -> None:
    """Put the program's files on a volume of the pool; there each reading also writes."""
    device = scenarios.make_volume(machine, SMALL, "own", "2G")
    machine.run(
        f"mkfs.ext4 -q {device} && mount {device} /mnt && cp -a {payload.PREFIX}/. /mnt && "
        f"mkdir /mnt/tmp && umount /mnt && mount -o strictatime {device} {payload.PREFIX}",
        timeout_seconds=120,
    )


def pid_of(machine: Machine, unit: str) -> int:
    """Find a unit's process."""
    return int(machine.run(("systemctl", "show", "-P", "MainPID", unit)).stdout)


def status_kib(machine: Machine, pid: int, field: str) -> int:
    """Read a size from /proc/PID/status."""
    return int(machine.run(f"grep ^{field}: /proc/{pid}/status").stdout.split()[1])


@contextmanager
def no_journal(machine: Machine, pid: int) -> Iterator[None]:
    """Stop journald, and fill what leads to it from the process."""
    machine.run("systemctl kill -s STOP systemd-journald")
    machine.run(("python3", put_script(machine, "full_stderr.py"), str(pid)))
    try:
        yield
    finally:
        machine.run("systemctl kill -s CONT systemd-journald")


def press(machine: Machine) -> None:
    """Fill the root file system and the memory."""
    machine.run(FILL_ROOT, timeout_seconds=120)
    script = put_script(machine, "hog.py")
    machine.run(("systemd-run", "-q", "-p", "Restart=always", "python3", script, str(LEFT_MIB)))
    machine.wait_until(f"test $(free -m | awk '/Mem/ {{print $7}}') -lt {LEFT_MIB + 32}", 120)


def slow_disks(machine: Machine, unit: str) -> None:
    """Let the unit, and what it starts, read as from disks that everybody wants."""
    disks = ("/dev/vda", machine.disk())
    limits = (f"IOReadIOPSMax={disk} {READS_PER_SECOND}" for disk in disks)
    machine.run(("systemctl", "set-property", "--runtime", unit, *limits))


def forbid_locking(machine: Machine) -> None:
    """Let the program run as it does where its sandbox permits nothing of this."""
    text = "[Service]\nCapabilityBoundingSet=~CAP_IPC_LOCK CAP_SYS_RESOURCE\n"
    machine.write("/run/systemd/system/test-.service.d/forbid.conf", text)
    machine.run("systemctl daemon-reload")


@pytest.fixture
def on_its_own_pool(machine: Machine) -> Machine:
    """Install the program on the pool that it guards."""
    scenarios.mask_dmeventd(machine)
    scenarios.make_pool(machine, SMALL)
    move_program_to_pool(machine)
    return machine


def fill_under_pressure(machine: Machine, guest: Guest, pid: int, *, is_slow: bool) -> str:
    """Take everything from the host, fill the pool, and return how that ended."""
    with no_journal(machine, pid):
        press(machine)
        if is_slow:
            slow_disks(machine, guest.unit)
        writer = machine.start(WRITE)
        wait_until(
            lambda: not machine.is_active(writer),
            deadline_seconds=WRITER_SECONDS,
            what="the writer ends",
        )
    return machine.run(("systemctl", "show", "-P", "Result", writer)).stdout.strip()


@pytest.mark.parametrize(
    "is_slow", [False, pytest.param(True, marks=pytest.mark.campaign)], ids=["", "slow disks"]
)
def test_a_pressed_host_still_extends(on_its_own_pool: Machine, *, is_slow: bool) -> None:
    """The pool grows, and what fills it ends well."""
    machine = on_its_own_pool
    before = scenarios.dm_status(machine)[DM_NAME].total_data or 0

    with running(machine) as guest:
        pid = pid_of(machine, guest.unit)
        machine.wait_until(f"grep -q '/lvm$' /proc/{pid}/maps", 60)
        assert status_kib(machine, pid, "VmLck") > 0
        assert machine.read(f"/proc/{pid}/oom_score_adj").strip() == "-1000"
        result = fill_under_pressure(machine, guest, pid, is_slow=is_slow)
        machine.wait_until(f"journalctl -u {guest.unit} | grep -q vg_not_archived", 30)

    assert result == "success"
    assert (scenarios.dm_status(machine)[DM_NAME].total_data or 0) > before


@pytest.mark.campaign
def test_without_memory_of_its_own_it_is_too_late(on_its_own_pool: Machine) -> None:
    """What the test above shows is not there by itself: lvm is read anew, page by page."""
    machine = on_its_own_pool
    forbid_locking(machine)

    with running(machine) as guest:
        pid = pid_of(machine, guest.unit)
        assert status_kib(machine, pid, "VmLck") == 0
        result = fill_under_pressure(machine, guest, pid, is_slow=True)
        machine.wait_until(f"journalctl -u {guest.unit} | grep -q memory_not_locked", 30)

    assert result == "exit-code"
