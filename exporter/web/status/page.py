"""The page of a host at `/`."""

from __future__ import annotations

from exporter.web.message import Handler, Request, Response
from exporter.web.status.view import PageView, Viewer


def status_page(viewer: Viewer) -> Handler:
    """Make the handler of the page."""

    def render(page: PageView) -> Response:
        # Jinja2 takes four megabytes: only hosts whose page is looked at pay for it.
        from exporter.web.html import answer  # noqa: PLC0415

        return answer("status.html", page=page)

    def answer_request(_request: Request) -> Response:
        return viewer.page("status", render)

    return answer_request
