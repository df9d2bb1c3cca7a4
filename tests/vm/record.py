"""Record what the real LVM, device-mapper and Docker print, state by state.

Enters: a booted machine. Leaves: tests/recordings/RELEASE/STATE/, which holds of each
command its argv and status (commands.json) and its raw NAME.stdout and NAME.stderr, and
what our own readers of /proc, /sys and the ioctl saw at that moment (host.json).
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from exporter.command import CHILD_ENVIRONMENT
from exporter.manner import ENVIRONMENT
from exporter.sources import docker, lvm, policy
from tests.recordings import dmsetup
from tests.recordings.replay import ENGINE_DIRECTORIES, ENGINE_FILES
from tests.vm import faults, odd, payload, scenarios, versions
from tests.vm.image import cached_image
from tests.vm.machine import Hardware, Machine
from tests.vm.scenarios import Pool
from tests.vm.ssh import GuestCommandError, GuestTimeoutError

RECORDINGS = Path(__file__).parents[1] / "recordings"
READY, ABOVE = "ready", "above"  # snapshots of the machine
LVM, DOCKER = "/sbin/lvm", "/usr/bin/docker"
# Small disks: 20 % of a pool is written in a second.
HARDWARE = Hardware(disks=3, disk_size="1G")
DEADLINE_SECONDS = 60  # long past that of any command on a machine with nothing else to do
KILLED = 128 + 9  # timeout(1) after its -s KILL; null in commands.json
GUEST_FOLDER = "/run/recorded"
SMALL = Pool(data="200M", metadata="4M")
DM_NAME = "docker-thinpool"
QUIET = "--config activation/monitoring=0"
ARTICLE_STEPS = {
    "pv": "pvcreate {disk}",
    "vg": "vgcreate docker {disk}",
    "lvs": "lvcreate --wipesignatures y -n thinpool docker -l 95%VG; "
    "lvcreate --wipesignatures y -n thinpoolmeta docker -l 1%VG",
    "pool": "lvconvert -y --zero n -c 512K --thinpool docker/thinpool "
    "--poolmetadata docker/thinpoolmeta",
}
Commands = Mapping[str, Sequence[str]]
# Of each block device those that it lies on: `253:3 253:0 253:1`.
_BELOW = "cd /sys/dev/block && for n in *; do echo $n $(cat $n/slaves/*/dev 2>/dev/null); done"
_CURL = ("curl", "-s", "-i", "--raw", "--max-time", "10", "--unix-socket", "/run/docker.sock")
STORAGE: Commands = {
    "mountinfo": ("cat", "/proc/1/mountinfo"),
    "below": ("sh", "-c", _BELOW),
    "engine_files": ("tail", "-v", "-n", "+1", *ENGINE_FILES),
    "engine_directories": ("ls", "-d", *ENGINE_DIRECTORIES),
    # as we ask, and as Go answers to everybody else
    "info_http10": (*_CURL, "--http1.0", "http://docker/info"),
    "info_http11": (*_CURL, "http://docker/info"),
    "ping_http10": (*_CURL, "--http1.0", "http://docker/_ping"),
}

# What our own readers see, by the installed program; the loop devices' space moves.
_SEEN = """
import json, msgspec
from exporter.devmapper import IoctlKernel
from exporter.sources import dmeventd, loop
devices = IoctlKernel().devices()
numbers = {word for device in devices for word in device.table.split()[:2] if ":" in word}
files = loop.LoopFiles()
loops = {number: files.read(number) for number in sorted(numbers)}
seen = {"dmeventd": dmeventd.read(), "loops": {n: l for n, l in loops.items() if l},
        "ioctl": devices}
print(json.dumps(msgspec.to_builtins(seen), indent=1))
"""


class Recorder:
    """Runs commands in the guest as the program does, and keeps what they printed."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self.machine = machine
        self._directory = directory

    def state(
        self,
        name: str,
        *,
        has_docker: bool = False,
        asks_dmeventd: bool | None = None,
        doubted: str = "",
        has_storage: bool = False,
    ) -> None:
        """Record every command that is parsed; seg_monitor only while dmeventd lives.

        A VG that is partial (`doubted`) is read again, without LVM's hints.
        """
        if asks_dmeventd is None:
            asks_dmeventd = scenarios.dmeventd_pid(self.machine) is not None
        folder = self._emptied(name)
        (folder / "host.json").write_text(self._seen())
        commands: dict[str, Sequence[str]] = {
            "lvs": lvm.argv_lvs(LVM),
            "vgs": lvm.argv_vgs(LVM),
            "pvs": lvm.argv_pvs(LVM),
            "version": policy.argv_version(LVM),
            "lvmconfig": policy.argv_lvmconfig(LVM, ""),
            # for people and for judging our parsers
            **dmsetup.COMMANDS,
            "plain_dmsetup_table": (dmsetup.PROGRAM, "table"),
            "plain_dmsetup_status": (dmsetup.PROGRAM, "status", "--noflush"),
            "plain_lvs": (LVM, "lvs", "-a", *(("-o+seg_monitor",) if asks_dmeventd else ())),
        }
        for profile in self._profiles():
            commands[f"lvmconfig-{profile}"] = policy.argv_lvmconfig(LVM, profile)
        if has_docker:
            commands["docker_info_json"] = docker.argv_info_json(DOCKER)
            commands["docker_info_text"] = docker.argv_info_text(DOCKER)
        if doubted:
            again = {
                "lvs": lvm.argv_lvs(LVM, (doubted,), is_hinted=False),
                "vgs": lvm.argv_vgs(LVM, (doubted,), is_hinted=False),
                "pvs": lvm.argv_pvs(LVM, lvm.UNLOCKED, is_hinted=False),
            }
            commands |= {f"{key}-{doubted}": argv for key, argv in again.items()}
        if has_storage:
            commands |= STORAGE
        if asks_dmeventd:
            commands["monitoring"] = lvm.argv_monitoring(LVM)
        self._run_all(folder, commands)

    def lvextend(self, name: str, *words: str) -> None:
        """Record one lvextend, started as the guard starts it."""
        folder = self._emptied(f"lvextend_{name}")
        self._run_all(folder, {"lvextend": (LVM, "lvextend", *words)}, ENVIRONMENT)

    def versions(self) -> None:
        """Record which programs these are."""
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "versions.json").write_text(_pretty(versions.words(self.machine)))

    def _emptied(self, name: str) -> Path:
        print(f"recording {name}", flush=True)  # noqa: T201 - progress
        folder = self._directory / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _seen(self) -> str:
        return self.machine.run((f"{payload.PREFIX}/bin/python", "-c", _SEEN)).stdout

    def _profiles(self) -> list[str]:
        """Name the profiles in use; without locks, as a pool may be suspended."""
        line = "lvs --nolocking --noheadings -o lv_profile; vgs --noheadings -o vg_profile"
        return sorted(set(self.machine.run(line, check=False).stdout.split()))

    def _run_all(
        self, folder: Path, commands: Commands, environment: Mapping[str, str] | None = None
    ) -> None:
        """Run the commands one after another, and keep what is not empty."""
        variables = CHILD_ENVIRONMENT | dict(environment or {})
        settings = (f"{name}={value}" for name, value in variables.items())
        prefix = ("timeout", "-s", "KILL", str(DEADLINE_SECONDS), "env", *settings)
        lines = [f"rm -rf {GUEST_FOLDER}; mkdir {GUEST_FOLDER}; cd {GUEST_FOLDER}"]
        lines += (
            f"{shlex.join((*prefix, *argv))} >{name}.stdout 2>{name}.stderr </dev/null; echo $?"
            for name, argv in commands.items()
        )
        many = DEADLINE_SECONDS * len(commands)
        statuses = self.machine.run("\n".join(lines), timeout_seconds=many).stdout.split()
        table = {
            name: {
                "status": None if int(status) == KILLED else int(status),
                "argv": shlex.join(argv),
            }
            for (name, argv), status in zip(commands.items(), statuses, strict=True)
        }
        (folder / "commands.json").write_text(_pretty(table))
        self.machine.run(f"find {GUEST_FOLDER} -size 0 -delete")
        self.machine.get(f"{GUEST_FOLDER}/.", folder)


def _pretty(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"


def _raw_volume(machine: Machine, thin_id: int = 1) -> str:
    """Make a thin device as Docker does: LVM does not know of it. 4 GiB."""
    machine.run(f"dmsetup message {DM_NAME} 0 'create_thin {thin_id}'")
    table = f"0 8388608 thin /dev/mapper/{DM_NAME} {thin_id}"
    machine.run(f"dmsetup create container1 --table '{table}'")
    return "/dev/mapper/container1"


def _wait_for_status(machine: Machine, words: str, seconds: float = 60) -> None:
    machine.wait_until(f"dmsetup status --noflush {DM_NAME} | grep -q '{words}'", seconds)


def _swap_table(machine: Machine, name: str, *lines: str) -> None:
    """Exchange what is under a device, its users unawares."""
    load = shlex.join(("printf", "%s\\n", *lines))
    machine.run(
        f"set -e; dmsetup suspend --noflush {name}; {load} | dmsetup load {name}; "
        f"dmsetup resume {name}"
    )


def no_pools(recorder: Recorder) -> None:
    """Record a host without any VG, and one whose VG has no pool."""
    machine = recorder.machine
    recorder.state("no_pools", has_docker=True)
    machine.run(f"vgcreate -qq data {machine.disk()}; lvcreate -qq -L 100M -n plain data")
    recorder.state("no_pools_in_vg")


def loop(recorder: Recorder) -> None:
    """Record Docker out of the box with devicemapper."""
    machine = recorder.machine
    if not machine.image.release.has_devicemapper:
        print("without loop_lvm: its Docker has no devicemapper")  # noqa: T201 - progress
        return
    scenarios.docker_loop_lvm(machine)
    scenarios.docker_import_busybox(machine)
    scenarios.docker_run(machine, "dd if=/dev/zero of=/f bs=1M count=50; sync", "--name=one")
    scenarios.docker_run(machine, "sleep 600", "--name=two", "-d")
    recorder.state("loop_lvm", has_docker=True)


def article(recorder: Recorder) -> None:
    """Record each step of the article, then what may come of its dmeventd."""
    machine = recorder.machine
    for name, words in ARTICLE_STEPS.items():
        line = words.format(disk=machine.disk())
        machine.run(line)
        recorder.state(f"article_{name}")
    scenarios.write_profile(machine, scenarios.ARTICLE_PROFILE, 80, 20)
    machine.run(f"lvchange --metadataprofile {scenarios.ARTICLE_PROFILE} docker/thinpool")
    recorder.state("article_profile")
    machine.run("lvs -o+seg_monitor; lvchange --monitor y docker/thinpool")
    recorder.state("article_monitored")
    if machine.image.release.has_devicemapper:
        scenarios.docker_direct_lvm(machine)
        scenarios.docker_import_busybox(machine)
        command = "dd if=/dev/urandom of=/f bs=1M count=50; sync; sleep 600"
        scenarios.docker_run(machine, command, "--name=writer", "-d")
        machine.wait_until("pgrep -x sleep", 60)
        machine.run(("dmsetup", "status", DM_NAME))  # flushes: counts that stand still
        recorder.state("article_docker", has_docker=True)
        machine.run("docker rm -f writer; systemctl stop docker.socket docker.service")
        recorder.state("docker_down", has_docker=True)
    else:
        print("without article_docker and docker_down: as loop_lvm")  # noqa: T201 - progress
    machine.run("lvchange --monitor n docker/thinpool")
    recorder.state("not_monitored")
    scenarios.mask_dmeventd(machine)
    recorder.state("dmeventd_absent")
    scenarios.without_dmeventd_binary(machine)
    recorder.state("dmeventd_binary_absent", asks_dmeventd=True)
    recorder.lvextend("dmeventd_binary_absent", "-l", "+1", "docker/thinpool")
    # Docker has left its own volumes in there, with small numbers.
    scenarios.fill(machine, _raw_volume(machine, 9999), 850)
    recorder.lvextend("policy_no_space", "--use-policies", "docker/thinpool")
    recorder.lvextend("no_space", "-l", "+100", "docker/thinpool")
    machine.run(f"lvextend -qq {QUIET} -l+100%FREE docker/thinpool")
    recorder.state("clamped")


def lvextend(recorder: Recorder) -> None:
    """Record what lvextend says to each kind of request; 50 extents of data, 1 of metadata."""
    machine = recorder.machine
    pool = scenarios.make_pool(machine, SMALL).name
    recorder.lvextend("same", "-l", "50", pool)
    recorder.lvextend("smaller", "-l", "45", pool)
    recorder.lvextend("metadata_same", "--poolmetadatasize", "4194304b", pool)
    recorder.lvextend("policy_below_threshold", "--use-policies", pool)
    recorder.lvextend("metadata", "--poolmetadatasize", "8388608b", pool)
    recorder.lvextend("metadata_smaller", "--poolmetadatasize", "4194304b", pool)
    recorder.lvextend("data", "-l", "55", pool)
    recorder.lvextend("both", "-l", "60", "--poolmetadatasize", "12582912b", pool)
    recorder.lvextend("both_same", "-l", "60", "--poolmetadatasize", "12582912b", pool)
    recorder.lvextend("data_metadata_same", "-l", "61", "--poolmetadatasize", "12582912b", pool)
    recorder.lvextend("metadata_data_same", "-l", "61", "--poolmetadatasize", "16777216b", pool)
    recorder.lvextend("metadata_rounded", "--poolmetadatasize", "17000448b", pool)
    recorder.lvextend("metadata_odd", "--poolmetadatasize", "17000000b", pool)
    recorder.lvextend("no_space_both", "-l", "230", "--poolmetadatasize", "83886080b", pool)
    recorder.lvextend("no_such_vg", "-l", "70", "nope/thinpool")
    recorder.lvextend("no_such_lv", "-l", "70", "docker/nope")
    scenarios.fill(machine, _raw_volume(machine), 220)
    recorder.lvextend("policy", "--use-policies", pool)


def profile_missing(recorder: Recorder) -> None:
    """Record a pool over its threshold whose profile's file is gone."""
    machine = recorder.machine
    pool = scenarios.make_pool(machine, SMALL).name
    scenarios.fill(machine, _raw_volume(machine), 170)
    machine.run(f"rm {scenarios.PROFILE_DIRECTORY}/{SMALL.profile_name}.profile")
    recorder.state("profile_missing")
    recorder.lvextend("policy_profile_missing", "--use-policies", pool)
    recorder.lvextend("profile_missing", "-l", "60", pool)


def inactive(recorder: Recorder) -> None:
    """Record a pool that is not active; LVM starts dmeventd as it takes the pool down."""
    machine = recorder.machine
    pool = scenarios.make_pool(machine, SMALL).name
    machine.run("vgchange -qq -an docker")
    recorder.state("inactive")
    recorder.lvextend("policy_inactive", "--use-policies", pool)
    recorder.lvextend("inactive", "-l", "60", pool)


def full(recorder: Recorder) -> None:
    """Record a pool that queues: over its threshold, suspended, full, and timed out."""
    machine = recorder.machine
    pool = Pool(data="200M", metadata="4M", error_when_full=False)
    scenarios.make_pool(machine, pool)
    volume = _raw_volume(machine)
    scenarios.fill(machine, volume, 170)
    recorder.state("above_threshold")
    machine.run(f"dmsetup suspend {DM_NAME}")
    recorder.state("suspended")
    machine.run(f"dmsetup resume {DM_NAME}")
    machine.start(scenarios.fill_command(volume, 220), unit="writer")
    _wait_for_status(machine, "out_of_data_space")
    recorder.state("full_queueing")
    _wait_for_status(machine, "error_if_no_space", 90)
    recorder.state("full_timed_out")
    recorder.lvextend("full", "-l", "60", pool.name)
    recorder.state("full_extended")


def full_error(recorder: Recorder) -> None:
    """Record a full pool that was told to fail writes."""
    scenarios.make_pool(recorder.machine, SMALL)
    scenarios.fill(recorder.machine, _raw_volume(recorder.machine), 220)
    recorder.state("full_error")


def metadata(recorder: Recorder) -> None:
    """Record metadata over its threshold, and then without any space."""
    machine = recorder.machine
    pool = scenarios.make_pool(machine, SMALL).name
    create = f'dmsetup message {DM_NAME} 0 "create_thin $i"'  # a block for each
    machine.run(f"for i in $(seq 700); do {create} || exit 1; done", timeout_seconds=300)
    recorder.state("metadata_above")
    machine.snapshot(ABOVE)
    recorder.lvextend("policy_metadata", "--use-policies", pool)
    machine.restore(ABOVE)
    machine.run(f"for i in $(seq 701 1000); do {create} || exit 0; done", timeout_seconds=300)
    recorder.state("metadata_full")
    recorder.lvextend("metadata_full", "--poolmetadatasize", "8388608b", pool)
    recorder.state("metadata_full_extended")


def needs_check(recorder: Recorder) -> None:
    """Record a pool whose metadata could not be written once."""
    machine = recorder.machine
    pool = scenarios.make_pool(machine, SMALL).name
    volume = _raw_volume(machine)
    scenarios.fill(machine, volume, 20)
    tmeta = f"{DM_NAME}_tmeta"
    sound = machine.run(("dmsetup", "table", tmeta)).stdout.strip()
    _, length, _, device, start = sound.split()
    # The superblock can be written, or the kernel could not note that a check is needed.
    mute = f"8 {int(length) - 8} flakey {device} {int(start) + 8} 0 3600 1 error_writes"
    _swap_table(machine, tmeta, f"0 8 linear {device} {start}", mute)
    scenarios.fill(machine, volume, 100, offset_mib=20)
    _swap_table(machine, tmeta, sound)
    recorder.state("needs_check")
    recorder.lvextend("needs_check", "-l", "60", pool)
    recorder.state("needs_check_extended")


def failed(recorder: Recorder) -> None:
    """Record a pool that the kernel has given up, as its metadata cannot be read."""
    machine = recorder.machine
    pool = scenarios.make_pool(machine, SMALL).name
    volume = _raw_volume(machine)
    tmeta = f"{DM_NAME}_tmeta"
    length = machine.run(("dmsetup", "table", tmeta)).stdout.split()[1]
    _swap_table(machine, tmeta, f"0 {length} error")
    scenarios.fill(machine, volume, 20)
    recorder.state("failed")
    recorder.lvextend("failed", "-l", "60", pool)
    recorder.lvextend("policy_failed", "--use-policies", pool)


def groups(recorder: Recorder) -> None:
    """Record several VGs, dashes in names, and a VG that was exported."""
    machine = recorder.machine
    scenarios.make_pool(machine, SMALL)
    other = Pool(vg="my-vg", lv="my-pool", disks=("data1",), data="100M", metadata="4M")
    scenarios.make_pool(machine, other)
    scenarios.make_volume(machine, other, "my-volume", "1G")
    machine.run("vgchange -qq --metadataprofile thin-performance docker")
    recorder.state("two_vgs")
    machine.run("vgchange -qq -an docker; vgexport -qq docker")
    recorder.state("exported_vg")
    recorder.lvextend("exported_vg", "-l", "60", "docker/thinpool")


def thins(recorder: Recorder) -> None:
    """Record LVM's own thin volumes; then a snapshot, an inactive one, the pool's LV down."""
    machine = recorder.machine
    pool = scenarios.make_pool(machine, SMALL)
    scenarios.fill(machine, scenarios.make_volume(machine, pool, "one", "1G"), 30)
    scenarios.make_volume(machine, pool, "two", "1G")
    recorder.state("lvm_thins")
    machine.run(f"lvcreate -qq {QUIET} -s -n snap docker/one")
    machine.run(f"lvchange -qq {QUIET} -an docker/two")
    recorder.state("lvm_thin_snapshot")
    machine.run(f"lvchange -qq {QUIET} -an docker/thinpool")
    recorder.state("pool_lv_inactive")


def layouts(recorder: Recorder) -> None:
    """Record pools whose data lies on several PVs: striped, mirrored, and in two segments."""
    machine = recorder.machine
    disks = " ".join(machine.disk(f"data{number}") for number in range(3))
    machine.run(f"vgcreate -qq docker {disks}")
    make = f"lvcreate -qq {QUIET} -Zn --type thin-pool -c 64K --poolmetadatasize 4M"
    machine.run(f"{make} -n striped -i 2 -L 96M docker")
    machine.run(f"{make} -n linear -L 100M docker")
    machine.run(
        "lvcreate -qq --type raid1 -m 1 -L 100M -n mirrored docker && "
        "lvcreate -qq --type raid1 -m 1 -L 4M -n meta docker && "
        f"lvconvert -qq -y -Zn {QUIET} -c 64K --thinpool docker/mirrored "
        "--poolmetadata docker/meta"
    )
    machine.run(f"lvextend -qq {QUIET} -l+20 docker/linear")
    recorder.state("striped_and_raid1")


def storage(recorder: Recorder) -> None:
    """Record engines whose data is on a thin volume, on an ordinary one, and in the pool."""
    machine = recorder.machine
    pool = scenarios.make_pool(machine, SMALL)
    volume = scenarios.make_volume(machine, pool)
    scenarios.mounted(machine, volume, "/srv/docker", "xfs")
    scenarios.docker_overlay(machine, "/srv/docker")
    recorder.state("storage_thin", has_docker=True, has_storage=True)
    machine.run("systemctl stop docker docker.socket", timeout_seconds=120)
    machine.run("lvcreate -qq -y -n plain -L 300M docker")
    scenarios.mounted(machine, "/dev/docker/plain", "/srv/plain")
    scenarios.docker_overlay(machine, "/srv/plain")
    scenarios.containerd_devmapper(machine, "docker-thinpool-tpool")
    recorder.state("storage_linear", has_docker=True, has_storage=True)
    if machine.image.release.has_devicemapper:
        machine.restore(READY)  # Docker takes no pool that LVM has ever had volumes in
        scenarios.make_pool(machine, SMALL)
        scenarios.docker_direct_lvm(machine)
        recorder.state("storage_devicemapper", has_docker=True, has_storage=True)


def partial(recorder: Recorder) -> None:
    """Record a VG after one of its disks has gone, which a pool's data was partly on."""
    machine = recorder.machine
    pool = Pool(disks=("data0", "data1"), data="1200M", metadata="4M")
    scenarios.make_pool(machine, pool)
    scenarios.make_pool(machine, Pool(lv="safe", data="100M", metadata="4M"))
    name = machine.run(("readlink", "-f", machine.disk("data1"))).stdout.strip()
    machine.run(f"echo 1 > /sys/block/{Path(name).name}/device/delete; udevadm settle")
    recorder.state("partial_vg", doubted="docker")
    recorder.lvextend("partial_vg", "-l", "+1", "docker/safe")


def odd_hosts(recorder: Recorder) -> None:
    """Record caches, thick snapshots and an external origin; then two VGs of one name."""
    machine = recorder.machine
    odd.prepared(machine)
    disk = faults.Disk(machine)
    faults.run(machine, *odd.cached(disk, "cached", "cache"))
    if machine.image.release.pools_on_writecache:
        faults.run(machine, *odd.cached(disk, "wcached", "writecache"))
    faults.run(machine, *odd.beside(disk))
    recorder.state("odd_layouts")
    machine.restore(READY)
    odd.prepared(machine)
    faults.run(machine, *odd.twins(faults.Disk(machine)))
    recorder.state("vgs_of_one_name")


def raw_pools(recorder: Recorder) -> None:
    """Record pools that LVM does not own, and PVs that are files, one of them deleted."""
    machine = recorder.machine
    odd.prepared(machine)
    disk = faults.Disk(machine)
    faults.run(machine, *odd.file_systems(machine.disk("data1")), *odd.containerd())
    faults.run(machine, *odd.on_partitions(machine.disk("data2")))
    faults.run(machine, *odd.on_logical_volumes(disk))
    faults.run(machine, *odd.on_file_partition("onpart", f"{odd.FILES}/disk"))
    gone = f"{odd.FILES}/gone"
    faults.run(machine, *odd.on_file("gone", gone), f"rm {gone}; sync -f {odd.FILES}")
    recorder.state("raw_pools")


WALKS: dict[str, Callable[[Recorder], None]] = {
    walk.__name__: walk
    for walk in (
        *(no_pools, loop, article, lvextend, profile_missing, inactive, full, full_error),
        *(metadata, needs_check, failed, groups, thins, layouts, storage, partial),
        *(odd_hosts, raw_pools),
    )
}


def record(machine: Machine, directory: Path, walks: Iterable[str]) -> int:
    """Make each walk from a fresh machine; count the walks that did not come to their end."""
    failed = 0
    recorder = Recorder(machine, directory)
    recorder.versions()
    for name in walks:
        machine.restore(READY)
        try:
            WALKS[name](recorder)
        except (GuestCommandError, GuestTimeoutError, TimeoutError) as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - its report
    return failed


def main() -> int:
    """Boot, record, and say what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", default="bookworm")
    parser.add_argument("--walk", action="append", choices=[*WALKS], help="only this one")
    chosen = parser.parse_args()
    with Machine(cached_image(chosen.release), HARDWARE) as machine:
        payload.install(machine)
        machine.snapshot(READY)
        failed = record(machine, RECORDINGS / chosen.release, chosen.walk or WALKS)
    print("UPDATE_GOLDEN=1 pytest tests/unit/test_recordings.py keeps what we read from it")  # noqa: T201 - its report
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
