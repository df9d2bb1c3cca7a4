"""The ASGI application: a path and a method in, the page's response out."""

from __future__ import annotations

import platform
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

import structlog
from msgspec import structs

from exporter.exposition import Exposition
from exporter.model import Snapshot
from exporter.web import health
from exporter.web.live import LiveSettings, WebSettings
from exporter.web.lobby import origin_of
from exporter.web.message import Handler, Request, Response, text
from exporter.web.metrics import metrics
from exporter.web.runbook import PREFIX as RUNBOOKS
from exporter.web.runbook import packaged_runbooks, runbooks
from exporter.web.status import Viewer, status_page

# ASGI's own shapes: open dictionaries whose keys depend on "type".
Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

DEFAULT_TELEMETRY_PATH = "/metrics"
MAX_BODY_BYTES = 65536  # nobody has to send one
PIECE_BYTES = 65536
READ_METHODS = ("GET", "HEAD")

log = structlog.get_logger(__name__)

PLAIN = LiveSettings(None, log=log)


class App:
    """Answers each path with its handler; handlers are quick and never wait.

    A handler of `below` answers for every path that begins as its key does. `settings` gives
    the web configuration in force: who may ask, and headers for all answers.
    """

    def __init__(
        self,
        routes: Mapping[str, Handler],
        settings: Callable[[], WebSettings] = PLAIN.present,
        *,
        below: Mapping[str, Handler] = MappingProxyType({}),
    ) -> None:
        self._routes = routes
        self._below = below
        self.settings = settings

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Serve one connection's event, as ASGI 3 calls it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Event, receive: Receive, send: Send) -> None:
        # Read to its end even where it is of no use: what waits in the server's queue
        # would otherwise keep the connection from ending.
        size = await _body_size(receive)
        if size is None:
            return
        if size > MAX_BODY_BYTES:
            await _send(text("Request too large", 413, connection="close"), send)
            return
        settings, request = self.settings(), _request(scope)
        if "content-length" in request.headers and "transfer-encoding" in request.headers:
            # Two who read its length differently would take its body for a request of its own.
            refused = text("Both Content-Length and Transfer-Encoding", 400, connection="close")
            await _send(refused, send)
            return
        refusal = await settings.access.refusal(request)
        response = refusal or self.answer(request)
        await _send(_with(response, settings.config.http_server_config.headers), send)

    def answer(self, request: Request) -> Response:
        """Answer one request."""
        handler = self._routes.get(request.path) or self._handler_below(request.path)
        if handler is None:
            return text("Not found", 404)
        if request.method not in READ_METHODS:
            return text("Method not allowed", 405, allow=", ".join(READ_METHODS))
        try:
            return handler(request)
        except Exception:
            log.exception("web_request_failed", path=request.path)
            return text("Internal error", 500)

    def _handler_below(self, path: str) -> Handler | None:
        return next(
            (self._below[start] for start in self._below if path.startswith(start)), None
        )


def build_app(
    exposition: Exposition,
    latest: Callable[[], Snapshot | None],
    *,
    telemetry_path: str = DEFAULT_TELEMETRY_PATH,
    settings: Callable[[], WebSettings] = PLAIN.present,
    fault: Callable[[], str] = lambda: "",
    clock: Callable[[], float] = time.time,
) -> App:
    """Make the application with its pages; metrics win where two want one path.

    `fault` says why there is no newer Snapshot than the latest; "" where there is.
    `clock` gives seconds since the epoch.
    """
    viewer = Viewer(
        latest,
        fault,
        telemetry_path=telemetry_path,
        host_name=platform.node(),
        clock=clock,
        bulkheads=exposition.bulkheads,
    )
    return App(
        {
            "/": status_page(viewer),
            "/-/healthy": health.healthy,
            "/-/ready": health.ready(latest, fault, clock),
            telemetry_path: metrics(exposition),
        },
        settings,
        below={RUNBOOKS: runbooks(packaged_runbooks(), viewer)},
    )


async def refuse_plain_http(scope: Event, receive: Receive, send: Send) -> None:
    """Answer a client that speaks HTTP where TLS is expected."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
    elif await _body_size(receive) is not None:
        await _send(text("This port speaks HTTPS alone", 400, connection="close"), send)


async def _body_size(receive: Receive) -> int | None:
    """Count the body's bytes and forget them, up to the limit; None: the client left."""
    size, is_complete = 0, False
    while not is_complete and size <= MAX_BODY_BYTES:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        size += len(event.get("body", b""))
        is_complete = not event.get("more_body", False)
    return size


def _request(scope: Event) -> Request:
    client = scope["client"]  # None: of a UNIX socket's clients nothing is known
    return Request(
        method=scope["method"],
        path=_path(scope["raw_path"]),
        query=scope["query_string"].decode("latin-1"),
        headers=_headers(scope["headers"]),
        origin=origin_of(client[0]) if client else "",
    )


def _path(target: bytes) -> str:
    """Read the path of a request's target, of which the query has been cut off.

    Shape: `/metrics`, or, as to a proxy, `http://HOST/metrics` (RFC 9112, 3.2).
    """
    scheme, separator, rest = target.partition(b"://")
    if separator and scheme.lower() in {b"http", b"https"}:
        target = b"/" + rest.partition(b"/")[2]
    return unquote(target.decode("ascii"))


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Join headers sent more than once, as RFC 9110 section 5.3 reads them."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _with(response: Response, headers: Mapping[str, str]) -> Response:
    """Add the configured headers; a page's own are stricter, and stay."""
    own = {name.lower() for name, _ in response.headers}
    others = ((name.lower(), value) for name, value in headers.items() if value)
    added = tuple(pair for pair in others if pair[0] not in own)
    return structs.replace(response, headers=(*response.headers, *added))


async def _send(response: Response, send: Send) -> None:
    headers = (
        ("content-type", response.content_type),
        ("content-length", str(len(response.body))),
        *response.headers,
    )
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    # In pieces, or each slow reader would be given a copy of the whole page.
    for start in range(0, len(response.body), PIECE_BYTES):
        piece = response.body[start : start + PIECE_BYTES]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})
