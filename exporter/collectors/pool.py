"""Thin pools → what they are, how full they are and in which state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.core import Metric

from exporter.collectors.families import (
    POOL,
    Labels,
    Row,
    gauges,
    pools_by_labels,
    present,
    printable,
)
from exporter.model import (
    Collector,
    KernelPool,
    LvmPool,
    PoolMode,
    PoolStatus,
    Snapshot,
    ThinPool,
)

INFO_LABELS = (*POOL, "dm_name", "uuid", "profile", "discards", "source")
WHILE_MUTE = "while the kernel cannot be asked"
# The kernel's words for what lvchange --discards sets.
DISCARDS = {
    "discard_passdown": "passdown",
    "no_discard_passdown": "nopassdown",
    "ignore_discard": "ignore",
}


class Facts(NamedTuple):
    """What the best source that answers says of one pool."""

    data_size: int | None = None
    data_used: int | None = None
    metadata_size: int | None = None
    metadata_used: int | None = None
    needs_check: bool | None = None
    is_suspended: bool | None = None


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
FACTS: tuple[Row[Facts], ...] = (
    Row(
        "thinpool_data_size_bytes",
        f"Size of the pool's data device in bytes, from the kernel; from lvs {WHILE_MUTE}.",
        lambda facts: facts.data_size,
    ),
    Row(
        "thinpool_data_used_bytes",
        "Bytes of the pool's data device in use, exact, from the kernel; computed from the "
        f"rounded percentage of lvs {WHILE_MUTE}.",
        lambda facts: facts.data_used,
    ),
    Row(
        "thinpool_metadata_size_bytes",
        f"Size of the pool's metadata device in bytes, from the kernel; from lvs {WHILE_MUTE}.",
        lambda facts: facts.metadata_size,
    ),
    Row(
        "thinpool_metadata_used_bytes",
        "Bytes of the pool's metadata device in use, exact, from the kernel; computed from the "
        f"rounded percentage of lvs {WHILE_MUTE}.",
        lambda facts: facts.metadata_used,
    ),
    Row(
        "thinpool_needs_check",
        "1 if the pool's metadata must be checked with thin_check before it can be trusted, "
        f"else 0; from the kernel; from lvs {WHILE_MUTE}.",
        lambda facts: facts.needs_check,
    ),
    Row(
        "thinpool_suspended",
        f"1 if the pool's device is suspended, else 0; from the kernel; from lvs {WHILE_MUTE}.",
        lambda facts: facts.is_suspended,
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
        "blocks from being freed, else 0; from the kernel.",
        lambda kernel: _is_snapshot_held(kernel.status),
    ),
    Row(
        "thinpool_queue_if_no_space",
        "1 if a full pool makes writers wait, 0 if it fails them at once; from the kernel, "
        "which turns from 1 to 0 after its no_space_timeout.",
        lambda kernel: kernel.status.queue_if_no_space,
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
        "1 for the mode that the pool is in, 0 for the others; from the kernel, which says "
        "ro for metadata out of space as well.",
        float,
    ),
)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe every pool of the Snapshot."""
    pools = pools_by_labels(snapshot.pools)
    is_kernel_mute = not _is_kernel_answering(snapshot)
    yield from gauges(INFO, _by_info(pools), INFO_LABELS)
    facts = {
        labels: _facts(pool, is_kernel_mute=is_kernel_mute) for labels, pool in pools.items()
    }
    kernels = {labels: pool.kernel for labels, pool in pools.items() if pool.kernel}
    yield from gauges(FACTS, facts)
    yield from gauges(LAYOUT, pools)
    yield from gauges(KERNEL, kernels)
    yield from gauges(MODE, _by_mode(pools), (*POOL, "mode"))


def _is_kernel_answering(snapshot: Snapshot) -> bool:
    state = snapshot.collectors.get(Collector.DEVICE_MAPPER)
    return state is not None and state.is_ok


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


def _facts(pool: ThinPool, *, is_kernel_mute: bool) -> Facts:
    if pool.kernel:
        return _facts_of_kernel(pool.kernel.status)
    # An inactive pool has no figures, and a kernel that answered without naming the
    # pool says just that: LVM's account serves only where the kernel gives none.
    if pool.lvm and is_kernel_mute and pool.mode is not PoolMode.INACTIVE:
        return _facts_of_lvm(pool.lvm)
    return Facts()


def _facts_of_kernel(status: PoolStatus) -> Facts:
    data, metadata = status.data, status.metadata
    return Facts(
        data_size=data.total_bytes if data else None,
        data_used=data.used_bytes if data else None,
        metadata_size=metadata.total_bytes if metadata else None,
        metadata_used=metadata.used_bytes if metadata else None,
        needs_check=status.needs_check,
        is_suspended=status.is_suspended,
    )


def _facts_of_lvm(lvm: LvmPool) -> Facts:
    return Facts(
        data_size=lvm.size_bytes,
        data_used=_share(lvm.data_percent, lvm.size_bytes),
        metadata_size=lvm.metadata_size_bytes,
        metadata_used=_share(lvm.metadata_percent, lvm.metadata_size_bytes),
        needs_check=lvm.needs_check,
        is_suspended=lvm.is_suspended,
    )


def _is_snapshot_held(status: PoolStatus) -> bool | None:
    """Say whether one is reserved; a failed pool does not tell."""
    return None if status.data is None else status.held_root_block is not None


def _share(percent: float | None, size_bytes: int) -> int | None:
    return None if percent is None else round(size_bytes * percent / 100)
