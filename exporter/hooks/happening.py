"""What happens to a pool, and how a hook is told: by dmeventd's variables, and by ours.

A figure that is not known has no variable.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from exporter.autoextend import PERCENT_1, usage_percent
from exporter.model import Device, ThinPool, Usage
from exporter.model.words import Text


class HookEvent(Text):
    """What a hook is run on."""

    EXTENDED = "extended"  # the pool has grown
    IMPOSSIBLE = "impossible"  # it should grow, and cannot
    FULL = "full"  # it stays full


# The others are over when they have happened.
LASTING = frozenset({HookEvent.IMPOSSIBLE, HookEvent.FULL})
# Without this an lvextend of the hook's would talk to dmeventd, and start it.
RUN_BY_DMEVENTD = {"LVM_RUN_BY_DMEVENTD": "1"}


class Happening(Struct, frozen=True, kw_only=True):
    """One thing to tell a hook, with the pool as it was then."""

    event: HookEvent
    reason: str
    pool: ThinPool
    added_bytes: Mapping[Device, int] = {}
    seconds_left: float | None = None


def environment(happening: Happening) -> dict[str, str]:
    """Build what the hook finds in its environment.

    Units: bytes and seconds; DMEVENTD_* are whole percent, cut off as dmeventd does.
    Source: lvm2 daemons/dmeventd/plugins/thin/dmeventd_thin.c:_run_command.
    """
    pool, left = happening.pool, happening.seconds_left
    figures = {**_usage("DATA", pool.data), **_usage("METADATA", pool.metadata)}
    for device, size_bytes in happening.added_bytes.items():
        figures[f"THINPOOL_{device.upper()}_ADDED_BYTES"] = size_bytes
    if left is not None:
        figures["THINPOOL_SECONDS_LEFT"] = int(left)
    return {
        **RUN_BY_DMEVENTD,
        "THINPOOL_EVENT": str(happening.event),
        "THINPOOL_VG": pool.vg_name,
        "THINPOOL_POOL": pool.name,
        "THINPOOL_REASON": happening.reason,
        **{name: str(value) for name, value in figures.items()},
    }


def _usage(device: str, usage: Usage | None) -> dict[str, int]:
    if usage is None:
        return {}
    percent = usage_percent(usage.used_blocks, usage.total_blocks) // PERCENT_1
    return {
        f"DMEVENTD_THIN_POOL_{device}": percent,
        f"THINPOOL_{device}_USED_BYTES": usage.used_bytes,
        f"THINPOOL_{device}_SIZE_BYTES": usage.total_bytes,
    }
