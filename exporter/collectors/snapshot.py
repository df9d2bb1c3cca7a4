"""The latest Snapshot → every metric family of this program."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from exporter.collectors import (
    build,
    collector,
    configuration,
    docker,
    guard,
    policy,
    pool,
    published,
    storage,
    volume_group,
)
from exporter.model import Snapshot

SUBJECTS = (
    *(pool, policy, volume_group, guard, docker, storage),
    *(collector, configuration, published),
)


class SnapshotCollector(Collector):
    """Publish the latest Snapshot, if there is one yet, and what program this is.

    `is_readable` tells whether the last look at another process's Snapshot went well; None
    where it comes from this one.
    """

    def __init__(
        self,
        latest: Callable[[], Snapshot | None],
        *,
        version: str,
        python_version: str,
        is_readable: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self._latest = latest
        self._is_readable = is_readable
        self._build = build.family(version, python_version)

    def collect(self) -> Iterator[Metric]:
        """Read one Snapshot, so that all families belong together."""
        snapshot = self._latest()
        yield self._build
        yield from published.reading(is_readable=self._is_readable())
        if snapshot is not None:
            yield from families(snapshot)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe everything in a Snapshot."""
    for subject in SUBJECTS:
        yield from subject.families(snapshot)
