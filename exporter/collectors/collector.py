"""How the readings of the sources went → metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from exporter.collectors.families import Labels, Row, gauges
from exporter.model import CollectorState, Problem, Snapshot

STATE: tuple[Row[CollectorState], ...] = (
    Row(
        "thinpool_collector_success",
        "1 if the last reading of this source succeeded, else 0. What it gave before then "
        "stays in use and ages, except for usage, which is soon unknown.",
        lambda state: None if state.attempted_at is None else state.is_ok,
    ),
    Row(
        "thinpool_collector_duration_seconds",
        "Time that the last reading of this source took, in seconds.",
        lambda state: state.duration_seconds,
    ),
    Row(
        "thinpool_collector_last_success_timestamp_seconds",
        "Time of the last successful reading of this source, in seconds since the epoch: "
        "sources are read on their own schedule, not at each scrape.",
        lambda state: state.succeeded_at,
    ),
)
# by `Problem.is_warning`
KINDS = {"unreadable": False, "warning": True}
PROBLEMS: tuple[Row[list[Problem]], ...] = (
    Row(
        "thinpool_problems",
        "Things on this host that could not be read or make no sense (unreadable), or of which "
        "LVM or its configuration warns (warning). thinpool-exporter check names each.",
        len,
    ),
)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe each source that is in use."""
    states: dict[Labels, CollectorState] = {
        (name.value,): state for name, state in snapshot.collectors.items()
    }
    yield from gauges(STATE, states, ("collector",))
    failed = {str(name) for name in snapshot.collectors}  # told above
    others = [problem for problem in snapshot.problems if problem.subject not in failed]
    kinds: dict[Labels, list[Problem]] = {
        (kind,): [problem for problem in others if problem.is_warning is is_warning]
        for kind, is_warning in KINDS.items()
    }
    yield from gauges(PROBLEMS, kinds, ("kind",))
