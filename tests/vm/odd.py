"""Builds odd hosts in the guest: shell lines for `faults.run`, as the helpers there are.

Pools are those of faults.py, so that each is over its threshold and one step of 20 % brings
it from 32 to 39 extents, unless its layout makes it otherwise.
"""

from __future__ import annotations

import shlex

from tests.vm import faults
from tests.vm.faults import QUIET, Disk
from tests.vm.machine import Machine

FILES = "/srv/files"  # an XFS of its own, for files of any size
MEMORY = "/srv/memory"
MEMORY_MIB = 64
LONG = "v" * 100
LONG_POOL = "p" * 17  # with a dash between and _tdata_corig behind: what device-mapper takes
KEY = "0123456789abcdef" * 8


def filled(name: str, mib: int = faults.USED_MIB) -> str:
    """Fill a pool whose names may have dashes; see faults.filled."""
    device, thin = dm_name(name), thin_name(name)
    return (
        f"dmsetup message {device} 0 'create_thin 1'\n"
        f"dmsetup create {thin} --table '0 2097152 thin /dev/mapper/{device} 1'\n"
        f"dd if=/dev/zero of=/dev/mapper/{thin} bs=1M count={mib} oflag=direct status=none"
    )


def dm_name(name: str) -> str:
    """Name a pool's device: LVM doubles the dashes of a name."""
    vg, _, lv = name.partition("/")
    return f"{vg.replace('-', '--')}-{lv.replace('-', '--')}"


def thin_name(name: str) -> str:
    """Name the thin device that `filled` makes; short, whatever the pool is called."""
    return f"thin-{name.replace('/', '-')[:60]}"


def plain(disk: Disk, name: str, *sizes_mib: int) -> tuple[str, ...]:
    """Make a pool over its threshold in a VG of its own."""
    vg = name.partition("/")[0]
    return disk.group(vg, *(sizes_mib or (96,))), faults.pool(name), filled(name)


def cached(disk: Disk, vg: str, kind: str) -> tuple[str, ...]:
    """Make a pool whose data is cached on another PV; the cache comes first."""
    fast = "-y -L 8M" if kind == "cache" else "-y -an -L 8M"
    lines = [
        disk.group(vg, 96, 32),
        f"lvcreate -qq {QUIET} -y -Wn -L 32M -n pool {vg} /dev/mapper/pv-{vg}-0",
        f"lvcreate -qq {QUIET} {fast} -Wn -n fast {vg} /dev/mapper/pv-{vg}-1",
        f"lvconvert -qq {QUIET} -y --type {kind} --cachevol fast {vg}/pool",
        made_of(vg, "--poolmetadatasize 2M"),
        filled(f"{vg}/pool"),
    ]
    return tuple(lines)


def on_vdo(disk: str) -> tuple[str, ...]:
    """Make a pool of 256 MiB whose data is a VDO volume, of which the VG has 4 GiB."""
    settings = "activation/monitoring=0 allocation/vdo_slab_size_mb=128"
    make = f"lvcreate -qq --config '{settings}' -y --type vdo -Wn"
    return (
        f"vgcreate -qq -s 4m vdo {disk}",
        f"{make} -L 4G -V 256M -n pool vdo/physical",
        made_of("vdo", "--poolmetadatasize 4M"),
        filled("vdo/pool", 220),
    )


def made_of(vg: str, *options: str) -> str:
    """Make a pool of the LV `pool`."""
    words = " ".join(options)
    return (
        f"lvconvert -qq {QUIET} -y -Zn --type thin-pool -c 64K {words} {vg}/pool\n"
        f"lvchange -qq {QUIET} --metadataprofile {faults.PROFILE} {vg}/pool"
    )


def raid(disk: Disk, vg: str, *options: str) -> tuple[str, ...]:
    """Make a pool whose data and metadata are on several PVs each."""
    words = " ".join(options)
    return (
        disk.group(vg, 64, 64, 64, 64),
        f"lvcreate -qq {QUIET} -y -Wn --nosync {words} -L 32M -n pool {vg}",
        f"lvcreate -qq {QUIET} -y -Wn --nosync --type raid1 -m 1 -L 4M -n meta {vg}",
        made_of(vg, f"--poolmetadata {vg}/meta"),
        filled(f"{vg}/pool"),
    )


def beside(disk: Disk) -> tuple[str, ...]:
    """Make thick snapshots beside a pool, one of its own volume, and an external origin."""
    make = f"lvcreate -qq {QUIET} -y"
    return (
        disk.group("beside", 160),
        faults.pool("beside/pool"),
        # LVM's own: beside one that it does not know it makes no other.
        f"{make} -V 64M -n volume --thinpool pool beside",
        f"{make} -Wn -L 8M -n plain beside",
        f"{make} -s -L 4M -n plain_snap beside/plain",
        f"{make} -s -L 40M -n volume_snap beside/volume",
        f"{make} -Wn -L 16M -n origin beside",
        f"lvchange -qq {QUIET} -an beside/origin",
        f"lvchange -qq {QUIET} -pr beside/origin",
        f"lvcreate -qq {QUIET} -y -s --thinpool beside/pool -n clone beside/origin",
        # Last: above its threshold a pool gets no more volumes.
        f"dd if=/dev/zero of=/dev/beside/volume bs=1M count={faults.USED_MIB} oflag=direct",
    )


def luks(disk: Disk) -> tuple[str, ...]:
    """Make a pool on an encrypted disk, as LUKS maps it."""
    table = f"crypt aes-xts-plain64 {KEY} 0 /dev/mapper/pv-locked 0"
    return (disk.cut("locked", 96), *_stacked("luks", table))


def multipath(disk: str) -> tuple[str, ...]:
    """Make a pool on a disk with one path; LVM knows such disks by their UUID."""
    table = f"multipath 2 queue_mode bio 0 1 1 round-robin 0 1 1 {disk} 1000"
    return _stacked("paths", table, "--uuid mpath-odd")


def _stacked(vg: str, table: str, *options: str) -> tuple[str, ...]:
    words, sectors = " ".join(options), 96 * faults.SECTORS_OF_MIB
    return (
        f"dmsetup create under-{vg} {words} --table '0 {sectors} {table}'",
        f"vgcreate -qq -s 1m {vg} /dev/mapper/under-{vg}",
        faults.pool(f"{vg}/pool"),
        filled(f"{vg}/pool"),
    )


def nested(disk: Disk) -> tuple[str, ...]:
    """Make a VG on a thin volume of another VG's pool, with a pool of its own."""
    outer = "outer/pool"
    sizes = "-L 64M --poolmetadatasize 2M -c 64K"
    return (
        disk.group("outer", 160),
        f"lvcreate -qq {QUIET} --type thin-pool -Zn {sizes} -n pool outer",
        "dmsetup message outer-pool 0 'create_thin 1'",
        f"dmsetup create {thin_name(outer)} --table '0 262144 thin /dev/mapper/outer-pool 1'",
        f"vgcreate -qq -s 1m inner /dev/mapper/{thin_name(outer)}",
        faults.pool("inner/pool"),
        filled("inner/pool"),
    )


def file_systems(disk: str) -> tuple[str, ...]:
    """Mount file systems for files under loop devices."""
    return (
        "modprobe loop",
        f"mkfs.xfs -q -f {disk}; mkdir -p {FILES} {MEMORY}; mount {disk} {FILES}",
        f"mount -t tmpfs -o size={MEMORY_MIB}m tmpfs {MEMORY}",
    )


def loop_device(name: str, file: str, size: str, *options: str) -> str:
    """Put a loop device over a new sparse file, in a shell's variable of this name."""
    return (
        f"truncate -s {size} {file}\n"
        f"{name}=$(losetup {' '.join(options)} --find --show {file}); udevadm settle"
    )


def on_file(vg: str, file: str, size: str = "96M") -> tuple[str, ...]:
    """Make a pool whose PV is a loop device."""
    return (
        loop_device("loop", file, size),
        f"vgcreate -qq -s 1m {vg} $loop",
        faults.pool(f"{vg}/pool"),
        filled(f"{vg}/pool"),
    )


def on_file_partition(vg: str, file: str) -> tuple[str, ...]:
    """Make a pool whose PV is a partition of a loop device."""
    return (
        loop_device("loop", file, "96M"),
        partitioned("$loop", 95),
        f"vgcreate -qq -s 1m {vg} ${{loop}}p1",
        faults.pool(f"{vg}/pool"),
        filled(f"{vg}/pool"),
    )


def partitioned(disk: str, *sizes_mib: int) -> str:
    """Write a table of partitions, one after another from the first MiB on."""
    program = (
        "import struct, sys; start = 2048; table = b''\n"
        "for mib in sys.argv[2:]:\n"
        "    length = int(mib) * 2048\n"
        '    table += struct.pack("<B3sB3sII", 0, b"", 0x83, b"", start, length)\n'
        "    start += length\n"
        'open(sys.argv[1], "r+b").write(bytes(446) + table.ljust(64, bytes(1)) + b"\\x55\\xaa")'
    )
    sizes = " ".join(map(str, sizes_mib))
    return (
        f"python3 -c {shlex.quote(program)} {disk} {sizes}\n"
        f"partx -u {disk} || blockdev --rereadpt {disk}; udevadm settle"
    )


def containerd() -> tuple[str, ...]:
    """Make a pool as containerd's documentation does: two sparse files, losetup, dmsetup.

    Source: containerd docs/snapshotters/devmapper.md, "Setup".
    """
    return (
        loop_device("data", f"{FILES}/data", "100G"),
        loop_device("meta", f"{FILES}/meta", "10G"),
        "sectors=$(($(blockdev --getsize64 -q $data) / 512))",
        'dmsetup create containerd-pool --table "0 $sectors thin-pool $meta $data 128 32768"',
        "dmsetup message containerd-pool 0 'create_thin 1'",
        "dmsetup create containerd-snap --table '0 2097152 thin /dev/mapper/containerd-pool 1'",
        "dd if=/dev/zero of=/dev/mapper/containerd-snap bs=1M count=8 oflag=direct status=none",
    )


def on_partitions(disk: str) -> tuple[str, ...]:
    """Make a pool by dmsetup alone, on two partitions of three; with a low water mark."""
    features = "2 skip_block_zeroing error_if_no_space"
    devices = f"{disk}-part1 {disk}-part2"
    return (
        partitioned(disk, 4, 64, 96),
        f"dd if=/dev/zero of={disk}-part1 bs=4k count=1 status=none",
        f"dmsetup create raw-parts --table '0 131072 thin-pool {devices} 128 100 {features}'",
        "dmsetup message raw-parts 0 'create_thin 1'",
        "dmsetup create raw-thin --table '0 262144 thin /dev/mapper/raw-parts 1'",
        "dd if=/dev/zero of=/dev/mapper/raw-thin bs=1M count=60 oflag=direct status=none",
    )


def on_logical_volumes(disk: Disk) -> tuple[str, ...]:
    """Make a pool by dmsetup whose devices are LVs: LVM owns what is below alone."""
    make = f"lvcreate -qq {QUIET} -y"
    table = "0 131072 thin-pool /dev/below/meta /dev/below/data 128 0"
    return (
        disk.group("below", 96),
        f"{make} -L 4M -n meta below",
        f"{make} -Wn -L 64M -n data below",
        "dd if=/dev/zero of=/dev/below/meta bs=4k count=1 status=none",
        f"dmsetup create raw-on-lvs --table '{table}'",
    )


def vast() -> tuple[str, ...]:
    """Make pools of half a petabyte on a sparse file, one with metadata at LVM's cap.

    The other's chunks of 1 GiB are in use without having been written: its metadata is
    restored to say so, while LVM knows the pool as inactive.
    """
    chunks, used = 500 * 1024, 450 * 1024
    xml = (
        f'<superblock uuid="" time="0" transaction="0" data_block_size="2097152" '
        f'nr_data_blocks="{chunks}"><device dev_id="1" mapped_blocks="{used}" transaction="0" '
        f'creation_time="0" snap_time="0"><range_mapping origin_begin="0" data_begin="0" '
        f'length="{used}" time="0"/></device></superblock>'
    )
    settings = "--config 'activation/monitoring=0 allocation/zero_metadata=0'"
    make = f"lvcreate -qq {settings} --type thin-pool -Zn"
    profile = f"--metadataprofile {faults.PROFILE}"
    return (
        loop_device("vast", f"{FILES}/vast", "2P"),
        "vgcreate -qq -s 1g vast $vast",
        f"{make} -L 500T -c 1G --poolmetadatasize 1G {profile} -n wide vast",
        f"{make} -L 1T -c 64K --poolmetadatasize 16G {profile} -n deep vast",
        "tmeta=$(dmsetup table vast-wide_tmeta)",
        f"lvchange -qq {QUIET} -an vast/wide",
        'dmsetup create restored --table "$tmeta"',
        f"echo '{xml}' > /root/wide.xml",
        "thin_restore -i /root/wide.xml -o /dev/mapper/restored >/dev/null",
        "dmsetup remove --retry restored",
        f"lvchange -qq {QUIET} -ay vast/wide",
    )


def twins(disk: Disk) -> tuple[str, ...]:
    """Make two VGs of one name, both active; each has a pool over its threshold.

    As when a disk of another host is attached: its VG is renamed where this one is not seen.
    """
    alone = 'devices{filter=["a|/dev/mapper/pv-other-0|","r|.*|"] hints="none"}'
    return (
        *plain(disk, "twin/one"),
        *plain(disk, "other/two", 128),
        "rm -r /dev/twin",  # links alone, which vgrename would not write over
        f"vgrename -qq --config '{alone}' other twin",
    )


def long_named(disk: Disk) -> tuple[str, ...]:
    """Make a pool with the longest names that device-mapper leaves room for."""
    return plain(disk, f"{LONG}/{LONG_POOL}")


def prepared(machine: Machine) -> None:
    """Be a host without dmeventd, with modules that are not loaded by themselves."""
    faults.prepared(machine)
    machine.run("modprobe -a dm-crypt dm-multipath dm-round-robin dm-writecache dm-cache-smq")
