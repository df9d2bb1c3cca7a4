"""The age of what is served, and whether it could be read and shown → metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from exporter.collectors.families import Row, gauges
from exporter.model import Snapshot

AGE: tuple[Row[Snapshot], ...] = (
    Row(
        "thinpool_exporter_snapshot_timestamp_seconds",
        "Time at which everything served here was put together, in seconds since the epoch: "
        "what a guard that hangs or has died leaves standing, and ages.",
        lambda snapshot: snapshot.taken_at,
    ),
    Row(
        "thinpool_maintenance_end_timestamp_seconds",
        "End of the maintenance that `thinpool-exporter maintenance` has set for this host, in "
        "seconds since the epoch; 0 if there is none. Until then its alerts are held back.",
        lambda snapshot: snapshot.maintenance.until if snapshot.maintenance else 0,
    ),
)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe the Snapshot itself."""
    yield from gauges(AGE, {(): snapshot}, ())


def reading(*, is_readable: bool | None) -> Iterator[Metric]:
    """Describe the last look at another process's Snapshot; nothing where there is none."""
    if is_readable is not None:
        yield GaugeMetricFamily(
            "thinpool_exporter_snapshot_success",
            "1 if the last look at the Snapshot that the guard's process publishes found one "
            "that this process understands, else 0: the last good one stays in use, and ages.",
            value=is_readable,
        )


def render_errors(count: int) -> Metric:
    """Count what could not be shown, here and on the status page."""
    return CounterMetricFamily(
        "thinpool_exporter_render_errors_total",
        "Exceptions that kept a pool, or a part of what is served, out of the metrics or off "
        "the status page, since this process started.",
        value=count,
    )
