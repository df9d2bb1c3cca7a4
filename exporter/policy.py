"""Decides what one pool needs: pure, from the Snapshot's records and the limits alone.

First LVM's own arithmetic (autoextend.py), then ours: metadata before data, clamped to
what the VG can give, never beyond the reserve or the pool's largest size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from exporter import autoextend
from exporter.model import (
    Decision,
    Device,
    Extension,
    GuardMode,
    LvmPool,
    NextStep,
    Policy,
    PoolMode,
    PoolSource,
    PoolStatus,
    Reason,
    ThinPool,
    VolumeGroup,
)

LvmVersion = tuple[int, int, int]

# Above this the kernel uses less of the metadata LV than LVM's size says.
COMPARABLE_METADATA_BYTES = 15 * 1024**3


class Limits(Struct, frozen=True, kw_only=True):
    """What the user allows: the pool's largest data size, what stays free in each VG."""

    max_size_bytes: int | None = None
    reserve_bytes: int = 0


def decide(
    pool: ThinPool,
    group: VolumeGroup | None,
    limits: Limits,
    *,
    lvm_version: LvmVersion | None = None,
) -> Decision:
    """Decide to what sizes a pool's LVs are extended now, and why or why not."""
    obstacle = _obstacle(pool) or _layout_obstacle(pool, group) or _policy_obstacle(pool)
    if obstacle:
        return Decision(reason=obstacle)
    need = _Need.of(pool)
    if need is None or pool.lvm is None or group is None:
        return Decision(reason=Reason.USAGE_UNKNOWN)
    if not need.data_percent and not need.metadata_percent:
        return Decision(reason=Reason.BELOW_THRESHOLD)
    if need.policy.step_percent == 0:
        return Decision(reason=Reason.POLICY_STEP_ZERO)
    room = _Room(pool=pool.lvm, group=group, limits=limits)
    return _decision(room, *_extensions(room, need, lvm_version))


def authorise(
    decision: Decision, pool: ThinPool, mode: GuardMode, *, is_takeover_due: bool
) -> Decision:
    """Hold a decision against what the guard may do with this pool.

    In `auto` a pool that dmeventd monitors, or may monitor, is dmeventd's until it has
    stayed over its threshold for too long.
    """
    if mode is GuardMode.OFF:
        return Decision(reason=Reason.GUARD_OFF)
    is_growth = bool(decision.extensions)
    if not is_growth and decision.reason is not Reason.BELOW_THRESHOLD:
        return decision
    if is_left_to_dmeventd(pool, mode) and not (is_growth and is_takeover_due):
        return Decision(reason=Reason.DMEVENTD_MONITORS)
    if is_growth and mode is GuardMode.OBSERVE:
        return Decision(reason=Reason.OBSERVE_ONLY)
    return decision


def is_left_to_dmeventd(pool: ThinPool, mode: GuardMode) -> bool:
    """Whether the pool is dmeventd's; where nobody can tell, it is taken to be."""
    return mode is GuardMode.AUTO and pool.is_monitored is not False


def next_steps(
    pool: ThinPool, group: VolumeGroup | None, limits: Limits
) -> tuple[NextStep, ...]:
    """Tell what the policy will ask for at its next crossing, and what is possible now.

    Nothing when that is unknown or the policy never extends.
    """
    lvm, policy = pool.lvm, pool.policy
    if lvm is None or group is None or policy is None or policy.is_off:
        return ()
    need = _Need.of(pool)
    data = (need.data_percent if need else 0) or policy.step_percent
    metadata = (need.metadata_percent if need else 0) or policy.step_percent + 1
    room = _Room(pool=lvm, group=group, limits=limits)
    more = autoextend.added_extents(metadata, room.metadata_extents)
    extensions = (room.data(data, room.budget), room.metadata(more))
    return tuple(
        NextStep(
            device=extension.device,
            wanted_bytes=(extension.wanted_extents - extension.from_extents)
            * group.extent_bytes,
            possible_bytes=extension.added_bytes,
        )
        for extension in extensions
    )


def _obstacle(pool: ThinPool) -> Reason | None:
    """Find what in the pool's own state forbids to touch it."""
    if pool.source is not PoolSource.LVM:
        return Reason.NOT_LVM
    if pool.kernel is None:
        return Reason.INACTIVE if pool.mode is PoolMode.INACTIVE else Reason.USAGE_UNKNOWN
    status = pool.kernel.status
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


def _layout_obstacle(pool: ThinPool, group: VolumeGroup | None) -> Reason | None:
    """Find what in LVM's account of the pool and its VG forbids to extend it."""
    if pool.lvm is None or group is None:
        return Reason.LAYOUT_UNKNOWN
    return _first(
        (group.is_exported, Reason.VG_EXPORTED),
        (group.is_shared or group.is_clustered, Reason.VG_SHARED),
        (group.is_partial, Reason.VG_PARTIAL),
        (not group.is_writable or not pool.lvm.is_writable, Reason.NOT_WRITABLE),
        (pool.lvm.is_locked, Reason.LOCKED),
        (not sizes_agree(pool), Reason.LAYOUT_DIFFERS),
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


def _policy_obstacle(pool: ThinPool) -> Reason | None:
    if pool.policy is None:
        return Reason.POLICY_UNKNOWN
    if not pool.policy.is_off:
        return None
    return Reason.PROFILE_MISSING if pool.is_profile_missing else Reason.POLICY_OFF


class _Need(Struct, frozen=True, kw_only=True):
    """What LVM's arithmetic asks for, in percent of each LV (0: nothing)."""

    policy: Policy
    data_percent: int
    metadata_percent: int

    @classmethod
    def of(cls, pool: ThinPool) -> _Need | None:
        lvm, policy = pool.lvm, pool.policy
        if lvm is None or policy is None or pool.data is None or pool.metadata is None:
            return None
        threshold, step = policy.threshold_percent, policy.step_percent
        return cls(
            policy=policy,
            data_percent=autoextend.step_percent(
                pool.data, threshold_percent=threshold, policy_percent=step
            ),
            metadata_percent=autoextend.metadata_step_percent(
                pool.metadata,
                size_bytes=lvm.metadata_size_bytes,
                threshold_percent=threshold,
                policy_percent=step,
            ),
        )


class _Room(Struct, frozen=True, kw_only=True):
    """What one VG can give to one pool; all counts in extents."""

    pool: LvmPool
    group: VolumeGroup
    limits: Limits

    @property
    def budget(self) -> int:
        reserve = -(-self.limits.reserve_bytes // self.group.extent_bytes)
        return max(0, self.group.usable_free_extents - reserve)

    @property
    def data_extents(self) -> int:
        return self.pool.size_bytes // self.group.extent_bytes

    @property
    def metadata_extents(self) -> int:
        return self.pool.metadata_size_bytes // self.group.extent_bytes

    def metadata(self, more: int) -> Extension:
        """Extend the metadata LV by so many extents, or as far as the budget goes."""
        now = self.metadata_extents
        wanted = now + more
        # LVM stops there by itself, and calls it success: that is no clamp of ours.
        wanted = max(now, min(wanted, autoextend.max_metadata_extents(self.group.extent_bytes)))
        fits = _largest(now, wanted, lambda size: self.metadata_cost(size) <= self.budget)
        if fits == now and self._spare_is_out_of_reach(wanted):
            fits = min(wanted, now + self.budget // self.pool.metadata_areas)
        return self._extension(Device.METADATA, now, wanted, fits)

    def metadata_cost(self, size: int) -> int:
        """Extents that LVM takes to make the metadata LV this large, spare included."""
        added = max(0, size - self.metadata_extents) * self.pool.metadata_areas
        if not added:
            return 0
        spare = max(size, self.group.largest_metadata_extents) - self.group.spare_extents
        return added + max(0, spare)

    def _spare_is_out_of_reach(self, size: int) -> bool:
        """Whether LVM would fail to grow the spare, which it ignores, and take nothing."""
        spare = max(size, self.group.largest_metadata_extents) - self.group.spare_extents
        return spare > self.group.usable_free_extents

    def data(self, percent: int, budget: int, *, metadata_named: bool = False) -> Extension:
        """Extend the data LV by this percentage, or as far as budget and limits go."""
        now = self.data_extents
        step = autoextend.stripe_extents(
            self.pool.data_stripes, self.pool.data_stripe_bytes, self.group.extent_bytes
        )
        added = autoextend.round_to_stripes(
            autoextend.added_extents(percent, now),
            stripe_extents=step,
            free_extents=self.group.usable_free_extents,
        )

        def fits(steps: int) -> bool:
            size = now + steps * step
            return (
                self._data_cost(size, metadata_named=metadata_named) <= budget
                and self._is_allowed(size)
                and steps * step // self.pool.data_stripes <= self._longest_area()
            )

        possible = now + step * _largest(0, added // step, fits)
        return self._extension(Device.DATA, now, now + added, possible)

    def _data_cost(self, size: int, *, metadata_named: bool) -> int:
        """Extents that LVM takes to make the data LV this large.

        Unless the command names a metadata size, it raises the metadata with the data.
        """
        areas = (size - self.data_extents) * self.pool.data_areas // self.pool.data_stripes
        if metadata_named:
            return areas
        metadata = autoextend.metadata_extents_for(
            size, extent_bytes=self.group.extent_bytes, chunk_bytes=self.pool.chunk_bytes
        )
        return areas + self.metadata_cost(metadata)

    def _is_allowed(self, size: int) -> bool:
        limit = self.limits.max_size_bytes
        return limit is None or size * self.group.extent_bytes <= limit

    def _longest_area(self) -> int:
        """Most extents that each of the areas of a striped or mirrored LV can gain."""
        free = [volume.usable_free_extents for volume in self.group.physical_volumes]
        areas = self.pool.data_areas
        return _largest(0, sum(free), lambda length: _spread(free, length) >= areas * length)

    def is_at_max_size(self, extension: Extension) -> bool:
        """Whether it is the user's limit that leaves no room for one more step."""
        return not self._is_allowed(extension.extents + self.pool.data_stripes)

    def _extension(self, device: Device, now: int, wanted: int, fits: int) -> Extension:
        return Extension(
            device=device,
            from_extents=now,
            wanted_extents=wanted,
            extents=fits,
            extent_bytes=self.group.extent_bytes,
        )


def _extensions(
    room: _Room, need: _Need, lvm_version: LvmVersion | None
) -> tuple[Extension | None, Extension | None]:
    """Fit what is needed: metadata first, data from what is left."""
    metadata = _metadata_extension(room, need, lvm_version) if need.metadata_percent else None
    is_named = metadata is not None and metadata.added_bytes > 0
    spent = room.metadata_cost(metadata.extents) if metadata and is_named else 0
    if not need.data_percent:
        return metadata, None
    budget = max(0, room.budget - spent)
    return metadata, room.data(need.data_percent, budget, metadata_named=is_named)


def _metadata_extension(room: _Room, need: _Need, lvm_version: LvmVersion | None) -> Extension:
    more = autoextend.metadata_added_extents(
        need.metadata_percent,
        room.metadata_extents,
        is_with_data=bool(need.data_percent),
        lvm_version=lvm_version,
    )
    return room.metadata(more)


def _decision(room: _Room, metadata: Extension | None, data: Extension | None) -> Decision:
    wanted = [extension for extension in (metadata, data) if extension]
    possible = tuple(extension for extension in wanted if extension.added_bytes)
    if not possible:
        return Decision(reason=_why_nothing(room, metadata, data))
    if any(extension.is_clamped for extension in wanted):
        return Decision(reason=Reason.EXTEND_CLAMPED, extensions=possible)
    return Decision(reason=Reason.EXTEND, extensions=possible)


def _why_nothing(room: _Room, metadata: Extension | None, data: Extension | None) -> Reason:
    if data is not None:
        return Reason.AT_MAX_SIZE if room.is_at_max_size(data) else Reason.NO_SPACE
    if metadata is not None and not metadata.is_clamped:
        return Reason.AT_METADATA_LIMIT
    return Reason.NO_SPACE


def _largest(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Largest number in [low, high] for which `holds`, true up to some point; else low."""
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _spread(free: Iterable[int], length: int) -> int:
    """Extents usable when no PV may give more than `length` to areas side by side."""
    return sum(min(extents, length) for extents in free)
