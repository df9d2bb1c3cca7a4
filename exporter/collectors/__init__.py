"""A Snapshot in, metric families out; reads nothing and decides nothing."""

from exporter.collectors.snapshot import SnapshotCollector, families

__all__ = ["SnapshotCollector", "families"]
