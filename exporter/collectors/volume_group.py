"""Volume groups → their size and what they have left."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from exporter.collectors.families import Row, first_of_each, gauges
from exporter.model import Snapshot, VolumeGroup

VOLUME_GROUP: tuple[Row[VolumeGroup], ...] = (
    Row(
        "thinpool_vg_size_bytes",
        "Size of the volume group in bytes, from LVM.",
        lambda group: group.size_bytes,
    ),
    Row(
        "thinpool_vg_free_bytes",
        "Bytes of the volume group in no logical volume, from LVM; on whatever PVs.",
        lambda group: group.free_bytes,
    ),
    Row(
        "thinpool_vg_allocatable_bytes",
        "Free bytes of the volume group on PVs that are present and allocatable, which is "
        "what an extension can take. From LVM.",
        lambda group: group.usable_free_extents * group.extent_bytes,
    ),
    Row(
        "thinpool_vg_missing_pvs",
        "PVs of the volume group that LVM cannot find. From LVM.",
        lambda group: sum(volume.is_missing for volume in group.physical_volumes),
    ),
    Row(
        "thinpool_vg_metadata_spare_bytes",
        "Size of the volume group's spare for pool metadata, which lvconvert --repair writes "
        "to; 0 if there is none. A pool with more metadata needs as much free space instead. "
        "From LVM.",
        lambda group: group.spare_extents * group.extent_bytes,
    ),
)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe every VG of the Snapshot."""
    groups = first_of_each(((group.name,), group) for group in snapshot.volume_groups)
    yield from gauges(VOLUME_GROUP, groups, ("vg",))
