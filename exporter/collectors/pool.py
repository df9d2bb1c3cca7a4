"""Thin pools → what they are, how full they are and in which state."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from exporter.collectors.families import (
    OLD,
    POOL,
    Labels,
    Row,
    gauges,
    pools_by_labels,
    present,
    printable,
)
from exporter.model import (
    KernelPool,
    LvmPool,
    PoolMode,
    PoolStatus,
    Snapshot,
    ThinPool,
    Usage,
)

INFO_LABELS = (*POOL, "dm_name", "uuid", "profile", "discards", "source")
ABSENT = f"Absent while neither gives it, and {OLD}."
SOURCE = f"From the kernel, or from lvs while the kernel does not give it. {ABSENT}"
ROUNDED = (
    "From the kernel, or from lvs, rounded to 0.01 %, while the kernel does not give it. "
    f"{ABSENT}"
)
SIZE_SOURCE = (
    "From the kernel, or from lvs while the kernel does not give it. Absent if the pool is not "
    "active."
)
# The kernel's words for what lvchange --discards sets.
DISCARDS = {
    "discard_passdown": "passdown",
    "no_discard_passdown": "nopassdown",
    "ignore_discard": "ignore",
}


def _chunk_size(pool: ThinPool) -> int | None:
    if pool.kernel:
        return pool.kernel.chunk_bytes
    return pool.lvm.chunk_bytes if pool.lvm else None


INFO: tuple[Row[ThinPool], ...] = (
    Row(
        "thinpool_info",
        "Always 1. Labels: the pool's device-mapper name, UUID (the LV's, or device-mapper's "
        "for a pool that is not LVM's), LVM metadata profile, discards in LVM's words, and "
        "source: lvm, or device_mapper for a pool that is not LVM's.",
        present,
    ),
)
STATUS: tuple[Row[ThinPool], ...] = (
    Row(
        "thinpool_data_size_bytes",
        f"Size of the pool's data device in bytes. {SIZE_SOURCE}",
        lambda pool: _size(pool, pool.data, lambda lvm: lvm.size_bytes),
    ),
    Row(
        "thinpool_data_used_bytes",
        f"Bytes of the pool's data device in use. {ROUNDED}",
        lambda pool: pool.data.used_bytes if pool.data else None,
    ),
    Row(
        "thinpool_metadata_size_bytes",
        f"Size of the pool's metadata device in bytes. {SIZE_SOURCE}",
        lambda pool: _size(pool, pool.metadata, lambda lvm: lvm.metadata_size_bytes),
    ),
    Row(
        "thinpool_metadata_used_bytes",
        f"Bytes of the pool's metadata device in use. {ROUNDED}",
        lambda pool: pool.metadata.used_bytes if pool.metadata else None,
    ),
    Row(
        "thinpool_needs_check",
        "1 if the pool's metadata must be checked with thin_check before it can be trusted, "
        f"else 0. {SOURCE}",
        lambda pool: pool.status.needs_check if pool.status else None,
    ),
    Row(
        "thinpool_suspended",
        f"1 if the pool's device is suspended, else 0. {SOURCE}",
        lambda pool: pool.status.is_suspended if pool.status else None,
    ),
    Row(
        "thinpool_queue_if_no_space",
        "1 if a full pool makes writers wait, 0 if it fails them at once; the kernel turns "
        f"from 1 to 0 after its no_space_timeout. {SOURCE}",
        lambda pool: pool.status.queue_if_no_space if pool.status else None,
    ),
)
LAYOUT: tuple[Row[ThinPool], ...] = (
    Row(
        "thinpool_chunk_size_bytes",
        "Size of one chunk, the unit that the pool allocates, in bytes; from the kernel, from "
        "lvs for a pool that is not active.",
        _chunk_size,
    ),
    Row(
        "thinpool_virtual_size_bytes",
        "Sum of the sizes that the pool's thin volumes promise, in bytes; from the kernel's "
        "tables and lvs.",
        lambda pool: pool.virtual_size_bytes,
    ),
    Row(
        "thinpool_thin_volumes",
        "Number of thin volumes in the pool, those that Docker made included while they are "
        "active; from the kernel's tables and lvs.",
        lambda pool: pool.thin_volumes,
    ),
)
KERNEL: tuple[Row[KernelPool], ...] = (
    Row(
        "thinpool_metadata_snapshot_held",
        "1 if a metadata snapshot is reserved (reserve_metadata_snap), which keeps metadata "
        "blocks from being freed, else 0. From the kernel; absent while it does not tell, and "
        f"{OLD}.",
        lambda kernel: _is_snapshot_held(kernel.status),
    ),
    Row(
        "thinpool_low_water_mark_bytes",
        "Free data space in bytes at which the kernel raises its event, from the kernel's "
        "table; stale until the pool is reloaded after a change of policy.",
        lambda kernel: kernel.low_water_mark_blocks * kernel.chunk_bytes,
    ),
)
MODE: tuple[Row[bool], ...] = (
    Row(
        "thinpool_mode",
        "1 for the mode that the pool is in, 0 for the others; ro also means metadata out of "
        "space. From the kernel, or from lvs while the kernel does not give it; unknown while "
        f"neither does. Absent {OLD}.",
        float,
    ),
)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe every pool of the Snapshot."""
    pools = pools_by_labels(snapshot.pools)
    kernels = {labels: pool.kernel for labels, pool in pools.items() if pool.kernel}
    yield from gauges(INFO, _by_info(pools), INFO_LABELS)
    yield from gauges(STATUS, pools)
    yield from gauges(LAYOUT, pools)
    yield from gauges(KERNEL, kernels)
    yield from gauges(MODE, _by_mode(pools), (*POOL, "mode"))


def _by_info(pools: dict[Labels, ThinPool]) -> dict[Labels, ThinPool]:
    return {(*labels, *_info(pool)): pool for labels, pool in pools.items()}


def _info(pool: ThinPool) -> Labels:
    dm_name = pool.kernel.dm_name if pool.kernel else None
    words = (dm_name, _uuid(pool), pool.profile, _discards(pool), pool.source.value)
    return tuple(map(printable, words))


def _uuid(pool: ThinPool) -> str | None:
    if pool.lvm:
        return pool.lvm.lv_uuid
    return pool.kernel.dm_uuid if pool.kernel else None


def _discards(pool: ThinPool) -> str | None:
    """Say what happens in fact, or what LVM would have for a pool that is not active."""
    if pool.kernel and pool.kernel.status.discard:
        return DISCARDS.get(pool.kernel.status.discard, pool.kernel.status.discard)
    return pool.lvm.discards if pool.lvm else None


def _by_mode(pools: dict[Labels, ThinPool]) -> dict[Labels, bool]:
    return {
        (*labels, mode.value): mode is pool.mode
        for labels, pool in pools.items()
        for mode in PoolMode
    }


def _size(pool: ThinPool, usage: Usage | None, by_lvm: Callable[[LvmPool], int]) -> int | None:
    """Return what the kernel uses of a device, or the LV's size while the usage is unknown.

    Alerts tell by the size that there is a pool to protect.
    """
    if pool.status or pool.lvm is None or pool.mode is PoolMode.INACTIVE:
        return usage.total_bytes if usage else None
    return by_lvm(pool.lvm)


def _is_snapshot_held(status: PoolStatus) -> bool | None:
    """Say whether one is reserved; a failed pool does not tell."""
    return None if status.data is None else status.held_root_block is not None
