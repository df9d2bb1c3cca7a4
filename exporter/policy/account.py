"""LVM's account of a VG after an extension, worked out from the sizes that the kernel shows.

The next extension in the VG can so be decided at once. LVM is read again beside that, and
replaces what is worked out here.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from exporter.autoextend import NEWEST, Rules
from exporter.model import (
    METADATA_BLOCK_BYTES,
    Attempt,
    Decision,
    Device,
    LvmPool,
    PhysicalVolume,
    PoolStatus,
    VolumeGroup,
)
from exporter.policy.room import Limits, Room


def after_extension(
    pool: LvmPool,
    group: VolumeGroup,
    status: PoolStatus,
    attempt: Attempt,
    rules: Rules = NEWEST,
) -> tuple[LvmPool, VolumeGroup]:
    """Return a pool and its VG as they are once the kernel shows `status`.

    What the metadata takes, and what its spare may take, is counted in full. Which PVs the
    extents came from is not known: those with the least room are counted first, which never
    promises a striped or mirrored LV more than there is.
    """
    sizes = {
        outcome.extension.device: outcome.extension.extents
        for outcome in attempt.outcomes
        if not outcome.failure
    }
    room = Room(pool=pool, group=group, limits=Limits(), rules=rules)
    return _resized(
        room,
        _extents(status, Device.DATA, sizes, pool, group),
        _extents(status, Device.METADATA, sizes, pool, group),
    )


def if_carried_out(
    pool: LvmPool, group: VolumeGroup, decision: Decision, rules: Rules = NEWEST
) -> tuple[LvmPool, VolumeGroup]:
    """Return a pool and its VG as they are if an extension has been carried out whole.

    While nobody knows whether it was, the next extension in the VG must leave that room free.
    """
    room = Room(pool=pool, group=group, limits=Limits(), rules=rules)
    sizes = {extension.device: extension.extents for extension in decision.extensions}
    data = sizes.get(Device.DATA, 0)
    # Unless the command names a size, LVM raises the metadata with the data.
    metadata = sizes.get(Device.METADATA) or room.metadata_extents_for(data)
    return _resized(room, data, metadata)


def _resized(room: Room, data: int, metadata: int) -> tuple[LvmPool, VolumeGroup]:
    """Return a pool and its VG with LVs of so many extents; none becomes smaller."""
    pool, group = room.pool, room.group
    data, metadata = max(room.data_extents, data), max(room.metadata_extents, metadata)
    taken = (data - room.data_extents) * pool.data_areas // pool.data_stripes
    if metadata > room.metadata_extents:
        taken += room.metadata_cost(metadata)
    return (
        structs.replace(
            pool,
            size_bytes=data * group.extent_bytes,
            metadata_size_bytes=metadata * group.extent_bytes,
            # Of a size that has grown the same blocks are a smaller share.
            data_percent=_share(pool.data_percent, room.data_extents, data),
            metadata_percent=_share(pool.metadata_percent, room.metadata_extents, metadata),
        ),
        structs.replace(
            group,
            free_bytes=max(0, group.free_bytes - taken * group.extent_bytes),
            spare_extents=room.spare_after(metadata),
            largest_metadata_extents=max(group.largest_metadata_extents, metadata),
            physical_volumes=tuple(_allocated(group.physical_volumes, taken)),
        ),
    )


def _extents(
    status: PoolStatus,
    device: Device,
    sizes: dict[Device, int],
    pool: LvmPool,
    group: VolumeGroup,
) -> int:
    """Return the size of an LV whose device the kernel shows with so many blocks.

    The kernel uses whole chunks, so that an LV may be larger than they are. It is as large
    as was decided if that gives the same chunks, else the smallest that does.
    """
    usage = status.data if device is Device.DATA else status.metadata
    if usage is None:
        return 0
    decided = sizes.get(device, 0)
    block = pool.chunk_bytes if device is Device.DATA else METADATA_BLOCK_BYTES
    if decided * group.extent_bytes // block == usage.total_blocks:
        return decided
    return -(-usage.total_bytes // group.extent_bytes)


def _share(percent: float | None, before: int, after: int) -> float | None:
    return None if percent is None or not after else percent * before / after


def _allocated(volumes: Iterable[PhysicalVolume], extents: int) -> Iterable[PhysicalVolume]:
    """Take extents from the PVs, the fullest first; the order of the PVs stays."""
    shares = {}
    for volume in sorted(volumes, key=lambda volume: volume.usable_free_extents):
        shares[volume.name] = min(extents, volume.usable_free_extents)
        extents -= shares[volume.name]
    return (
        structs.replace(
            volume, allocated_extents=volume.allocated_extents + shares[volume.name]
        )
        for volume in volumes
    )
