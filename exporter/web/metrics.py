"""The telemetry page: what the Exposition has rendered."""

from __future__ import annotations

from exporter.exposition import Exposition
from exporter.web.message import Handler, Request, Response

VARY = ("vary", "accept, accept-encoding")


def metrics(exposition: Exposition) -> Handler:
    """Make the telemetry page."""

    def answer(request: Request) -> Response:
        page = exposition.page(request.header("accept"), request.header("accept-encoding"))
        encoding = page.content_encoding
        coded = (("content-encoding", encoding),) if encoding else ()
        return Response(body=page.body, content_type=page.content_type, headers=(VARY, *coded))

    return answer
