"""What stands in a runbook's commands for the names and sizes of one pool, or of a host. Pure.

Every word is quoted as a shell takes it. A word that is not known has no entry, and then stands
in the text as it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from exporter.model import Device, Snapshot
from exporter.report.case import Case
from exporter.report.text import quoted, size_argument

DEFAULT_STEP_PERCENT = 20
PROFILE_SIGNS = "_+.-"  # beside letters and digits, as LVM has it


def pool_words(case: Case) -> Mapping[str, str]:
    """Say what stands for what of a pool; without VG where LVM did not make it."""
    return {word: quoted(value) for word, value in _pool_values(case) if value}


def host_words(snapshot: Snapshot) -> Mapping[str, str]:
    """Say what stands for what of a host."""
    root = snapshot.docker.root_directory if snapshot.docker else None
    return {"DOCKER_ROOT": quoted(root)} if root else {}


def _pool_values(case: Case) -> Iterator[tuple[str, str | None]]:
    pool = case.pool
    yield "POOL", pool.name
    yield "DM_NAME", pool.device_name
    loop = pool.kernel.loop if pool.kernel else None
    if loop:
        yield "LOOP_FILE", loop.file or (case.docker.data_loop_file if case.docker else None)
    if not case.is_lvm:
        return
    yield "VG", pool.vg_name
    yield "VG/POOL", pool.label
    yield "PROFILE", _profile(case)
    yield "DATA_STEP", _step(case, Device.DATA)
    yield "METADATA_STEP", _step(case, Device.METADATA)


def _profile(case: Case) -> str:
    """Name the pool's profile, or the one to make for it; LVM takes no other signs."""
    name = case.pool.profile or ""
    if name and all(sign.isalnum() or sign in PROFILE_SIGNS for sign in name):
        return name
    return f"{case.pool.vg_name}-{case.pool.name}"


def _step(case: Case, device: Device) -> str | None:
    """Write what the policy asks for next, or what of it there is; else what would help.

    That is 20 % more data, as the usual policy has it, or twice the metadata.
    """
    step = case.step(device)
    if step is not None:
        return size_argument(min(step.wanted_bytes, step.possible_bytes) or step.wanted_bytes)
    lvm, group = case.pool.lvm, case.group
    if lvm is None or group is None:
        return None
    if device is Device.METADATA:
        wanted, free = lvm.metadata_size_bytes, group.usable_free_extents // 2
    else:
        wanted = lvm.size_bytes * DEFAULT_STEP_PERCENT // 100
        free = group.usable_free_extents
    extents = -(-(wanted or 0) // group.extent_bytes)
    return size_argument((min(extents, free) or extents) * group.extent_bytes)
