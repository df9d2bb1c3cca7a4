"""Makes the faults of thin pools real in the guest: small VGs that a fault can reach into.

A PV here is a linear device on a part of a data disk, so that the disk under it can be
exchanged while it is in use. Most helpers build shell lines, which `run` sends in one go:
a state of many pools would take minutes command by command.
"""

from __future__ import annotations

from typing import final

from tests.vm import scenarios
from tests.vm.machine import Machine

PROFILE = "small"
THRESHOLD, STEP = 80, 20
QUIET = "--config activation/monitoring=0"
SECTORS_OF_MIB = 2048
MIB = 1024 * 1024
PV_MIB = 64
DATA_MIB = 32
USED_MIB = 29  # of 32: above 80 %, and below it after one step
MAKE_SECONDS = 300
LOCKS = "/run/lock/lvm"


def run(machine: Machine, *lines: str) -> None:
    """Run shell lines one after another, up to the first that fails."""
    # On failure the trace shows the line; no command may wait for an answer.
    script = "\n".join(("set -ex; exec </dev/null", *lines))
    machine.run(script, timeout_seconds=MAKE_SECONDS)


@final
class Disk:
    """A data disk of the guest, cut into PVs one after another."""

    def __init__(self, machine: Machine, name: str = "data0") -> None:
        self.machine = machine
        self._path = machine.disk(name)
        self._next_sector = SECTORS_OF_MIB

    def cut(self, name: str, mib: int = PV_MIB) -> str:
        """Make the device pv-NAME of the disk's next part."""
        start, length = self._next_sector, mib * SECTORS_OF_MIB
        self._next_sector += length
        return f"dmsetup create pv-{name} --table '0 {length} linear {self._path} {start}'"

    def group(self, vg: str, *sizes_mib: int) -> str:
        """Make a VG of PVs of these sizes: pv-VG-0, pv-VG-1 and so on."""
        sizes = sizes_mib or (PV_MIB,)
        names = [f"{vg}-{number}" for number in range(len(sizes))]
        cuts = (self.cut(name, mib) for name, mib in zip(names, sizes, strict=True))
        volumes = " ".join(f"/dev/mapper/pv-{name}" for name in names)
        return "\n".join((*cuts, f"vgcreate -qq -s 1m {vg} {volumes}"))


def pool(name: str, *options: str, profile: str = PROFILE) -> str:
    """Make a pool of 32 MiB, with 2 MiB of metadata and chunks of 64 KiB."""
    vg, lv = name.split("/")
    return (
        f"lvcreate -qq {QUIET} --type thin-pool -Zn -L {DATA_MIB}M --poolmetadatasize 2M "
        f"-c 64K --metadataprofile {profile} -n {lv} {' '.join(options)} {vg}"
    )


def filled(name: str, mib: int = USED_MIB) -> str:
    """Map so much of a pool through a thin device of 1 GiB that LVM does not know."""
    device = dm_name(name)
    return (
        f"dmsetup message {device} 0 'create_thin 1'\n"
        f"dmsetup create {thin(name)} --table '0 2097152 thin /dev/mapper/{device} 1'\n"
        f"{write(name, mib)}"
    )


def write(name: str, mib: int, *, offset_mib: int = 0) -> str:
    """Write to the thin device of a pool."""
    return (
        f"dd if=/dev/zero of=/dev/mapper/{thin(name)} bs=1M count={mib} seek={offset_mib} "
        "oflag=direct status=none"
    )


def dm_name(name: str) -> str:
    """Name a pool's device, for names without dashes and pools without volumes of LVM's."""
    return name.replace("/", "-")


def thin(name: str) -> str:
    """Name the thin device that `filled` makes."""
    return f"thin-{dm_name(name)}"


def swapped(device: str, *lines: str) -> str:
    """Exchange what is under a device, its users unawares; $ is the shell's."""
    table = "\\n".join(lines)
    return (
        f"dmsetup suspend --noflush {device}\n"
        f'printf "{table}\\n" | dmsetup load {device}\n'
        f"dmsetup resume {device}"
    )


def prepared(machine: Machine) -> None:
    """Be a host without dmeventd, with the profile that the pools name.

    Without its binary too: when a disk comes back, udev activates its VG, and LVM then
    starts a dmeventd of its own, which extends what the guard is to extend.
    """
    scenarios.without_dmeventd_binary(machine)
    scenarios.write_profile(machine, PROFILE, THRESHOLD, STEP)


def edited(vg: str, *lines: str) -> str:
    """Add lines to the head of a VG's metadata, under its active volumes.

    So another host would: LVM's own commands want the volumes inactive first.
    """
    backup = f"/root/{vg}.vg"
    added = "\\n\\t".join(lines)
    return (
        f"vgcfgbackup -qq -f {backup} {vg}\n"
        f"sed -i '0,/^\\tstatus = /s//\\t{added}\\n\\tstatus = /' {backup}\n"
        f"vgcfgrestore -qq -y --force -f {backup} {vg}"
    )


def exported(vg: str) -> str:
    """Mark a VG as exported, under its active volumes."""
    backup = f"/root/{vg}.vg"
    return (
        f"vgcfgbackup -qq -f {backup} {vg}\n"
        f"sed -i '0,/^\\tstatus = \\[/s//\\tstatus = [\"EXPORTED\", /' {backup}\n"
        f"vgcfgrestore -qq -y --force -f {backup} {vg}"
    )


def without_disk(pv: str, mib: int = PV_MIB) -> str:
    """Take the disk away from under a PV: nothing of it can be read or written."""
    return swapped(f"pv-{pv}", f"0 {mib * SECTORS_OF_MIB} error")


def read_only(name: str) -> str:
    """Make the kernel use a pool read-only, though nothing of it is full."""
    device = dm_name(name)
    # Features end the table, after their number; a new pool of ours has none but -Zn's.
    return (
        f"table=$(dmsetup table {device})\n"
        f"dmsetup suspend {device}\n"
        f'dmsetup load {device} --table "${{table% 1 skip_block_zeroing*}} '
        f'2 skip_block_zeroing read_only"\n'
        f"dmsetup resume {device}"
    )


def needs_check(name: str) -> str:
    """Let the kernel fail to write a pool's metadata once, and find it sound again."""
    tmeta = f"{dm_name(name)}_tmeta"
    return (
        f"sound=$(dmsetup table {tmeta})\n"
        f"{muted(tmeta)}\n"
        # Only at the flush does the kernel commit what it has mapped.
        f"{write(name, 1, offset_mib=USED_MIB)} conv=fsync || true\n"
        f"{swapped(tmeta, '$sound')}"
    )


def muted(device: str) -> str:
    """Let every write to a linear device fail, but for the first 4 KiB.

    The superblock must be writable, or the kernel could not note that a check is needed.
    """
    head = "0 8 linear $4 $5"
    rest = "8 $(($2 - 8)) flakey $4 $(($5 + 8)) 0 3600 1 error_writes"
    return f"set -- $(dmsetup table {device})\n{swapped(device, head, rest)}"


def failed(name: str) -> str:
    """Take a pool's metadata away, so that the kernel gives the pool up."""
    tmeta = f"{dm_name(name)}_tmeta"
    return (
        f"set -- $(dmsetup table {tmeta})\n"
        f"{swapped(tmeta, '0 $2 error')}\n"
        f"{write(name, 1, offset_mib=USED_MIB)} conv=fsync || true"
    )


def suspended(name: str) -> str:
    """Suspend a pool, as an LVM command that died half-way leaves it."""
    return f"dmsetup suspend {dm_name(name)}"


def muted_under(pv: str, tmeta: str) -> str:
    """Let the writes fail below LVM: it may load its tables anew and finds it still so."""
    head = "0 $start linear $4 $5\\n$start 8 linear $4 $(($5 + start))"
    rest = "$((start + 8)) $((length - 8)) flakey $4 $(($5 + start + 8)) 0 3600 1 error_writes"
    tail = "$((start + length)) $(($2 - start - length)) linear $4 $(($5 + start + length))"
    return (
        f"set -- $(dmsetup table {tmeta}); length=$2; start=$5\n"
        f"set -- $(dmsetup table pv-{pv})\n"
        f"{swapped(f'pv-{pv}', head, rest, tail)}"
    )


def was_missing(vg: str) -> str:
    """Let LVM change a VG while its second disk is away: it remembers that when it is back."""
    pv = f"{vg}-1"
    return (
        f"lvcreate -qq {QUIET} -y -an -Zn -Wn -l1 -n spare {vg} /dev/mapper/pv-{vg}-0\n"
        f"sound=$(dmsetup table pv-{pv})\n"
        f"{without_disk(pv)}\n"
        f"lvremove -qq {QUIET} -y {vg}/spare\n"
        f"{swapped(f'pv-{pv}', '$sound')}\n"
        f"vgs --noheadings -o vg_missing_pv_count {vg} | grep -q 1"
    )
