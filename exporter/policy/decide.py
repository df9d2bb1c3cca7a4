"""Decides what one pool needs: pure, from the Snapshot's records and the limits alone.

First LVM's own arithmetic (autoextend.py), then ours: more of it where the pool fills
faster than that lasts, metadata before data, clamped to what the VG can give, never
beyond the reserve or the pool's largest size.
"""

from __future__ import annotations

from msgspec import structs

from exporter import autoextend
from exporter.autoextend import LvmVersion
from exporter.model import (
    Decision,
    Device,
    Extension,
    GuardMode,
    NextStep,
    Reason,
    ThinPool,
    VolumeGroup,
)
from exporter.policy.need import NOTHING_EXPECTED, Need, Outlook
from exporter.policy.obstacle import layout_obstacle, policy_obstacle, state_obstacle
from exporter.policy.room import Limits, Room


def decide(
    pool: ThinPool,
    group: VolumeGroup | None,
    limits: Limits,
    *,
    lvm_version: LvmVersion | None = None,
    outlook: Outlook = NOTHING_EXPECTED,
) -> Decision:
    """Decide to what sizes a pool's LVs are extended now, and why or why not.

    With nothing expected it is what `lvextend --use-policies` would do, as far as it fits.
    """
    obstacle = state_obstacle(pool) or layout_obstacle(pool, group)
    if obstacle:
        return Decision(reason=obstacle)
    rules = autoextend.rules_of(lvm_version)
    need = Need.of(pool, outlook, rules)
    obstacle = policy_obstacle(pool, need)
    if obstacle and (need is None or not outlook.is_for_any_policy):
        return Decision(reason=obstacle)
    if need is None or pool.lvm is None or group is None:
        return Decision(reason=Reason.USAGE_UNKNOWN)
    if obstacle:
        need = need.without_policy()
    if not need.is_data and not need.is_metadata:
        return Decision(reason=obstacle or Reason.BELOW_THRESHOLD)
    room = Room(pool=pool.lvm, group=group, limits=limits, rules=rules)
    return _decision(room, *_extensions(room, need))


def authorise(
    decision: Decision, pool: ThinPool, mode: GuardMode, *, is_takeover_due: bool
) -> Decision:
    """Hold a decision against what the guard may do with this pool.

    In `auto` a pool that dmeventd monitors, or may monitor, is dmeventd's until it has
    stayed over its threshold for too long, and from then on while that is remembered.
    """
    if mode is GuardMode.OFF:
        return Decision(reason=Reason.GUARD_OFF)
    is_growth = bool(decision.extensions)
    if not is_growth and decision.reason is not Reason.BELOW_THRESHOLD:
        return decision
    if is_left_to_dmeventd(pool, mode) and not is_takeover_due:
        return Decision(reason=Reason.DMEVENTD_MONITORS)
    if is_growth and mode is GuardMode.OBSERVE:
        return Decision(reason=Reason.OBSERVE_ONLY)
    return decision


def is_left_to_dmeventd(pool: ThinPool, mode: GuardMode) -> bool:
    """Whether the pool is dmeventd's; where nobody can tell, it is taken to be."""
    return mode is GuardMode.AUTO and pool.is_monitored is not False


def next_steps(
    pool: ThinPool,
    group: VolumeGroup | None,
    limits: Limits,
    *,
    lvm_version: LvmVersion | None = None,
) -> tuple[NextStep, ...]:
    """Tell what the policy will ask for at its next crossing, and what is possible now.

    Each device crosses by itself here; together LVM may count otherwise (autoextend.py).
    Nothing when that is unknown or the policy never extends.
    """
    lvm, policy = pool.lvm, pool.policy
    if lvm is None or group is None or policy is None or policy.is_off:
        return ()
    rules = autoextend.rules_of(lvm_version)
    need = Need.of(pool, rules=rules)
    step = max(0, policy.step_percent)
    data = (need.data_percent if need else 0) or step
    metadata = (need.metadata_percent if need else 0) or autoextend.metadata_percent(
        step, rules=rules
    )
    room = Room(pool=lvm, group=group, limits=limits, rules=rules)
    extensions = (
        room.data(autoextend.added_extents(data, room.data_extents), room.budget),
        room.metadata(autoextend.added_extents(metadata, room.metadata_extents)),
    )
    return tuple(
        NextStep(
            device=extension.device,
            wanted_bytes=(extension.wanted_extents - extension.from_extents)
            * group.extent_bytes,
            possible_bytes=extension.added_bytes,
        )
        for extension in extensions
    )


def attainable(
    pool: ThinPool,
    group: VolumeGroup | None,
    limits: Limits,
    *,
    lvm_version: LvmVersion | None = None,
) -> dict[Device, int]:
    """Work out the size in bytes that each device can reach with all that its VG can give it.

    For each device it is assumed that the other one does not grow. Empty if LVM does not tell
    how the pool is laid out.
    """
    if pool.lvm is None or group is None:
        return {}
    rules = autoextend.rules_of(lvm_version)
    room = Room(pool=pool.lvm, group=group, limits=limits, rules=rules)
    free = group.usable_free_extents
    extensions = (room.data(free * pool.lvm.data_stripes, room.budget), room.metadata(free))
    return {extension.device: extension.size_bytes for extension in extensions}


def _extensions(room: Room, need: Need) -> tuple[Extension | None, Extension | None]:
    """Fit what is needed: metadata first, data from what is left."""
    metadata = _metadata_extension(room, need) if need.is_metadata else None
    is_named = metadata is not None and metadata.added_bytes > 0
    spent = room.metadata_cost(metadata.extents) if metadata and is_named else 0
    if not need.is_data:
        return metadata, None
    budget = max(0, room.budget - spent)
    step = autoextend.added_extents(need.data_percent, room.data_extents)
    data = room.data(max(step, room.extents(need.data_bytes)), budget, metadata_named=is_named)
    return metadata, _marked(data, need.data_percent)


def _metadata_extension(room: Room, need: Need) -> Extension:
    step = 0
    if need.metadata_percent:
        step = autoextend.metadata_added_extents(
            need.metadata_percent,
            room.metadata_extents,
            is_with_data=bool(need.data_percent),
            rules=room.rules,
        )
    extension = room.metadata(max(step, room.extents(need.metadata_bytes)))
    return _marked(extension, need.metadata_percent)


def _marked(extension: Extension, policy_percent: int) -> Extension:
    """Mark what LVM's policy would not have asked for yet."""
    return structs.replace(extension, is_anticipated=not policy_percent)


def _decision(room: Room, metadata: Extension | None, data: Extension | None) -> Decision:
    wanted = [extension for extension in (metadata, data) if extension]
    possible = tuple(extension for extension in wanted if extension.added_bytes)
    if not possible:
        return Decision(reason=_why_nothing(room, metadata, data))
    reason = Reason.EXTEND
    if any(extension.is_clamped for extension in wanted):
        reason = Reason.EXTEND_CLAMPED
    elif all(extension.is_anticipated for extension in possible):
        reason = Reason.EXTEND_ANTICIPATED
    is_data_alone = possible == (data,) and room.is_data_alone(possible[0].extents)
    return Decision(reason=reason, extensions=possible, is_data_alone=is_data_alone)


def _why_nothing(room: Room, metadata: Extension | None, data: Extension | None) -> Reason:
    if data is not None:
        return Reason.AT_MAX_SIZE if room.is_at_max_size(data) else Reason.NO_SPACE
    if metadata is not None and not metadata.is_clamped:
        return Reason.AT_METADATA_LIMIT
    return Reason.NO_SPACE
