"""HTML pages: a template and its values in, a response out that lets nothing else run.

Templates, style and script lie beside this file, are read once, and become one document:
a page loads nothing, so that it works through any proxy and without the Internet. The
policy names style and script by their hashes: whatever slipped into the page unescaped
would neither run nor change how it looks.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from exporter.web.message import HTML, Response


def answer(template: str, *, status: int = 200, **values: object) -> Response:
    """Fill a template with values, all of which are escaped."""
    style, script = _part("style.css"), _part("refresh.js")
    body = (
        _templates()
        .get_template(template)
        .render(
            style=Markup(style),  # noqa: S704 - a file of ours
            script=Markup(script),  # noqa: S704 - same
            **values,
        )
    )
    return Response(
        # What cannot be written in UTF-8 has been escaped by whoever made the values.
        body=body.encode(errors="backslashreplace"),
        status=status,
        content_type=HTML,
        headers=_headers(style, script),
    )


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("exporter.web", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _part(name: str) -> str:
    return (resources.files("exporter.web.html") / name).read_text(encoding="utf-8")


@cache
def _headers(style: str, script: str) -> tuple[tuple[str, str], ...]:
    policy = (
        "default-src 'none'",
        f"style-src {_hash(style)}",
        f"script-src {_hash(script)}",
        "connect-src 'self'",  # the page asks for itself again
        "img-src data:",  # the empty icon, or browsers ask for one
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return (
        ("content-security-policy", "; ".join(policy)),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    )


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
