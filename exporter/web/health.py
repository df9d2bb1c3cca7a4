"""Whether the web side lives, and whether it has something to serve."""

from __future__ import annotations

from collections.abc import Callable

from exporter.model import Snapshot
from exporter.web.message import Handler, Request, Response, text

UNAVAILABLE = 503


def healthy(_request: Request) -> Response:
    """Answer that this process answers."""
    return text("thinpool-exporter is healthy.")


def ready(
    latest: Callable[[], Snapshot | None], fault: Callable[[], str] = lambda: ""
) -> Handler:
    """Make the readiness page; `fault` says why there is no newer Snapshot."""

    def answer(_request: Request) -> Response:
        reason = fault() or why_not_ready(latest())
        if reason:
            return text(f"thinpool-exporter is not ready: {reason}.", UNAVAILABLE)
        return text("thinpool-exporter is ready.")

    return answer


def why_not_ready(snapshot: Snapshot | None) -> str | None:
    """Say what is still missing: every source must have been tried once, not succeeded."""
    if snapshot is None:
        return "no snapshot yet"
    waiting = [
        name.value for name, state in snapshot.collectors.items() if state.attempted_at is None
    ]
    return f"not read yet: {', '.join(waiting)}" if waiting else None
