"""The thin volumes that fill a pool → metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from exporter.collectors.families import OLD, POOL, Row, first_of_each, gauges
from exporter.model import Snapshot, ThinVolume

LABELS = (*POOL, "volume", "container")
OF_WHICH = (
    "Those volumes of each pool that map most or grow fastest (collect.top_volumes), while "
    "they are active."
)
ABSENT = f"Absent {OLD}."

VOLUME: tuple[Row[ThinVolume], ...] = (
    Row(
        "thinpool_volume_mapped_bytes",
        "Bytes of the pool that this thin volume maps, those that it shares with snapshots, or "
        f"with the image it began as, included; from the kernel. {OF_WHICH} {ABSENT}",
        lambda volume: volume.mapped_bytes,
    ),
    Row(
        "thinpool_volume_size_bytes",
        f"Size that this thin volume promises, in bytes; from the kernel. {OF_WHICH}",
        lambda volume: volume.size_bytes,
    ),
    Row(
        "thinpool_volume_fill_bytes_per_second",
        "Bytes per second of the pool that this thin volume takes, measured between readings "
        "of the kernel (collect.lvm_interval) and over a minute; absent while it takes none. "
        f"{OF_WHICH} {ABSENT}",
        lambda volume: volume.fill_bytes_per_second,
    ),
)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe the volumes of every pool."""
    volumes = first_of_each(
        ((pool.vg_name, pool.name, volume.name, volume.container or ""), volume)
        for pool in snapshot.pools
        for volume in pool.volumes
    )
    yield from gauges(VOLUME, volumes, LABELS)
