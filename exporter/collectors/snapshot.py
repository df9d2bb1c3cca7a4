"""The latest Snapshot → every metric family of this program."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from exporter.collectors import build, collector, docker, guard, policy, pool, volume_group
from exporter.model import Snapshot

SUBJECTS = (pool, policy, volume_group, guard, docker, collector)


class SnapshotCollector(Collector):
    """Publish the latest Snapshot, if there is one yet, and what program this is."""

    def __init__(
        self, latest: Callable[[], Snapshot | None], *, version: str, python_version: str
    ) -> None:
        self._latest = latest
        self._build = build.family(version, python_version)

    def collect(self) -> Iterator[Metric]:
        """Read one Snapshot, so that all families belong together."""
        snapshot = self._latest()
        yield self._build
        if snapshot is not None:
            yield from families(snapshot)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe everything in a Snapshot."""
    for subject in SUBJECTS:
        yield from subject.families(snapshot)
