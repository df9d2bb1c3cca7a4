"""Where container engines keep their data, and which pool that is on → metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from exporter.collectors.families import Labels, Row, first_of_each, gauges, present
from exporter.model import Snapshot, StoragePlace

LABELS = ("engine", "path", "driver", "vg", "pool")
ON_NONE = ("", "")
ROOT: tuple[Row[StoragePlace], ...] = (
    Row(
        "thinpool_storage_root_info",
        "Always 1. Labels: a container engine, a directory of its data, its driver (empty if "
        "not known), and the pool that this data is on, empty if it is on no thin pool; one "
        "series for each pool. Absent where that is not known. From the engine's "
        "configuration, docker info, the mounts and /sys.",
        present,
    ),
)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe the directories of which it is known what they are on."""
    yield from gauges(ROOT, first_of_each(_labelled(snapshot)), LABELS)


def _labelled(snapshot: Snapshot) -> Iterator[tuple[Labels, StoragePlace]]:
    for place in snapshot.storage:
        if place.pools is not None:
            for pool in place.pools or (ON_NONE,):
                yield (str(place.engine), place.path, place.driver or "", *pool), place
