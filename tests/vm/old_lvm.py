"""Build an LVM of any age from its repository, and make of the guest a host that has it.

`python -m tests.vm.old_lvm v2_02_98 …` builds, boots, records into tests/recordings what
each of them prints, and says what differs from the guest's own LVM; test_old_lvm.py holds
against it. THINPOOL_LVM_SOURCE names another repository than sourceware's.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.vm import payload, scenarios
from tests.vm.guest import CONFIG
from tests.vm.image import cache_root, cached_image, exclusive
from tests.vm.machine import Machine

SOURCE = "https://sourceware.org/git/lvm2.git"
RECORDINGS = Path(__file__).parents[1] / "recordings"
# Of each kind that is read in a way of its own, the last; and the newest.
TAGS = (
    "v2_02_98",
    "v2_02_103",
    "v2_02_107",
    "v2_02_111",
    "v2_02_133",
    "v2_02_166",
    "v2_02_187",
    "v2_03_05",
    "v2_03_11",
    "v2_03_22",
    "v2_03_31",
    "v2_03_39",
)
BUILD_SECONDS = 3600
THIN_TOOLS = ("check", "dump", "repair", "restore")
CONFIGURE = (
    *("--with-thin=internal", "--enable-dmeventd", "--enable-cmdlib"),
    *("--disable-selinux", "--disable-readline", "--disable-nls", "--disable-udev_sync"),
    *("--with-confdir=/etc", "--with-default-run-dir=/run/lvm"),
    *("--with-default-locking-dir=/run/lock/lvm", "--with-default-dm-run-dir=/run"),
    *("--with-dmeventd-pidfile=/run/dmeventd.pid", "--with-default-pid-dir=/run"),
    *(f"--with-thin-{tool}=/usr/sbin/thin_{tool}" for tool in THIN_TOOLS),
)
# Today's compilers and C library take nothing of 2012 otherwise.
CFLAGS = "-O0 -w -fcommon -D_GNU_SOURCE -include sys/sysmacros.h"
# Of the libraries that its own libraries need as well: the guest has others of that name.
RPATH = "-Wl,--disable-new-dtags,-rpath,{0}/lib:{0}/lib/device-mapper"
STANDARDS = {"v2_02": "gnu89", "v2_03": "gnu99"}
GUEST_SCRIPT = "/root/old_lvm_guest.py"
THRESHOLD, CONFIGURED_STEP, PROFILED_STEP = 80, 20, 50
LVM_CONF = f"""\
global {{ use_lvmetad = 0 }}
activation {{
    # as of the time: a list that a parser must get past
    volume_list = [ "docker", "my-vg" ]
    thin_pool_autoextend_threshold = {THRESHOLD}
    thin_pool_autoextend_percent = {CONFIGURED_STEP}
    monitoring = 1
}}
"""
FIRST_MIB, MORE_MIB = 100, 75  # of 200: under the threshold, and then over it
POOL, OTHER_POOL, COLD_POOL = "docker/thinpool", "my-vg/my-pool", "docker/cold"
VOLUMES = ("/dev/mapper/docker-my--volume", "/dev/mapper/my--vg-my--volume")
QUIET = ("--config", "activation{monitoring=0}")


@dataclass(frozen=True, slots=True)
class OldLvm:
    """One LVM, built from its tag."""

    tag: str

    @property
    def version(self) -> str:
        """As `lvm version` says it: v2_02_98 is 2.02.98."""
        return self.tag.removeprefix("v").replace("_", ".")

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version to compare with."""
        return tuple(map(int, self.version.split(".")))

    @property
    def prefix(self) -> str:
        """Where it is in the guest."""
        return f"/opt/lvm-{self.version}"

    @property
    def lvm(self) -> str:
        """Its program in the guest."""
        return f"{self.prefix}/sbin/lvm"

    @property
    def has_profiles(self) -> bool:
        """Whether LVs and VGs can name one."""
        return self.numbers >= (2, 2, 99)

    @property
    def archive(self) -> Path:
        """Where it is kept once it is built."""
        return cache_root() / f"lvm-{self.version}.tar"

    def built(self) -> Path:
        """Build it, if it is not kept."""
        with exclusive(self.archive.with_suffix(".lock")):
            if not self.archive.exists():
                self._build()
        return self.archive

    def _build(self) -> None:
        with tempfile.TemporaryDirectory(prefix=f"lvm-{self.version}-") as name:
            tree, out = Path(name) / "tree", Path(name) / "out"
            source = os.environ.get("THINPOOL_LVM_SOURCE", SOURCE)
            _sh(
                *("git", "clone", "-q", "--depth=1", "--branch", self.tag, source, str(tree)),
                cwd=Path(name),
            )
            flags = f"{CFLAGS} -std={STANDARDS[self.tag[:5]]}"
            environment = {"CFLAGS": flags, "LDFLAGS": RPATH.format(self.prefix)}
            _sh("./configure", f"--prefix={self.prefix}", *CONFIGURE, cwd=tree, env=environment)
            _sh("make", cwd=tree)
            _sh("make", "install", f"DESTDIR={out}", cwd=tree)
            shutil.rmtree(out / self.prefix.lstrip("/") / "share", ignore_errors=True)
            _sh("tar", "-cf", str(self.archive), "-C", str(out), self.prefix[1:], cwd=tree)

    def install(self, machine: Machine) -> None:
        """Unpack it in the guest, and have the exporter use it."""
        machine.put(self.built(), "/root/lvm.tar")
        machine.run("tar -C / -xf /root/lvm.tar && rm /root/lvm.tar")
        machine.write(CONFIG, f"commands: {{lvm: {self.lvm}}}\n")


def _sh(*argv: str, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=os.environ | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{shlex.join(argv)}: {done.stderr[-2000:]}{done.stdout[-500:]}")


def make_host(machine: Machine, old: OldLvm) -> None:
    """Make two pools alike, by the old LVM itself, one of them with dashes; and a cold one.

    The first has a profile, the second its VG, where this LVM knows profiles.
    """
    machine.write("/etc/lvm/lvm.conf", LVM_CONF)
    machine.run("rm -f /etc/lvm/lvmlocal.conf; modprobe dm_thin_pool")
    scenarios.write_profile(machine, "old-profile", THRESHOLD, PROFILED_STEP)
    run = Commands(machine, old)
    for vg, disk in (("docker", "data0"), ("my-vg", "data1")):
        run("vgcreate", vg, machine.disk(disk))
    make = ("lvcreate", "-T", "-Zn", "-L", "200m", "--poolmetadatasize", "4m", "-c", "64k")
    for pool in (POOL, OTHER_POOL, COLD_POOL):
        run(*make, *QUIET, pool)
    for pool in (POOL, OTHER_POOL):
        run("lvcreate", *QUIET, "-V", "1g", "-n", "my-volume", "-T", pool)
    run("lvchange", *QUIET, "-an", COLD_POOL)
    if old.has_profiles:
        option = "--metadataprofile" if old.numbers >= (2, 2, 107) else "--profile"
        run("lvchange", *QUIET, option, "old-profile", POOL)
        run("vgchange", *QUIET, option, "old-profile", "my-vg")
    for device in VOLUMES:
        scenarios.fill(machine, device, FIRST_MIB)


def overfill(machine: Machine) -> None:
    """Bring both pools over their threshold."""
    for device in VOLUMES:
        scenarios.fill(machine, device, MORE_MIB, offset_mib=FIRST_MIB)


def monitor(machine: Machine, old: OldLvm) -> None:
    """Have the old LVM start its dmeventd, for the first pool alone."""
    Commands(machine, old)("lvchange", "--monitor", "y", POOL)


def end_dmeventd(machine: Machine) -> None:
    """End whatever dmeventd runs."""
    scenarios.mask_dmeventd(machine)


class Commands:
    """Runs commands of the old LVM in the guest."""

    def __init__(self, machine: Machine, old: OldLvm) -> None:
        self._machine, self._lvm = machine, old.lvm

    def __call__(self, *words: str) -> str:
        """Run one; failure raises."""
        return self._machine.run(("env", "LC_ALL=C", self._lvm, *words)).stdout


def read(machine: Machine, old: OldLvm, folder: Path) -> dict[str, object]:
    """Read by our sources in the guest: the old LVM's account, and its own LVM's.

    What the old one has printed goes into the folder, in the form of tests/recordings.
    """
    script = Path(__file__).with_name("old_lvm_guest.py")
    machine.run("dmsetup status")  # flushes: counts that stand still between the two accounts
    machine.write(GUEST_SCRIPT, script.read_text())
    argv = (f"{payload.PREFIX}/bin/python", GUEST_SCRIPT, old.lvm)
    seen = json.loads(machine.run(argv, timeout_seconds=120).stdout)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    table = {}
    for number, command in enumerate(seen.pop("commands")):
        name = f"{number:02}-{command['argv'][1]}"
        table[name] = {"status": command["status"], "argv": shlex.join(command["argv"])}
        for stream in ("stdout", "stderr"):
            if command[stream]:
                (folder / f"{name}.{stream}").write_text(command[stream])
    (folder / "commands.json").write_text(_pretty(table))
    for name, text in seen.pop("profiles").items():
        (folder / name).write_text(text)
    (folder / "host.json").write_text(_pretty(seen.pop("host")))
    (folder / "kernel.json").write_text(_pretty(seen["kernel"]))
    (folder / "reference.json").write_text(_pretty(seen["reference"]))
    return dict(seen)


def record(machine: Machine, old: OldLvm, directory: Path) -> list[dict[str, object]]:
    """Make the host and read it, without dmeventd and with it where it can be asked."""
    end_dmeventd(machine)
    old.install(machine)
    make_host(machine, old)
    seen = [read(machine, old, directory / "pools")]
    if old.has_profiles:  # and seg_monitor, of the same version
        monitor(machine, old)
        seen.append(read(machine, old, directory / "monitored"))
        end_dmeventd(machine)
    return seen


def _pretty(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def main(words: Sequence[str]) -> int:
    """Build and record the LVMs of these tags."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tags", nargs="*", default=TAGS)
    parser.add_argument("--build", action="store_true", help="build, and no more")
    chosen = parser.parse_args(words)
    lvms = [OldLvm(tag) for tag in chosen.tags]
    for old in lvms:
        print(old.built(), flush=True)  # noqa: T201 - progress
    if chosen.build:
        return 0
    with Machine(cached_image("bookworm")) as machine:
        payload.install(machine)
        machine.snapshot("ready")
        for old in lvms:
            machine.restore("ready")
            record(machine, old, RECORDINGS / f"lvm-{old.version}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
