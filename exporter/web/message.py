"""A request and a response, as the pages of the web side see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

PLAIN_TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"


class Request(Struct, frozen=True, kw_only=True):
    """What a page may know of a request; header names are in lower case.

    `origin` names the host that asks, as lobby.origin_of does.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = {}
    origin: str = ""

    def header(self, name: str) -> str:
        """Return a header, empty when it was not sent."""
        return self.headers.get(name, "")


class Response(Struct, frozen=True, kw_only=True):
    """What to answer; the length is added when it is sent."""

    body: bytes
    status: int = 200
    content_type: str = PLAIN_TEXT
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Response]


def text(message: str, status: int = 200, **headers: str) -> Response:
    """Answer with one line of text."""
    pairs = tuple(headers.items())
    return Response(body=f"{message}\n".encode(), status=status, headers=pairs)
