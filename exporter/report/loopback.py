"""Findings about pools that lie on files: made of loop devices, or on disks that are some."""

from __future__ import annotations

import re
from collections.abc import Iterator

from exporter.model import LoopBacking, LoopFile
from exporter.report.case import Case
from exporter.report.finding import Finding, Remedy, Severity, run, say
from exporter.report.room import NEW_DISK
from exporter.report.state import NEARLY_FULL_PERCENT
from exporter.report.text import operand, shown
from exporter.units import format_bytes

DOCKER_PREFIX = "docker-"  # docker-MAJOR:MINOR-INODE-pool, where Docker made the pool itself
IN_MEMORY = frozenset({"tmpfs", "ramfs"})
MOST_SHOWN = 4
PARTITION = re.compile(r"(?<=\d)p\d+$")  # of a loop device


def loop_findings(case: Case, loop: LoopBacking, *, docker: Remedy) -> Iterator[Finding]:
    """Find what is wrong with a pool on files; `docker` moves Docker away from them."""
    remedy = _remedy(case, loop, docker)
    yield _on_files(case, loop, remedy)
    deleted = [file for file in loop.files if file.is_deleted]
    if deleted:
        yield _deleted(deleted, remedy)


def _on_files(case: Case, loop: LoopBacking, remedy: Remedy) -> Finding:
    is_short = is_backing_short(case, loop)
    what = "the disks of the pool are" if case.is_lvm else "the pool lies on"
    return Finding(
        severity=Severity.CRITICAL if is_short else Severity.WARNING,
        brief="file system under the loop file nearly full" if is_short else "on a loop file",
        text=f"{what} {_places(case, loop)}: good for tests alone. {_backing(loop)}",
        remedy=remedy,
    )


def _deleted(files: list[LoopFile], remedy: Remedy) -> Finding:
    devices = ", ".join(shown(file.device) for file in files)
    return Finding(
        severity=Severity.CRITICAL,
        brief="on a deleted file",
        text=f"the file under {devices} has been deleted: the pool is lost with the loop "
        "device, at the next boot at the latest",
        remedy=remedy,
    )


def _places(case: Case, loop: LoopBacking) -> str:
    first = loop.tightest
    others = [file for file in loop.files if file is not first]
    places = [_place(case, file) for file in (first, *others[: MOST_SHOWN - 1])]
    more = len(loop.files) - len(places)
    return " and ".join(places) + (f" and {more} more" if more > 0 else "")


def _place(case: Case, file: LoopFile) -> str:
    docker = case.docker.data_loop_file if case.docker and not case.is_lvm else None
    name = file.file or docker
    kind = "a sparse file" if file.promised_bytes != 0 else "a file"
    if name:
        kind = f"{kind.replace('a ', 'the ', 1)} {shown(name)}"
    return f"{shown(file.device)} over {kind}"


def _backing(loop: LoopBacking) -> str:
    tightest = loop.tightest
    if tightest.free_bytes is None:
        return "How much its file system has left is unknown"
    left = f"Its file system has {format_bytes(tightest.free_bytes)} left"
    if tightest.file_system_type in IN_MEMORY:
        left += f", and is memory ({tightest.file_system_type}), lost at the next boot"
    promised = loop.promised_bytes
    if promised is None:
        return f"{left}, whatever the pool says"
    if not promised:
        return f"{left}, of which it needs no more"
    much = ", more than there is" if promised > tightest.free_bytes else ""
    return f"{left}; the pool may still take {format_bytes(promised)} of it{much}"


def is_backing_short(case: Case, loop: LoopBacking) -> bool:
    """Whether the pool is as good as full because the file system under it is."""
    usage, free = case.pool.data, loop.free_bytes
    if usage is None or free is None:
        return False
    if loop.promised_bytes is not None and loop.promised_bytes <= free:
        return False
    left = min(usage.total_bytes - usage.used_bytes, free)
    return 100 * usage.used_bytes >= NEARLY_FULL_PERCENT * (usage.used_bytes + left)


def _remedy(case: Case, loop: LoopBacking, docker: Remedy) -> Remedy:
    if case.is_lvm:
        return _move_disks(case, loop)
    docker_pool = case.docker.pool_name if case.docker else None
    if case.pool.name.startswith(DOCKER_PREFIX) or case.pool.name == docker_pool:
        return docker
    return (
        say("What lies below, and how much of the files there is; whoever made the pool can"),
        say("make it anew on a disk, best as a pool of LVM's, which can be extended:"),
        run("dmsetup", "deps", "-o", "devname", *operand(case.dm_name)),
        run("losetup", "-l"),
        *_sizes(loop),
    )


def _sizes(loop: LoopBacking) -> Remedy:
    files = [file.file for file in loop.files if file.file and not file.is_deleted]
    return tuple(run("du", "-h", *operand(file)) for file in files[:MOST_SHOWN])


def _move_disks(case: Case, loop: LoopBacking) -> Remedy:
    """Move the VG's extents to a disk, under the pool's users."""
    group = operand(case.pool.vg_name)
    devices = tuple(file.device for file in loop.files)
    volumes = case.group.physical_volumes if case.group else ()
    names = [volume.name for volume in volumes if PARTITION.sub("", volume.name) in devices]
    names = names or ["/dev/LOOP_PV"]
    return (
        say("Move it to a disk while it is in use (NEW_DISK is yours to name; its content is"),
        say("lost). `lsblk -s` shows which PVs lie on files:"),
        run("vgextend", *group, NEW_DISK),
        *(run("pvmove", *operand(name)) for name in names),
        run("vgreduce", *group, *(word for name in names for word in operand(name))),
    )
