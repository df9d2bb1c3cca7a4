"""What the next extension needs, what the VG can give, and how to give it by hand."""

from __future__ import annotations

from exporter.autoextend import added_extents
from exporter.model import Device, LvmPool, NextStep, VolumeGroup
from exporter.report.case import Case
from exporter.report.finding import Finding, Line, Remedy, Severity, run, say
from exporter.report.text import operand, short_bytes, shown, size_argument
from exporter.units import format_bytes

MANY_STEPS = 20
NEW_DISK = "/dev/NEW_DISK"


def step_words(step: NextStep) -> str:
    """Tell what one device needs next, and what it could get now."""
    return (
        f"{step.device} needs {format_bytes(step.wanted_bytes)}, "
        f"the VG can give {format_bytes(step.possible_bytes)}"
    )


def room_findings(case: Case) -> list[Finding]:
    """Find the extensions that do not fit."""
    return [
        Finding(
            severity=Severity.WARNING,
            text=f"the next extension of the {step.device} does not fit: {_lack(case, step)}",
            brief="next extension does not fit",
            remedy=_make_room(case, step),
        )
        for step in case.steps
        if step.possible_bytes < step.wanted_bytes
    ]


def _lack(case: Case, step: NextStep) -> str:
    if case.group is None or case.pool.lvm is None:
        return "the VG lacks space"
    extent = case.group.extent_bytes
    lvm = case.pool.lvm
    missing = _cost(lvm, step.device, (step.wanted_bytes - step.possible_bytes) // extent)
    # Side by side on several PVs, or with the spare: the free extents may also lie wrong.
    is_exact = step.device is Device.DATA and lvm.data_areas == 1
    return (
        f"the VG lacks {'' if is_exact else 'at least '}{format_bytes(missing * extent)}: "
        f"{missing} extents of {short_bytes(extent)}"
    )


def _cost(lvm: LvmPool, device: Device, extents: int) -> int:
    """Count the VG's extents that an LV's extents take."""
    if device is Device.DATA:
        return extents * lvm.data_areas // lvm.data_stripes
    return extents * lvm.metadata_areas


def _make_room(case: Case, step: NextStep) -> Remedy:
    lines = [*extend_vg(case)]
    if step.device is not Device.DATA or not case.pool.lvm or not case.pool.policy:
        return tuple(lines)
    possible = 100 * step.possible_bytes // case.pool.lvm.size_bytes
    if 0 < possible < case.pool.policy.step_percent:
        profile = case.pool.profile
        where = f"the profile {shown(profile)}" if profile else "lvm.conf, for all pools"
        lines.append(
            say(
                f"A stopgap, since LVM takes all or nothing: a step of {possible} % would fit "
                f"(thin_pool_autoextend_percent={possible} in {where})."
            )
        )
    return tuple(lines)


def extend_vg(case: Case) -> Remedy:
    """Give the VG another disk."""
    return (
        say("Give the VG another disk (NEW_DISK is yours to name; its content is lost):"),
        run("vgextend", *operand(case.pool.vg_name), NEW_DISK),
    )


def grow_by_hand(case: Case, device: Device) -> Remedy:
    """Extend one device now, by all that fits of what it needs."""
    step = case.step(device)
    if step is None or not case.is_lvm:
        return ()
    if not step.possible_bytes:
        return (*extend_vg(case), *_lvextend(case, device, step.wanted_bytes))
    return _lvextend(case, device, min(step.wanted_bytes, step.possible_bytes))


def _lvextend(case: Case, device: Device, size_bytes: int) -> tuple[Line, ...]:
    option = "-L" if device is Device.DATA else "--poolmetadatasize"
    grown = run("lvextend", option, f"+{size_argument(size_bytes)}", *operand(case.pool.label))
    return (say(f"Extend the {device} now:"), grown)


def full_steps(case: Case) -> int | None:
    """Count the full steps of data that the VG has room for; MANY_STEPS at most.

    Metadata is left out: it takes a hundredth of what data takes.
    """
    lvm, group, policy = case.pool.lvm, case.group, case.pool.policy
    if lvm is None or group is None or policy is None or policy.is_off:
        return None
    return _count_steps(lvm, group, policy.step_percent) if policy.step_percent else None


def _count_steps(lvm: LvmPool, group: VolumeGroup, percent: int) -> int:
    size, free = lvm.size_bytes // group.extent_bytes, group.usable_free_extents
    for count in range(MANY_STEPS):
        added = added_extents(percent, size)
        cost = _cost(lvm, Device.DATA, added)
        if not added or cost > free:
            return count
        size, free = size + added, free - cost
    return MANY_STEPS
