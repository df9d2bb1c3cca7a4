"""Set up real thin pools, profiles, dmeventd and Docker in the guest.

Every helper takes a booted machine and leaves a state that a person could have made with
the same commands; none of them imports the exporter, so they can judge it.
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.vm.machine import Machine
from tests.vm.ssh import Result

PROFILE_DIRECTORY = "/etc/lvm/profile"
DMEVENTD = "/sbin/dmeventd"  # which is in /usr where that has been merged
ARTICLE_PROFILE = "docker-thinpool"
DOCKER_POOL_DEVICE = "/dev/mapper/docker-thinpool"
_EMPTY_THINS = "/root/empty_thins.py"
BUSYBOX_IMAGE = "busybox:vm"
_UNMONITORED = "--config activation/monitoring=0"
_DOCKER_DEADLINE_SECONDS = 180.0
_CONTAINERD_STORE = {"containerd-snapshotter": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A thin pool to make. Its VG takes whole disks, so what data leaves is free."""

    vg: str = "docker"
    lv: str = "thinpool"
    disks: tuple[str, ...] = ("data0",)
    data: str = "500M"
    metadata: str = "8M"
    chunk: str = "64K"
    # (threshold, percent) of a profile attached to the pool, or no profile at all.
    profile: tuple[int, int] | None = (80, 20)
    error_when_full: bool = True
    has_spare: bool = True
    is_monitored: bool = False

    @property
    def name(self) -> str:
        """The pool as LVM's commands take it."""
        return f"{self.vg}/{self.lv}"

    @property
    def profile_name(self) -> str:
        """The profile that make_pool writes for the pool."""
        return f"{self.vg}-{self.lv}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One thin-pool line of `dmsetup status`; a failed pool has a mode and no usage."""

    name: str
    mode: str
    used_data: int | None = None
    total_data: int | None = None
    used_metadata: int | None = None
    total_metadata: int | None = None
    queues_when_full: bool | None = None
    needs_check: bool | None = None
    line: str = ""


def make_pool(machine: Machine, pool: Pool | None = None) -> Pool:
    """Make a thin pool and its VG; without is_monitored, dmeventd is not started by it."""
    pool = pool or Pool()
    quiet = "" if pool.is_monitored else _UNMONITORED
    disks = [machine.disk(disk) for disk in pool.disks]
    if machine.run(("vgs", pool.vg), check=False).returncode != 0:
        machine.run(("vgcreate", "-qq", pool.vg, *disks))
    spare = "y" if pool.has_spare else "n"
    machine.run(
        f"lvcreate -qq {quiet} --type thin-pool -n {pool.lv} -L {pool.data} -Zn "
        f"--poolmetadatasize {pool.metadata} --poolmetadataspare {spare} "
        f"--chunksize {pool.chunk} {pool.vg}"
    )
    if pool.error_when_full:
        machine.run(f"lvchange -qq {quiet} --errorwhenfull y {pool.name}")
    if pool.profile:
        write_profile(machine, pool.profile_name, *pool.profile)
        attach_profile(machine, pool.name, pool.profile_name)
    return pool


def make_volume(machine: Machine, pool: Pool, name: str = "volume", size: str = "4G") -> str:
    """Make a thin volume in the pool and return its device."""
    machine.run(
        f"lvcreate -qq {_UNMONITORED} -V {size} -n {name} --thinpool {pool.lv} {pool.vg}"
    )
    return f"/dev/{pool.vg}/{name}"


def write_profile(machine: Machine, name: str, threshold: int, percent: int) -> str:
    """Write an LVM profile that autoextends; return its path."""
    path = f"{PROFILE_DIRECTORY}/{name}.profile"
    text = (
        "activation {\n"
        f"\tthin_pool_autoextend_threshold={threshold}\n"
        f"\tthin_pool_autoextend_percent={percent}\n"
        "}\n"
    )
    machine.write(path, text)
    return path


def attach_profile(machine: Machine, pool_name: str, profile: str) -> None:
    """Attach a profile to a pool, as the article does, without waking dmeventd."""
    machine.run(f"lvchange -qq {_UNMONITORED} --metadataprofile {profile} {pool_name}")


def article_pool(machine: Machine, disk: str = "data0", *, size: str = "") -> Pool:
    """Follow the article's commands one by one; like there, LVM starts dmeventd itself.

    With a size the disk is taken to be no larger, so that it is filled sooner.
    """
    device = machine.disk(disk)
    smaller = ("-y", "--setphysicalvolumesize", size) if size else ()
    machine.run(("pvcreate", *smaller, device))
    machine.run(("vgcreate", "docker", device))
    machine.run("lvcreate --wipesignatures y -n thinpool docker -l 95%VG")
    machine.run("lvcreate --wipesignatures y -n thinpoolmeta docker -l 1%VG")
    machine.run(
        "lvconvert -y --zero n -c 512K --thinpool docker/thinpool "
        "--poolmetadata docker/thinpoolmeta"
    )
    write_profile(machine, ARTICLE_PROFILE, 80, 20)
    machine.run(f"lvchange --metadataprofile {ARTICLE_PROFILE} docker/thinpool")
    return Pool(disks=(disk,), data="95%VG", metadata="1%VG", chunk="512K", is_monitored=True)


def docker_loop_lvm(machine: Machine) -> str:
    """Start Docker as it comes out of the box with devicemapper: on loop devices."""
    machine.run(("modprobe", "loop"))
    return _start_docker(machine, ())


def docker_direct_lvm(machine: Machine, pool: str = DOCKER_POOL_DEVICE) -> str:
    """Start Docker on a thin pool of LVM's and return what `docker info` says."""
    return _start_docker(machine, (f"dm.thinpooldev={pool}", "dm.use_deferred_removal=true"))


def docker_on_devices(machine: Machine, data: str, metadata: str) -> str:
    """Start Docker on a pool that it makes itself of two devices, as before direct-lvm."""
    return _start_docker(machine, (f"dm.datadev={data}", f"dm.metadatadev={metadata}"))


def docker_overlay(machine: Machine, root: str = "/var/lib/docker") -> str:
    """Start Docker on a file system, by default that of the host."""
    return _start_docker(machine, (), driver="overlay2", root=root)


def docker_containerd_store(machine: Machine, snapshotter: str) -> str:
    """Start Docker with its images and containers in the host's containerd."""
    return _start_docker(machine, (), driver=snapshotter, features=_CONTAINERD_STORE)


def mounted(machine: Machine, device: str, directory: str, file_system: str = "ext4") -> str:
    """Make a file system and mount it; return the directory."""
    machine.run(f"mkfs.{file_system} -q {device}", timeout_seconds=120)
    machine.run(f"mkdir -p {directory}; mount {device} {directory}")
    return directory


def containerd_devmapper(machine: Machine, pool: str) -> None:
    """Start containerd with a snapshotter that makes its volumes in a pool."""
    machine.write(
        "/etc/containerd/config.toml",
        'version = 2\n[plugins."io.containerd.snapshotter.v1.devmapper"]\n'
        f'  pool_name = "{pool}"\n  base_image_size = "64MB"\n',
    )
    machine.run("systemctl restart containerd", timeout_seconds=_DOCKER_DEADLINE_SECONDS)


def podman_storage(machine: Machine, root: str) -> None:
    """Configure podman's storage; it has no daemon."""
    machine.write(
        "/etc/containers/storage.conf",
        f'[storage]\ndriver = "overlay"\ngraphroot = "{root}"\nrunroot = "/run/containers"\n',
    )


def _start_docker(
    machine: Machine,
    storage_options: Sequence[str],
    *,
    driver: str = "devicemapper",
    root: str = "/var/lib/docker",
    features: Mapping[str, bool] | None = None,
) -> str:
    """Configure and start dockerd; networks are left out, they are not the subject."""
    config: dict[str, object] = {
        "data-root": root,
        "storage-driver": driver,
        "storage-opts": list(storage_options),
        "iptables": False,
        "ip6tables": False,
        "bridge": "none",
    }
    if features:
        config["features"] = features
    machine.write("/etc/docker/daemon.json", json.dumps(config, indent=2))
    machine.run("systemctl start docker", timeout_seconds=_DOCKER_DEADLINE_SECONDS)
    return docker_info(machine)


def docker_info(machine: Machine) -> str:
    """Return `docker info` with the warnings that it prints beside it."""
    return machine.run("docker info 2>&1").stdout


def docker_import_busybox(machine: Machine, tag: str = BUSYBOX_IMAGE) -> str:
    """Make an image of the guest's static busybox, without any registry."""
    machine.run(
        "set -e; root=$(mktemp -d); mkdir -p $root/bin $root/tmp $root/etc; "
        "cp /bin/busybox $root/bin/; chroot $root /bin/busybox --install /bin; "
        f"tar -C $root -c . | docker import - {shlex.quote(tag)}; rm -rf $root",
        timeout_seconds=_DOCKER_DEADLINE_SECONDS,
    )
    return tag


def docker_run(
    machine: Machine, command: str, *options: str, image: str = BUSYBOX_IMAGE
) -> Result:
    """Run a shell line in a container; options go to `docker run`."""
    argv = ("docker", "run", "--network=none", *options, image, "sh", "-c", command)
    return machine.run(argv, timeout_seconds=_DOCKER_DEADLINE_SECONDS)


def dmeventd_pid(machine: Machine) -> int | None:
    """Return dmeventd's process id, however it was started."""
    result = machine.run("pidof dmeventd", check=False)
    return int(result.stdout.split()[0]) if result.returncode == 0 else None


def start_dmeventd(machine: Machine, *pool_names: str) -> None:
    """Start dmeventd by its units and have it monitor the pools named."""
    machine.run("systemctl unmask dm-event.socket dm-event.service")
    machine.run("systemctl start dm-event.socket dm-event.service")
    machine.wait_until("pidof dmeventd", 30)
    for name in pool_names:
        machine.run(("lvchange", "--monitor", "y", name))


def stop_dmeventd(machine: Machine) -> None:
    """End dmeventd, which refuses to go while it monitors anything, and its socket."""
    machine.run(
        "systemctl stop dm-event.socket; systemctl kill -s KILL dm-event.service", check=False
    )
    machine.run("killall -q -KILL dmeventd", check=False)
    machine.wait_until("! pidof dmeventd", 30)
    machine.run("rm -f /run/dmeventd.pid /run/dmeventd-client /run/dmeventd-server")
    machine.run("systemctl reset-failed dm-event.service", check=False)


def without_dmeventd_binary(machine: Machine) -> None:
    """Be a host without the dmeventd package: nothing runs, nothing can be started."""
    mask_dmeventd(machine)
    machine.run(("mv", DMEVENTD, f"{DMEVENTD}.absent"))


def with_dmeventd_binary(machine: Machine) -> None:
    """Install dmeventd again."""
    machine.run(("mv", f"{DMEVENTD}.absent", DMEVENTD))


def mask_dmeventd(machine: Machine) -> None:
    """Stop dmeventd and mask its units; LVM may still fork the binary itself."""
    stop_dmeventd(machine)
    machine.run("systemctl mask dm-event.socket dm-event.service")


def unmonitor(machine: Machine, pool_name: str) -> None:
    """Leave dmeventd running without watching the pool."""
    machine.run(("lvchange", "--monitor", "n", pool_name))


def fill_command(
    target: str, mib: int, *, rate_mib: int | None = None, offset_mib: int = 0
) -> str:
    """Build the writer: whole MiBs in order, direct, at most rate_mib each second."""
    rate = "" if rate_mib is None else f"--rate={rate_mib}m"
    return (
        f"fio --name=fill --filename={shlex.quote(target)} --rw=write --bs=1M --direct=1 "
        f"--ioengine=psync --output-format=terse {rate} --size={mib}M --offset={offset_mib}M"
    )


def fill(
    machine: Machine, target: str, mib: int, rate_mib: int | None = None, *, offset_mib: int = 0
) -> Result:
    """Write mib MiB to a device or file; a full pool shows as a non-zero exit status."""
    command = fill_command(target, mib, rate_mib=rate_mib, offset_mib=offset_mib)
    return machine.run(command, timeout_seconds=300, check=False)


def fill_metadata(machine: Machine, device: str, percent: int | None = None) -> None:
    """Use this much of a pool's metadata, or all of it, with empty thin devices."""
    machine.write(_EMPTY_THINS, Path(__file__).with_name("empty_thins.py").read_text())
    argv = ("python3", _EMPTY_THINS, device, *(() if percent is None else (str(percent),)))
    machine.run(argv, timeout_seconds=300)


def free_extents(machine: Machine, vg: str = "docker") -> int:
    """Read the VG's free extents, reading past locks and leaving dmeventd asleep."""
    argv = ("vgs", "--nolocking", "--noheadings", "-o", "vg_free_count", vg)
    return int(machine.run(argv).stdout)


def dm_status(machine: Machine) -> dict[str, Status]:
    """Read every thin pool's status from the kernel, without flushing, by name."""
    text = machine.run("dmsetup status --noflush --target thin-pool").stdout
    statuses = (_parse_status(line) for line in text.splitlines() if ": " in line)
    return {status.name: status for status in statuses}


_STATUS = re.compile(
    r"(?P<name>\S+): \d+ \d+ thin-pool \d+ (?P<um>\d+)/(?P<tm>\d+) (?P<ud>\d+)/(?P<td>\d+) "
    r"\S+ (?P<mode>\S+) \S+ (?P<full>\S+) (?P<check>\S+)"
)


def _parse_status(line: str) -> Status:
    """Read one line, independently of the parser that these tests judge."""
    match = _STATUS.match(line)
    if match is None:
        name, _, rest = line.partition(": ")
        return Status(name=name, mode=rest.split()[3], line=line)
    return Status(
        name=match["name"],
        mode=match["mode"],
        used_data=int(match["ud"]),
        total_data=int(match["td"]),
        used_metadata=int(match["um"]),
        total_metadata=int(match["tm"]),
        queues_when_full=match["full"] == "queue_if_no_space",
        needs_check=match["check"] == "needs_check",
        line=line,
    )
