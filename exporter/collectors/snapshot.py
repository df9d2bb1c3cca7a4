"""The latest Snapshot → every metric family of this program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType

from msgspec import structs
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from exporter.bulkhead import Bulkheads
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
    volume,
    volume_group,
)
from exporter.model import Snapshot, Stage
from exporter.staleness import Freshness, as_of, freshness

SUBJECTS = (
    *(pool, volume, policy, volume_group, guard, docker, storage),
    *(collector, configuration, published),
)
# Without mode and state the rules say of a pool that no guard watches it.
OF_THE_GUARD = frozenset({"thinpool_guard_mode", "thinpool_guard_state"})
# Usage and state. Sizes, counters and times stay: alerts need them.
OF_THE_MOMENT = {
    *("thinpool_data_used_bytes", "thinpool_metadata_used_bytes", "thinpool_mode"),
    *("thinpool_needs_check", "thinpool_suspended", "thinpool_queue_if_no_space"),
    *("thinpool_metadata_snapshot_held", "thinpool_loopback_backing_free_bytes"),
    "thinpool_loopback_backing_promised_bytes",
    *("thinpool_volume_mapped_bytes", "thinpool_volume_fill_bytes_per_second"),
    "thinpool_docker_up",
}
ABSENT: Mapping[Freshness, frozenset[str]] = {
    Freshness.CURRENT: frozenset(),
    Freshness.GUARD_SILENT: OF_THE_GUARD,
    Freshness.OLD: OF_THE_GUARD | OF_THE_MOMENT,
}


class SnapshotCollector(Collector):
    """Publish the latest Snapshot, if there is one yet, and what program this is.

    `is_readable` tells whether the last look at another process's Snapshot went well; None
    where it comes from this one. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        latest: Callable[[], Snapshot | None],
        *,
        version: str,
        python_version: str,
        clock: Callable[[], float],
        bulkheads: Bulkheads,
        is_readable: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self._latest = latest
        self._is_readable = is_readable
        self._clock = clock
        self._bulkheads = bulkheads
        self._build = build.family(version, python_version)

    def collect(self) -> Iterator[Metric]:
        """Read one Snapshot, so that all families belong together."""
        snapshot = self._latest()
        yield self._build
        yield from published.reading(is_readable=self._is_readable())
        if snapshot is not None:
            yield from self._current(snapshot, self._clock())
        yield published.render_errors(self._bulkheads.counts[Stage.REPORT])

    def _current(self, snapshot: Snapshot, now: float) -> Iterator[Metric]:
        """Describe what still holds of a Snapshot."""
        absent, present = ABSENT[freshness(snapshot, now)], as_of(snapshot, now)
        for subject in SUBJECTS:
            described = self._families(subject, present)
            yield from (family for family in described if family.name not in absent)

    def _families(self, subject: ModuleType, snapshot: Snapshot) -> list[Metric]:
        """Describe one subject, without the pools that cannot be described."""
        name = subject.__name__.rpartition(".")[2]
        found = self._described(name, subject, snapshot)
        if found is None and self._described(name, subject, _only(snapshot, set())) is not None:
            labels = {pool.label for pool in snapshot.pools}
            labels |= snapshot.guard.pools.keys() if snapshot.guard else set()
            alone = {label: _only(snapshot, {label}) for label in labels}
            well = {each for each in alone if self._described(each, subject, alone[each])}
            found = self._described(name, subject, _only(snapshot, well))
        return found or []

    def _described(
        self, name: str, subject: ModuleType, snapshot: Snapshot
    ) -> list[Metric] | None:
        with self._bulkheads.contain(Stage.REPORT, name):
            return list(subject.families(snapshot))
        return None


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe everything in a Snapshot, however old it is."""
    for subject in SUBJECTS:
        yield from subject.families(snapshot)


def _only(snapshot: Snapshot, labels: set[str]) -> Snapshot:
    """Leave only some pools in a Snapshot."""
    report = snapshot.guard
    if report:
        guarded = {label: report.pools[label] for label in report.pools if label in labels}
        report = structs.replace(report, pools=guarded)
    pools = tuple(pool for pool in snapshot.pools if pool.label in labels)
    return structs.replace(snapshot, pools=pools, guard=report)
