"""A host with Docker on a small pool, its group half empty, and both units at work."""

from __future__ import annotations

from collections.abc import Callable

from tests.vm import faults, scenarios, units
from tests.vm.guest import CONFIG
from tests.vm.machine import Machine
from tests.vm.runbook import Runbook
from tests.vm.scenarios import Pool
from tests.vm.units import GUARD
from tests.vm.waiting import wait_until

POOL = {"vg": "docker", "pool": "thinpool"}
DEVICE = "docker-thinpool"
SMALL = Pool(data="400M", metadata="4M", error_when_full=False)
GROUP_MIB = 1000
STEP_BYTES = 80 * faults.MIB
COLLECT = "collect: {lvm_interval: 2s, docker_interval: 5s, docker_deadline: 15s}\n"
ACT, OBSERVE = "auto", "observe"
PATIENCE_SECONDS = 60
KEPT = "/kept"


def configure(machine: Machine, mode: str = ACT, more: str = "") -> None:
    """Write the guard's configuration, and have a guard that runs read it."""
    machine.write(CONFIG, f"guard: {{mode: {mode}, anticipate: false}}\n{COLLECT}{more}")
    if machine.is_active(GUARD):
        machine.run(f"systemctl reload {GUARD}")


def make(machine: Machine) -> None:
    """Make a pool that half of its group is left for, Docker on it, and start both units."""
    faults.prepared(machine)
    faults.run(machine, faults.Disk(machine).group("docker", GROUP_MIB))
    scenarios.make_pool(machine, SMALL)
    scenarios.docker_direct_lvm(machine)
    scenarios.docker_import_busybox(machine)
    # What a repair must not lose.
    keep = f"test -e {KEPT} || dd if=/dev/urandom of={KEPT} bs=1M count=20; sync; md5sum {KEPT}"
    scenarios.docker_run(machine, keep, "--name=keeper")
    machine.use_steady_clock()
    configure(machine)
    units.start(machine)


def runbook(machine: Machine, name: str) -> Runbook:
    """Open the runbook of an alert on the pool."""
    return Runbook(machine, name, **POOL)


def plug(machine: Machine, leave_mib: int = 0) -> None:
    """Use up the volume group, but for so much."""
    size = scenarios.free_extents(machine) - leave_mib
    machine.run(f"lvcreate -qq -y {faults.QUIET} -n plug -l {size} docker")


def start_writer(machine: Machine, mib: int) -> None:
    """Have a container write to the pool; it ends well only if all of it is written."""
    command = f"dd if=/dev/zero of=/filling bs=1M count={mib} && sync"
    scenarios.docker_run(machine, command, "-d", "--name=writer")


def fill_to(machine: Machine, percent: int) -> None:
    """Fill the pool's data to so much, from a container that then ends."""
    status = scenarios.dm_status(machine)[DEVICE]
    wanted = (status.total_data or 0) * percent // 100 - (status.used_data or 0)
    start_writer(machine, wanted * 64 // 1024 + 1)
    machine.run("docker wait writer", timeout_seconds=120)


def kept(machine: Machine) -> bool:
    """Whether the file that was written first is read back as it was."""
    machine.run("docker start -a keeper", timeout_seconds=120)
    first, again = machine.run("docker logs keeper 2>/dev/null").stdout.splitlines()
    return first == again


def kernel_until(machine: Machine, holds: Callable[[scenarios.Status], bool]) -> None:
    """Wait for the kernel's status of the pool."""
    wait_until(
        lambda: holds(scenarios.dm_status(machine)[DEVICE]),
        deadline_seconds=PATIENCE_SECONDS,
        what="the pool's status",
    )
