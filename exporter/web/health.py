"""Whether the web side lives, and whether it has something to serve."""

from __future__ import annotations

import time
from collections.abc import Callable

from exporter.model import Snapshot
from exporter.report.text import no_look_words
from exporter.staleness import silence_seconds
from exporter.web.message import Handler, Request, Response, text

UNAVAILABLE = 503


def healthy(_request: Request) -> Response:
    """Answer that this process answers."""
    return text("thinpool-exporter is healthy.")


def ready(
    latest: Callable[[], Snapshot | None],
    fault: Callable[[], str] = lambda: "",
    clock: Callable[[], float] = time.time,
) -> Handler:
    """Make the readiness page; `fault` says why there is no newer Snapshot.

    `clock` gives seconds since the epoch.
    """

    def answer(_request: Request) -> Response:
        reason = fault() or why_not_ready(latest(), clock())
        if reason:
            return text(f"thinpool-exporter is not ready: {reason}.", UNAVAILABLE)
        return text("thinpool-exporter is ready.")

    return answer


def why_not_ready(snapshot: Snapshot | None, now: float) -> str | None:
    """Say what is missing: an attempt at every source, or a guard that works."""
    if snapshot is None:
        return "no snapshot yet"
    waiting = [
        name.value for name, state in snapshot.collectors.items() if state.attempted_at is None
    ]
    if waiting:
        return f"not read yet: {', '.join(waiting)}"
    silence = silence_seconds(snapshot, now)
    if silence is not None:
        return f"the guard {no_look_words(silence)}"
    if snapshot.guard and snapshot.guard.last_cycle_at is None:
        return "the guard has not looked at the pools yet"
    return None
