"""The figures of a pool: sizes, usage, mode, policy, volumes, room."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from exporter.model import Device, PoolMode
from exporter.report.case import Case
from exporter.report.room import MANY_STEPS, full_steps, step_words
from exporter.report.text import listed, percent, short_bytes, shown
from exporter.report.verdict import over_words
from exporter.report.volumes import growing, largest
from exporter.units import format_bytes

MODES = {
    PoolMode.RW: "can be read and written",
    PoolMode.RO: "read-only",
    PoolMode.OUT_OF_DATA_SPACE: "no space left for data",
    PoolMode.FAILED: "the kernel has given it up",
    PoolMode.INACTIVE: "the kernel does not have it",
    PoolMode.UNKNOWN: "neither the kernel nor LVM tells",
}


class Figure(Struct, frozen=True):
    """A figure's name, and its value in words that are safe to show."""

    name: str
    text: str


def figures(case: Case) -> Iterator[Figure]:
    """Write the figures of a pool, those that are known."""
    rows = (
        ("data", _usage(case, Device.DATA)),
        ("metadata", _usage(case, Device.METADATA)),
        ("mode", f"{case.pool.mode}: {MODES[case.pool.mode]}"),
        ("policy", _policy(case)),
        ("volumes", _volumes(case)),
        ("growing", growing(case.pool)),
        ("largest", largest(case.pool)),
        ("chunks", _chunks(case)),
        ("VG", _group(case)),
        ("next step", listed(step_words(step) for step in reversed(case.steps))),
        ("limits", _limits(case)),
        ("room", _room(case)),
    )
    return (Figure(name, text) for name, text in rows if text)


def _usage(case: Case, device: Device) -> str:
    usage, lvm = case.usage(device), case.pool.lvm
    if usage is not None:
        rounded = "" if case.pool.is_by_kernel else ", as lvs rounds it"
        return (
            f"{percent(usage)} full: {format_bytes(usage.used_bytes)} used "
            f"of {format_bytes(usage.total_bytes)}{rounded}{over_words(case, device)}"
        )
    if lvm is None:
        return "unknown"
    size = lvm.size_bytes if device is Device.DATA else lvm.metadata_size_bytes
    return f"unknown, of {format_bytes(size)}"


def _policy(case: Case) -> str:
    policy = case.pool.policy
    profile = f"profile {shown(case.pool.profile)}" if case.pool.profile else "no profile"
    if policy is None:
        return f"unknown ({profile})" if case.is_lvm else ""
    if policy.is_off:
        return f"never extends: threshold {policy.threshold_percent} % ({profile})"
    return (
        f"extends by {policy.step_percent} % when data is over {_threshold(case, Device.DATA)}"
        f" or metadata over {_threshold(case, Device.METADATA)} ({profile})"
    )


def _threshold(case: Case, device: Device) -> str:
    threshold = case.threshold(device)
    return "an unknown share" if threshold is None else f"{threshold} %"


def _volumes(case: Case) -> str:
    count, virtual = case.pool.thin_volumes, case.pool.virtual_size_bytes
    if count is None:
        return "unknown"
    words = f"{count} thin volume{'' if count == 1 else 's'}"
    return f"{words}, {format_bytes(virtual)} virtual{_overcommit(case)}" if virtual else words


def _overcommit(case: Case) -> str:
    virtual, size = case.pool.virtual_size_bytes, _size(case)
    return f": {virtual / size:.2f} times the pool's size" if virtual and size else ""


def _size(case: Case) -> int | None:
    if case.pool.data:
        return case.pool.data.total_bytes
    return case.pool.lvm.size_bytes if case.pool.lvm else None


def _chunks(case: Case) -> str:
    described = case.pool.kernel or case.pool.lvm
    return short_bytes(described.chunk_bytes) if described else ""


def _group(case: Case) -> str:
    group = case.group
    if group is None:
        return ""
    usable = group.usable_free_extents * group.extent_bytes
    return (
        f"{shown(group.name)}: {format_bytes(group.size_bytes)}, "
        f"of which {format_bytes(usable)} can be allocated"
    )


def _limits(case: Case) -> str:
    """Tell where the guard's own limits give less than the VG could."""
    steps = case.judged.steps if case.judged else ()
    return listed(
        f"reserve or max_size let the guard give {format_bytes(step.possible_bytes)} of "
        f"{step.device}"
        for step in steps
        if (own := case.step(step.device)) and step.possible_bytes < own.possible_bytes
    )


def _room(case: Case) -> str:
    count = full_steps(case)
    if count is None:
        return ""
    if count == 0:
        return "for no full step of data"
    more = f"{count} or more" if count == MANY_STEPS else f"about {count}"
    return f"for {more} full step{'' if count == 1 else 's'} of data"
