"""Findings about a pool's VG that keep everybody from extending the pool."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.model import LvmPool, VolumeGroup
from exporter.report.case import Case
from exporter.report.finding import Finding, Line, Severity, run, say
from exporter.report.text import operand, shown
from exporter.report.verdict import namesake_words

# Where LVM takes free extents by each policy; source: lvm(8).
NARROW = {
    "contiguous": "into the free space right behind it",
    "cling": "on the disks that it has already",
    "cling_by_tags": "on the disks that it has already, and those of the same tags",
}
NEXT_STEP = {"data": "-l+20%LV", "metadata": "--poolmetadatasize=+8M"}


def group_findings(case: Case) -> Iterator[Finding]:
    """Find what is wrong with the VG of a pool."""
    group = case.group
    if group is None:
        if case.namesakes:
            yield _same_named(case)
        elif case.is_lvm and case.is_lvm_read:
            yield _unlisted(case)
        return
    checks = (
        (group.is_partial, _partial),
        (group.is_exported, _exported),
        (group.is_shared or group.is_clustered, _shared),
        (group.is_foreign, _foreign),
        (not group.is_writable, _read_only),
        (group.has_duplicate_pvs, _duplicate),
    )
    yield from (make(group) for applies, make in checks if applies)
    if case.pool.lvm and case.pool.lvm.is_locked:
        yield _locked(group)
    if case.pool.lvm:
        yield from _narrow(case.pool.lvm, group)


def _same_named(case: Case) -> Finding:
    uuids = ", ".join(_with_disk(group) for group in case.namesakes)
    own = case.pool.lvm.vg_uuid if case.pool.lvm else ""
    whole = [group.uuid for group in case.namesakes if not group.is_partial]
    others = [uuid for uuid in whole if uuid != own] or whole or ["UUID"]
    return Finding(
        severity=Severity.WARNING,
        brief="VG name not unique",
        text=f"{namesake_words(case)} ({uuids}): LVM changes none of them",
        remedy=(
            say("Give one of them another name, best one that nothing mounts by its name. LVM"),
            say("renames no VG that misses a disk:"),
            run("vgs", "-o", "+vg_uuid"),
            *(run("vgrename", uuid, "NEW_NAME") for uuid in others),
        ),
    )


def _with_disk(group: VolumeGroup) -> str:
    return shown(group.uuid) + (", which misses a disk" if group.is_partial else "")


def _unlisted(case: Case) -> Finding:
    name = shown(case.pool.vg_name)
    return Finding(
        severity=Severity.UNKNOWN,
        brief="VG not listed",
        text=f"the kernel runs the pool, and LVM lists no VG {name}: nobody can extend it",
        remedy=(
            say("See what LVM says, and of which disks the pool is:"),
            run("vgs", *operand(case.pool.vg_name)),
            run("dmsetup", "deps", "-o", "devname"),
            *_look_at_devices(),
        ),
    )


def _look_at_devices() -> tuple[Line, ...]:
    """Look whether LVM's devices file, or a filter, leaves out a disk (2.03.12).

    Debian has the command without a name of its own.
    """
    return (
        say("If the disk is there all along, LVM may have been told not to look at it:"),
        run("lvm", "lvmdevices"),
        run("lvm", "lvmdevices", "--adddev", "/dev/THE_DISK"),
    )


def _partial(group: VolumeGroup) -> Finding:
    missing = [shown(volume.name) for volume in group.physical_volumes if volume.is_missing]
    names = f" ({', '.join(missing)})" if missing else ""
    return Finding(
        severity=Severity.WARNING,
        brief="VG misses a disk",
        text=f"the VG {shown(group.name)} misses a disk{names}: LVM refuses to change it",
        remedy=(
            say("See which disk is missing, and bring it back if that can be done:"),
            run("pvs", "-o", "+pv_missing,pv_uuid"),
            say("When it is there again, and still holds what it held:"),
            run("vgextend", "--restoremissing", *operand(group.name), "/dev/RETURNED_DISK"),
            *_look_at_devices(),
            say("Do not run vgreduce --removemissing --force: it removes LVs."),
        ),
    )


def _duplicate(group: VolumeGroup) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        brief="disk seen twice",
        text=f"LVM sees a disk of the VG {shown(group.name)} on two devices, and refuses to "
        "change the VG while it does (devices/allow_changes_with_duplicate_pvs in lvm.conf)",
        remedy=(
            say(
                "See which devices these are. If they are paths to one disk, set up multipath;"
            ),
            say("if one is a copy, such as a snapshot of the array, take it away or leave it"),
            say("out by devices/global_filter in lvm.conf, or by LVM's devices file:"),
            run("pvs", "-a", "-o", "+pv_uuid,pv_duplicate"),
            run("lsblk", "-o", "NAME,TYPE,SIZE,WWN,SERIAL"),
        ),
    )


def _exported(group: VolumeGroup) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        brief="VG exported",
        text=f"the VG {shown(group.name)} is exported: this host does not use it",
        remedy=(
            say("If no other host uses it:"),
            run("vgimport", *operand(group.name)),
            run("vgchange", "-ay", *operand(group.name)),
        ),
    )


def _shared(group: VolumeGroup) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        brief="VG shared",
        text=f"the VG {shown(group.name)} is shared with other hosts: the guard never changes "
        "it; only dmeventd, which goes through LVM's lock daemon, can extend the pool",
        remedy=(say("See that dmeventd monitors the pool on the host where it is active."),),
    )


def _foreign(group: VolumeGroup) -> Finding:
    owner = shown(group.system_id or "")
    return Finding(
        severity=Severity.WARNING,
        brief="VG of another host",
        text=f"the VG {shown(group.name)} has the system ID {owner}, which is not this host's: "
        "LVM refuses to change it here, and so to extend the pool",
        remedy=(
            say(
                "If another host uses it, deactivate it here: two hosts at one pool destroy it."
            ),
            run("lvm", "systemid"),
            run("vgs", "-o", "+vg_systemid", *operand(group.name)),
            say(
                "If it is this host's now (lvmsystemid(7)), and this host has an ID of its own:"
            ),
            run(
                "vgchange",
                "--config",
                f'local/extra_system_ids=["{owner}"]',
                "--systemid",
                "NEW_ID",
                *operand(group.name),
            ),
        ),
    )


def _read_only(group: VolumeGroup) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        brief="VG read-only",
        text=f"the VG {shown(group.name)} is read-only in LVM: nothing can be extended",
        remedy=(run("vgs", "-o", "vg_name,vg_permissions,vg_systemid", *operand(group.name)),),
    )


def _narrow(pool: LvmPool, group: VolumeGroup) -> Iterator[Finding]:
    """Find policies by which LVM takes some of the free extents only, if any."""
    own = {"data": pool.data_allocation, "metadata": pool.metadata_allocation}
    for name, policy in own.items():
        in_force = policy or group.allocation or ""
        if where := NARROW.get(in_force):
            yield Finding(
                severity=Severity.WARNING,
                brief=f"{name} allocated {in_force}",
                text=f"the allocation policy of its {name} is {in_force}: LVM extends it only "
                f"{where}, whatever else is free",
                remedy=(
                    say("See whether LVM would find room, and if not, let it look elsewhere:"),
                    run("lvextend", "--test", NEXT_STEP[name], *operand(pool.label)),
                    run("lvextend", "--alloc", "normal", NEXT_STEP[name], *operand(pool.label)),
                ),
            )


def _locked(group: VolumeGroup) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        brief="locked",
        text="a conversion or pvmove holds the pool: it can be extended when that has ended",
        remedy=(run("lvs", "-a", "-o", "+copy_percent,move_pv", *operand(group.name)),),
    )
