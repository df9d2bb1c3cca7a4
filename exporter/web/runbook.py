"""The runbook of an alert at `/runbooks/NAME?vg=…&pool=…`, for this host and that pool.

The texts are those of rules/runbooks, which the package carries. In their commands VG, POOL,
VG/POOL and DM_NAME stand for the names of the pool: here they are filled in, quoted for a
shell. Above the text is what the status page shows of the pool at this moment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs

from markupsafe import Markup
from msgspec import Struct

from exporter.report.text import shown
from exporter.web.message import Handler, Request, Response, text
from exporter.web.status import PageView, PoolView, Viewer

PREFIX = "/runbooks/"
MAX_QUERY_FIELDS = 16
# The whole word: "VGs" and "POOLS" mean others.
PLACEHOLDERS = re.compile(r"\b(?:VG/POOL|DM_NAME|VG|POOL)\b")
WITH_NAMES = {"fence", "code_block", "code_inline"}


class Runbook(Struct, frozen=True, kw_only=True):
    """What the template needs beside the page of the host."""

    title: str
    text: Markup
    pools: tuple[PoolView, ...] = ()
    missing: str = ""


class Runbooks:
    """Answers for every text in a directory."""

    def __init__(self, directory: Path, viewer: Viewer) -> None:
        self._directory = directory
        self._viewer = viewer

    @cached_property
    def texts(self) -> Mapping[str, str]:
        """The texts by their names; read once, when somebody asks for the first one."""
        found = sorted(self._directory.glob("*.md")) if self._directory.is_dir() else []
        return {path.stem: path.read_text(encoding="utf-8") for path in found}

    def __call__(self, request: Request) -> Response:
        """Answer for one runbook; one of no such name is not found."""
        # See StatusPage: it takes memory that most hosts never need.
        from exporter.web.html import answer  # noqa: PLC0415

        source = self.texts.get(request.path.removeprefix(PREFIX))
        if source is None:
            return text("Not found", 404)
        page = self._viewer.view()
        return answer("runbook.html", page=page, runbook=_runbook(source, page, request.query))


def runbooks(directory: Path, viewer: Viewer) -> Handler:
    """Make the handler of everything below PREFIX."""
    return Runbooks(directory, viewer)


def packaged_runbooks() -> Path:
    """Find the texts: in the installed program, else in the tree that this file is in."""
    package = Path(__file__).parents[1]
    installed = package / "runbooks"
    return installed if installed.is_dir() else package.parent / "rules" / "runbooks"


def _runbook(source: str, page: PageView, query: str) -> Runbook:
    heading, _, rest = source.partition("\n")
    title = heading.removeprefix("# ").strip()
    vg_name, name = _asked_for(query)
    if not name:
        return Runbook(title=title, text=_rendered(rest, None))
    pools = tuple(pool for pool in page.pools if pool.labels == (vg_name, name))
    if not pools:
        label = shown(f"{vg_name}/{name}" if vg_name else name)
        missing = f"There is no thin pool {label} on this host now."
        return Runbook(title=title, text=_rendered(rest, None), missing=missing)
    return Runbook(title=title, text=_rendered(rest, pools[0]), pools=pools)


def _asked_for(query: str) -> tuple[str, str]:
    """Read which pool is meant, by the labels that its metrics have."""
    try:
        fields = parse_qs(query, max_num_fields=MAX_QUERY_FIELDS, errors="replace")
    except ValueError:
        return "", ""
    return fields.get("vg", [""])[0], fields.get("pool", [""])[0]


def _rendered(source: str, pool: PoolView | None) -> Markup:
    """Make HTML of a text; HTML within it is shown, not used."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 - see Runbooks

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(source)
    if pool is not None:
        words = pool.words
        within = [child for token in tokens for child in token.children or ()]
        for part in (*tokens, *within):
            if part.type in WITH_NAMES:
                part.content = PLACEHOLDERS.sub(lambda m: words[m[0]], part.content)
    return Markup(markdown.renderer.render(tokens, markdown.options, {}))  # noqa: S704 - ours
