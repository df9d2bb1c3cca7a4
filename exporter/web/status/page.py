"""The page of a host at `/`."""

from __future__ import annotations

from exporter.model import Snapshot
from exporter.web.message import Handler, Request, Response
from exporter.web.status.view import Viewer


class StatusPage:
    """Makes the page, once for each Snapshot and second, however many look at it."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._made: tuple[Snapshot | None, str, int] | None = None
        self._response = Response(body=b"")

    def __call__(self, _request: Request) -> Response:
        """Answer with the page as of now."""
        moment = self._viewer.moment
        made = self._made
        if made is None or moment[0] is not made[0] or moment[1:] != made[1:]:
            self._response, self._made = self._make(), moment
        return self._response

    def _make(self) -> Response:
        # Jinja2 takes four megabytes: only hosts whose page is looked at pay for it.
        from exporter.web.html import answer  # noqa: PLC0415

        return answer("status.html", page=self._viewer.view())


def status_page(viewer: Viewer) -> Handler:
    """Make the handler of the page."""
    return StatusPage(viewer)
