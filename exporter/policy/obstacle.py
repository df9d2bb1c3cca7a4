"""What forbids to extend a pool: its own state, LVM's account of it, its policy."""

from __future__ import annotations

from exporter.model import PoolMode, PoolSource, PoolStatus, Reason, ThinPool, VolumeGroup
from exporter.policy.need import Need

# Above this the kernel uses less of the metadata LV than LVM's size says.
COMPARABLE_METADATA_BYTES = 15 * 1024**3


def state_obstacle(pool: ThinPool) -> Reason | None:
    """Find what in the pool's own state forbids to touch it."""
    if pool.source is not PoolSource.LVM:
        return Reason.NOT_LVM
    if pool.mode is PoolMode.INACTIVE:
        return Reason.INACTIVE
    status = pool.status
    if status is None:
        return Reason.USAGE_UNKNOWN
    needs_check = bool(status.needs_check or (pool.lvm and pool.lvm.needs_check))
    is_unknown = status.data is None or status.metadata is None
    return _first(
        (status.mode is PoolMode.FAILED, Reason.FAILED),
        (needs_check, Reason.NEEDS_CHECK),
        (status.is_suspended, Reason.SUSPENDED),
        (is_unknown or status.mode is PoolMode.UNKNOWN, Reason.USAGE_UNKNOWN),
        (not is_recoverable(status), Reason.READ_ONLY),
    )


def _first(*checks: tuple[bool, Reason]) -> Reason | None:
    return next((reason for applies, reason in checks if applies), None)


def is_recoverable(status: PoolStatus) -> bool:
    """Whether the pool can be written, or is read-only for want of metadata alone.

    The kernel leaves that mode when the metadata grows, provided that needs_check is
    known to be unset; whatever else made it read-only, more space does not mend.
    """
    if status.mode is not PoolMode.RO:
        return True
    metadata = status.metadata
    is_out_of_metadata = metadata is not None and metadata.used_blocks >= metadata.total_blocks
    return is_out_of_metadata and status.needs_check is False


def layout_obstacle(pool: ThinPool, group: VolumeGroup | None) -> Reason | None:
    """Find what in LVM's account of the pool and its VG forbids to extend it."""
    if group is None:
        return Reason.LAYOUT_UNKNOWN
    # lvs lists no pools of such a VG, so this comes before what it says of the pool.
    closed = _first(
        (group.is_exported, Reason.VG_EXPORTED),
        (group.is_shared or group.is_clustered, Reason.VG_SHARED),
        (group.is_foreign, Reason.VG_FOREIGN),
    )
    if closed or pool.lvm is None:
        return closed or Reason.LAYOUT_UNKNOWN
    segments = (pool.lvm.data_segment_type, pool.lvm.metadata_segment_type)
    return _first(
        (group.is_partial, Reason.VG_PARTIAL),
        (None in segments, Reason.LAYOUT_UNKNOWN),  # so is what an extension costs
        (not group.is_writable or not pool.lvm.is_writable, Reason.NOT_WRITABLE),
        (pool.lvm.is_locked, Reason.LOCKED),
        (pool.is_renamed or not sizes_agree(pool), Reason.LAYOUT_DIFFERS),
    )


def sizes_agree(pool: ThinPool) -> bool:
    """Whether the kernel uses what LVM has committed.

    Where it does not, an extension was ineffective (needs_check makes lvextend succeed
    without effect) or has not been read yet: in either case more of it is wrong.
    """
    if pool.lvm is None or pool.data is None or pool.metadata is None:
        return False
    data_blocks = pool.lvm.size_bytes // pool.data.block_bytes
    metadata_blocks = pool.lvm.metadata_size_bytes // pool.metadata.block_bytes
    return data_blocks == pool.data.total_blocks and (
        metadata_blocks == pool.metadata.total_blocks
        or pool.lvm.metadata_size_bytes > COMPARABLE_METADATA_BYTES
    )


def policy_obstacle(pool: ThinPool, need: Need | None) -> Reason | None:
    """Find what in the pool's policy forbids to extend it.

    A step of 0 % is an error of LVM's, which it reports only when it is to extend.
    """
    if pool.policy is None:
        return Reason.POLICY_UNKNOWN
    if pool.policy.is_off:
        return Reason.PROFILE_MISSING if pool.is_profile_missing else Reason.POLICY_OFF
    is_needed = need is not None and (need.is_data or need.is_metadata)
    return Reason.POLICY_STEP_ZERO if is_needed and not pool.policy.step_percent else None
