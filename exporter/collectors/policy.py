"""Thin pools → the autoextend policy that is in force, and who watches over it."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from exporter.collectors.families import OLD, Row, gauges, pools_by_labels, ratio
from exporter.model import Dmeventd, Snapshot, ThinPool

NEVER_PERCENT = 100

POLICY: tuple[Row[ThinPool], ...] = (
    Row(
        "thinpool_autoextend_threshold_ratio",
        "Share of the data device above which LVM's policy extends it, 0.5 to 1, in effect "
        "(LVM takes 0.5 for less); 1 means never. From lvmconfig with the pool's profile.",
        lambda pool: _threshold(pool, pool.effective_threshold_percent),
    ),
    Row(
        "thinpool_metadata_autoextend_threshold_ratio",
        "Share of the metadata device above which LVM's policy extends it, in effect: the "
        "data threshold, or less where 4 MiB or a quarter must stay free; 1 means never. From "
        "lvmconfig with the pool's profile, and the size in lvs.",
        lambda pool: _threshold(pool, pool.metadata_threshold_percent),
    ),
    Row(
        "thinpool_autoextend_step_ratio",
        "Share of the pool's size that LVM's policy adds at a time; 0 makes extension fail. "
        "From lvmconfig with the pool's profile.",
        lambda pool: ratio(pool.policy.step_percent if pool.policy else None),
    ),
    Row(
        "thinpool_profile_missing",
        "1 if the pool names an LVM profile that cannot be read, so that LVM falls back to "
        "its general policy, else 0. From lvs and lvmconfig.",
        lambda pool: pool.is_profile_missing,
    ),
    Row(
        "thinpool_monitored",
        "1 if dmeventd monitors the pool, else 0. From lvs, seg_monitor; absent if dmeventd "
        f"could not be asked, and {OLD}.",
        lambda pool: pool.is_monitored,
    ),
)
DMEVENTD: tuple[Row[Dmeventd], ...] = (
    Row(
        "thinpool_dmeventd_up",
        "1 if a dmeventd process is alive on the host, else 0. From its PID file and /proc; "
        f"absent {OLD}.",
        lambda dmeventd: dmeventd.is_alive,
    ),
)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe the policy of every pool, and whether dmeventd lives."""
    yield from gauges(POLICY, pools_by_labels(snapshot.pools))
    yield from gauges(DMEVENTD, {(): snapshot.dmeventd}, ())


def _threshold(pool: ThinPool, percent: int | None) -> float | None:
    """Off is off for both devices, even where the metadata's size is not known."""
    if pool.policy and pool.policy.is_off:
        return 1
    return ratio(percent if percent is None else min(percent, NEVER_PERCENT))
