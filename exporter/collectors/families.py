"""Rows and their subjects in, Prometheus metric families out; knows no metric by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from exporter.model import ThinPool
from exporter.staleness import OLD_SNAPSHOT_SECONDS

Subject = TypeVar("Subject")
Labels = tuple[str, ...]

POOL = ("vg", "pool")
OLD = f"after {OLD_SNAPSHOT_SECONDS:.0f} s without a new Snapshot"  # in HELP


@dataclass(frozen=True)
class Row(Generic[Subject]):
    """One metric: its name, its HELP, and where a subject has its value."""

    metric: str
    help: str
    value: Callable[[Subject], float | None]


def gauges(
    rows: Iterable[Row[Subject]],
    subjects: Mapping[Labels, Subject],
    labels: Sequence[str] = POOL,
) -> Iterator[Metric]:
    """Make one gauge of each row; `subjects` are keyed by their label values."""
    for row in rows:
        family = GaugeMetricFamily(row.metric, row.help, labels=labels)
        yield from _filled(family, row, subjects)


def counters(
    rows: Iterable[Row[Subject]],
    subjects: Mapping[Labels, Subject],
    labels: Sequence[str] = POOL,
) -> Iterator[Metric]:
    """Make one counter of each row; `subjects` are keyed by their label values."""
    for row in rows:
        family = CounterMetricFamily(row.metric, row.help, labels=labels)
        yield from _filled(family, row, subjects)


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily,
    row: Row[Subject],
    subjects: Mapping[Labels, Subject],
) -> Iterator[Metric]:
    """Give the family its samples; without any it is left out."""
    for labels, subject in subjects.items():
        value = row.value(subject)
        if value is not None:
            family.add_metric(labels, float(value))
    if family.samples:
        yield family


def present(_subject: object) -> float:
    """Value of a series whose labels are what it says."""
    return 1


def ratio(percent: float | None) -> float | None:
    """Turn a percentage into a ratio."""
    return None if percent is None else percent / 100


def pools_by_labels(pools: Iterable[ThinPool]) -> dict[Labels, ThinPool]:
    """Key pools by their labels."""
    return first_of_each(((pool.vg_name, pool.name), pool) for pool in pools)


def first_of_each(pairs: Iterable[tuple[Labels, Subject]]) -> dict[Labels, Subject]:
    """Map labels to subjects; of equal labels the first stays.

    LVM allows two VGs of one name, but one repeated series fails a whole scrape.
    """
    subjects: dict[Labels, Subject] = {}
    for labels, subject in pairs:
        subjects.setdefault(tuple(map(printable, labels)), subject)
    return subjects


def printable(text: str | None) -> str:
    """Make foreign text fit for a label: bytes that are not UTF-8 fail a whole scrape."""
    if text is None:
        return ""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
