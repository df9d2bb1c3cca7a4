"""The runbook of an alert at `/runbooks/NAME?vg=…&pool=…`, for this host and that pool.

The texts are those of rules/runbooks, which the package carries. In their commands VG, POOL,
VG/POOL, DM_NAME, PROFILE and LOOP_FILE stand for the names of the pool, DATA_STEP and
METADATA_STEP for sizes, DOCKER_ROOT for a directory of the host: here they are filled in,
quoted for a shell. Above the text is what the status page shows of the pool at this moment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, urlencode

from markupsafe import Markup, escape
from msgspec import Struct

from exporter.report.text import shown
from exporter.web.message import Handler, Request, Response, text
from exporter.web.status import PageView, PoolView, Viewer

PREFIX = "/runbooks/"
MAX_QUERY_FIELDS = 16
# Of a volume group, the most urgent ones: nobody would find the commands below a hundred pools.
MAX_POOLS = 10
# The whole word: "VGs" and "POOLS" mean others. What follows an underscore is added to a name:
# LVM itself calls a pool's metadata POOL_tmeta.
PLACEHOLDERS = re.compile(
    r"(?<![A-Za-z0-9_%$])"
    r"(?:VG/POOL|DM_NAME|VG|POOL|PROFILE|DATA_STEP|METADATA_STEP|LOOP_FILE|DOCKER_ROOT)"
    r"(?![A-Za-z0-9])"
)
ABOUT_DOCKER = "ThinPoolDocker"  # alerts of the host, that is of its Docker: they name no pool
SUFFIX = ".md"
NOT_LVM_S = (
    "LVM did not make this pool: the commands of LVM below, where VG and POOL are left as they "
    "are, are not for it."
)
WITH_NAMES = {"fence", "code_block", "code_inline"}
START, END = "\ue000", "\ue001"  # for private use: in none of the texts
MARKS = re.compile(f"{START}(.*?){END}")


class Runbook(Struct, frozen=True, kw_only=True):
    """What the template needs beside the page of the host."""

    title: str
    text: Markup
    pools: tuple[PoolView, ...] = ()
    others: int = 0  # how many more pools of the volume group there are
    missing: str = ""


class Runbooks:
    """Answers for every text in a directory, each made HTML once."""

    def __init__(self, directory: Path, viewer: Viewer) -> None:
        self._directory = directory
        self._viewer = viewer
        self._marked: dict[str, tuple[str, str]] = {}

    @cached_property
    def texts(self) -> Mapping[str, str]:
        """The texts by their names; read once, when somebody asks for the first one."""
        found = sorted(self._directory.glob("*.md")) if self._directory.is_dir() else []
        return {path.stem: path.read_text(encoding="utf-8") for path in found}

    def __call__(self, request: Request) -> Response:
        """Answer for one runbook; one of no such name is not found."""
        name = request.path.removeprefix(PREFIX)
        source = self.texts.get(name)
        if source is None:
            return text("Not found", 404)
        asked = asked_for(request.query)

        def render(page: PageView) -> Response:
            # See status_page: it takes memory that most hosts never need.
            from exporter.web.html import answer  # noqa: PLC0415

            if name not in self._marked:
                heading, _, rest = source.partition("\n")
                self._marked[name] = heading.removeprefix("# ").strip(), _marked(rest)
            runbook = _runbook(name, *self._marked[name], page, asked)
            return answer("runbook.html", page=page, runbook=runbook)

        return self._viewer.page((name, *asked), render)


def runbooks(directory: Path, viewer: Viewer) -> Handler:
    """Make the handler of everything below PREFIX."""
    return Runbooks(directory, viewer)


def packaged_runbooks() -> Path:
    """Find the texts: in the installed program, else in the tree that this file is in."""
    package = Path(__file__).parents[1]
    installed = package / "runbooks"
    return installed if installed.is_dir() else package.parent / "rules" / "runbooks"


def _runbook(
    name: str, title: str, marked: str, page: PageView, asked: tuple[str, str]
) -> Runbook:
    pools = tuple(pool for pool in page.pools if _is_meant(pool, name, asked))
    return Runbook(
        title=title,
        text=_filled(marked, _words(page, pools, asked), asked),
        pools=pools[:MAX_POOLS],
        others=len(pools[MAX_POOLS:]),
        missing=_missing(pools, asked),
    )


def _is_meant(pool: PoolView, name: str, asked: tuple[str, str]) -> bool:
    """Whether a page is about a pool: the one asked for, all of its VG, or Docker's."""
    vg_name, pool_name = asked
    if pool_name:
        return pool.labels == asked
    if vg_name:
        return pool.labels[0] == vg_name
    return pool.is_docker_s and name.startswith(ABOUT_DOCKER)


def _missing(pools: tuple[PoolView, ...], asked: tuple[str, str]) -> str:
    """Say what is not as the reader, or the text, takes it to be."""
    vg_name, name = asked
    if pools:
        return "" if all(pool.is_lvm for pool in pools) else NOT_LVM_S
    if name:
        label = shown(f"{vg_name}/{name}" if vg_name else name)
        return f"There is no thin pool {label} on this host now."
    if vg_name:
        return f"There is no thin pool in the volume group {shown(vg_name)} on this host now."
    return ""


def _words(
    page: PageView, pools: tuple[PoolView, ...], asked: tuple[str, str]
) -> Mapping[str, str]:
    """Find what the placeholders stand for; where several pools are meant, their VG alone."""
    host = page.host.words if page.host else {}
    if not pools:
        return host
    words = pools[0].words
    is_one = bool(asked[1]) or not asked[0]
    return {**host, **(words if is_one else {key: words[key] for key in words if key == "VG"})}


def asked_for(query: str) -> tuple[str, str]:
    """Read which pool is meant, by the labels that its metrics have."""
    try:
        fields = parse_qs(query, max_num_fields=MAX_QUERY_FIELDS, errors="replace")
    except ValueError:
        return "", ""
    return fields.get("vg", [""])[0], fields.get("pool", [""])[0]


def _marked(source: str) -> str:
    """Make HTML of a text, with marks around its placeholders and the files it links to.

    HTML within the text is shown, not used.
    """
    from markdown_it import MarkdownIt  # noqa: PLC0415 - see Runbooks

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(source)
    within = [child for token in tokens for child in token.children or ()]
    for part in (*tokens, *within):
        if part.type in WITH_NAMES:
            part.content = PLACEHOLDERS.sub(
                lambda found: f"{START}{found[0]}{END}", part.content
            )
        elif part.type == "link_open" and str(part.attrs["href"]).endswith(SUFFIX):
            part.attrs["href"] = f"{START}{part.attrs['href']}{END}"
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def _filled(marked: str, words: Mapping[str, str], asked: tuple[str, str]) -> Markup:
    """Put words, and links for the same pool, in the places of the marks."""

    def fill(found: re.Match[str]) -> str:
        name = found[1]
        return escape(_link(name, asked) if name.endswith(SUFFIX) else words.get(name, name))

    return Markup(MARKS.sub(fill, marked))  # noqa: S704 - ours


def _link(target: str, asked: tuple[str, str]) -> str:
    """Lead from one text to another, for the same pool."""
    path = f"{PREFIX}{target.removesuffix(SUFFIX)}"
    labels = urlencode(dict(zip(("vg", "pool"), asked, strict=True)), errors="replace")
    return f"{path}?{labels}" if any(asked) else path
