"""The packages in the guest: upgraded, refused, removed, purged; the rpm below its own root.

The fixture has installed the present deb. What it is upgraded to is the same tree with a
higher version.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from systemd.package import build
from tests.vm import faults, scenarios, units
from tests.vm.guest import CONFIG, Guest
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool
from tests.vm.units import GUARD, WEB
from tests.vm.waiting import wait_until

NEWER = "99.0"
POOL = Pool(data="400M", metadata="4M")
GROWN_BLOCKS = 480 * 16
KEPT = "# mine\nguard: {anticipate: false}\n"
# Two minutes are what an installation takes where the machine is emulated and shared.
SECONDS = 240.0


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Build both packages of a version that is still to come."""
    tree = tmp_path_factory.mktemp("newer") / "tree"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "node_modules")
    shutil.copytree(build.ROOT, tree, ignore=ignored)
    (tree / "exporter/__init__.py").write_text(f'"""Newer."""\n\n__version__ = "{NEWER}"\n')
    argv = [sys.executable, "-m", "systemd.package.build", "--out", "dist"]
    subprocess.run(argv, cwd=tree, check=True)
    return {kind: path for kind in build.FORMATS for path in (tree / "dist").glob(f"*.{kind}")}


def names(machine: Machine) -> list[str]:
    """Find what is ours in the guest's file systems, apart from the packages themselves."""
    ours = r"\( -name '*thinpool-exporter*' -o -name '*thinpool-guard*' \)"
    found = machine.run(f"find / /run -xdev {ours} -not -path '/root/*'").stdout
    return sorted(found.splitlines())


def python_of(machine: Machine) -> str:
    """Find the Python that the environment was made with: the only one that will do."""
    return machine.run("readlink -f /opt/thinpool-exporter/bin/python").stdout.strip()


def version(machine: Machine) -> str:
    """Ask dpkg which version is installed, and in which state."""
    query = "dpkg-query -W -f '${Status} ${Version}' thinpool-exporter"
    return machine.run(query, check=False).stdout


@pytest.mark.every_release
def test_a_deb_from_its_upgrade_to_its_purge(
    machine: Machine, newer: Mapping[str, Path]
) -> None:
    """As README has it; nothing is lost on the way, and nothing stays in the end."""
    faults.prepared(machine)
    scenarios.make_pool(machine, POOL)
    scenarios.make_volume(machine, POOL)
    machine.write(CONFIG, KEPT)
    assert not machine.is_active(GUARD)
    units.start(machine)
    assert machine.is_active(GUARD)
    starts = machine.run("systemctl list-dependencies --plain multi-user.target").stdout
    assert GUARD in starts
    assert WEB in starts
    machine.put(newer["deb"], "/root/newer.deb")
    python = python_of(machine)

    an_upgrade_goes_on(machine)
    an_upgrade_without_a_python_is_refused(machine, python)
    removing_stops_and_purging_leaves_nothing(machine)
    an_installation_without_a_python_is_refused(machine, python)


def an_upgrade_goes_on(machine: Machine) -> None:
    """Upgrade while an lvextend waits for a lock: it goes on, and the configuration stays."""
    lock = "/run/lock/lvm/V_docker"
    holder = machine.start(f"exec flock -o {lock} sleep 600")
    machine.wait_until(f"! flock -n {lock} true", 30)
    assert scenarios.fill(machine, "/dev/docker/volume", 330).returncode == 0
    waiting = "grep -q -- '-> FLOCK  *ADVISORY  *WRITE' /proc/locks"
    machine.wait_until(waiting, 60)
    old = units.main_pid(machine, GUARD)

    machine.start("apt-get install -y /root/newer.deb", unit="upgrade")
    wait_until(
        lambda: units.main_pid(machine, GUARD) not in {0, old},
        deadline_seconds=SECONDS,
        what="the new guard",
    )
    machine.run(waiting)
    machine.stop(holder)
    wait_until(
        lambda: version(machine) == f"install ok installed {NEWER}",
        deadline_seconds=SECONDS,
        what="the upgrade",
    )

    web = Guest(machine, GUARD)
    web.wait_for(60, "thinpool_exporter_build_info", 1, version=NEWER)
    wait_until(
        lambda: (
            scenarios.dm_status(machine)["docker-thinpool-tpool"].total_data == GROWN_BLOCKS
        ),
        deadline_seconds=60,
        what="the extension that was under way",
    )
    assert machine.read(CONFIG) == KEPT
    environments = machine.run("ls /opt/thinpool-exporter.d").stdout.split()
    assert len(environments) == 1, environments
    assert machine.is_active(GUARD)
    assert machine.is_active(WEB)


def an_upgrade_without_a_python_is_refused(machine: Machine, python: str) -> None:
    """Try an upgrade: it ends before anything changes, and what runs goes on."""
    pid = units.main_pid(machine, GUARD)
    before = names(machine)
    machine.run(f"mv {python} {python}.away")

    refused = machine.run(
        "apt-get install -y --reinstall /root/newer.deb", check=False, timeout_seconds=SECONDS
    )

    machine.run(f"mv {python}.away {python}")
    assert refused.returncode != 0
    # On stdout, by apt's terminal.
    assert "it needs a Python of 3.10 to 3.14" in refused.stdout
    assert version(machine) == f"install ok installed {NEWER}"
    assert units.main_pid(machine, GUARD) == pid
    assert names(machine) == before
    assert machine.run("thinpool-exporter --version").stdout.split()[1] == NEWER


def removing_stops_and_purging_leaves_nothing(machine: Machine) -> None:
    """Do one after the other; the configuration is there until the second."""
    machine.run("apt-get remove -y thinpool-exporter", timeout_seconds=SECONDS)
    assert not machine.is_active(GUARD)
    assert not machine.is_active(WEB)
    assert machine.read(CONFIG) == KEPT
    assert machine.run("ls /opt").stdout == ""
    wanted = machine.run("ls /etc/systemd/system/multi-user.target.wants").stdout.split()
    assert {GUARD, WEB} <= {*wanted}, "it would come back unguarded"

    machine.run("apt-get purge -y thinpool-exporter", timeout_seconds=SECONDS)
    assert names(machine) == []
    assert machine.run("getent group thinpool-snapshot", check=False).returncode == 2


def an_installation_without_a_python_is_refused(machine: Machine, python: str) -> None:
    """Try it: nothing is left, not even a package that is half installed."""
    machine.run(f"mv {python} {python}.away")

    refused = machine.run(
        "apt-get install -y /root/newer.deb", check=False, timeout_seconds=SECONDS
    )

    assert refused.returncode != 0
    assert "Nothing has been changed" in refused.stdout
    assert "installed" not in version(machine).split()
    assert names(machine) == []


@pytest.mark.campaign
def test_an_rpm_below_a_root_of_its_own(
    machine: Machine, newer: Mapping[str, Path], tmp_path: Path
) -> None:
    """Without systemd, as when an image is made: upgraded, refused and erased."""
    (present,) = build.packages(tmp_path, build.project_wheel(tmp_path), formats=("rpm",))
    python = python_of(machine)
    machine.put(present, "/root/present.rpm")
    machine.put(newer["rpm"], "/root/newer.rpm")
    # The guest's own files, with what is done to them kept apart.
    machine.run(
        "dpkg --purge thinpool-exporter && cd /mnt && mkdir over root && "
        "mount -t tmpfs over over && mkdir over/upper over/work && "
        "mount -t overlay -o lowerdir=/,upperdir=over/upper,workdir=over/work over root"
    )

    def rpm(arguments: str, *, check: bool = True) -> str:
        line = f"rpm --root /mnt/root {arguments}"
        result = machine.run(line, check=check, timeout_seconds=SECONDS)
        return result.stderr if result.returncode else result.stdout

    # Its own scripts have nothing that those of the upgrade have not.
    rpm("-i --noscripts /root/present.rpm")
    machine.write(f"/mnt/root{CONFIG}", KEPT)
    rpm("-U /root/newer.rpm")
    assert (
        machine.run("chroot /mnt/root thinpool-exporter --version").stdout.split()[1] == NEWER
    )
    assert machine.read(f"/mnt/root{CONFIG}") == KEPT
    assert "thinpool-snapshot" in machine.read("/mnt/root/etc/group")

    machine.run(f"mv /mnt/root{python} /mnt/root{python}.away")
    refused = rpm("-U --force /root/newer.rpm", check=False)
    assert "it needs a Python of 3.10 to 3.14" in refused
    assert rpm("-q thinpool-exporter").startswith(f"thinpool-exporter-{NEWER}")
    machine.run("test -e /mnt/root/opt/thinpool-exporter/bin/thinpool-exporter")

    rpm("-e thinpool-exporter")
    left = machine.run(
        "find /mnt/root -name '*thinpool-exporter*' -not -path '/mnt/root/root/*'"
    )
    assert left.stdout.split() == ["/mnt/root/etc/thinpool-exporter"]
    assert machine.run("ls /mnt/root/etc/thinpool-exporter").stdout == "config.yml.rpmsave\n"
    assert machine.run("ls /mnt/root/opt").stdout == ""
