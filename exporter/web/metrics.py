"""The telemetry page: what the Exposition has rendered."""

from __future__ import annotations

from exporter.exposition import Exposition
from exporter.web.message import Handler, Request, Response
from exporter.web.negotiation import choose_format, prefers_gzip

VARY = ("vary", "accept, accept-encoding")
GZIP = ("content-encoding", "gzip")


def metrics(exposition: Exposition) -> Handler:
    """Make the telemetry page."""

    def answer(request: Request) -> Response:
        format_, content_type = choose_format(request.header("accept"))
        is_gzip = prefers_gzip(request.header("accept-encoding"))
        return Response(
            body=exposition.page(format_, is_gzip=is_gzip),
            content_type=content_type,
            headers=(VARY, GZIP) if is_gzip else (VARY,),
        )

    return answer
