"""The blocks of commands in a runbook, from its page or from its Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import NamedTuple

from exporter.web.runbook import packaged_runbooks

SECTIONS = ("Meaning", "Impact", "Diagnosis", "Mitigation")
# What a reader fills in: nobody else can know it.
READER_S = (
    "NEW_DISK",
    "DISK",
    "DEVICE",
    "LV",
    "CONTAINER",
    "HOST",
    "PROMETHEUS",
    "ALERTMANAGER",
    "SYSTEM_ID",
)
PARTS = re.compile(r"^(```sh\n.*?^```|##+ [^\n]*)$", re.MULTILINE | re.DOTALL)
HEADINGS = {"h2": "## ", "h3": "### "}


# What all of them lead to.
GENERAL = "OnCall"


class Block(NamedTuple):
    """One block; `heading` is that of the case it is for, "" in the other sections."""

    section: str
    heading: str
    text: str


def names() -> list[str]:
    """Name the runbooks of alerts."""
    return sorted(path.stem for path in packaged_runbooks().glob("ThinPool*.md"))


def source(name: str) -> str:
    """Read the Markdown of a runbook."""
    return (packaged_runbooks() / f"{name}.md").read_text()


def blocks_of_markdown(text: str) -> list[Block]:
    """Find the blocks as a person finds them who reads the file."""
    return list(_blocks(PARTS.split(text)))


def _blocks(parts: list[str]) -> Iterator[Block]:
    section = heading = ""
    for part in parts:
        if part.startswith("## "):
            section, heading = part.removeprefix("## "), ""
        elif part.startswith("### "):
            heading = part.removeprefix("### ")
        elif part.startswith("```sh\n"):
            yield Block(section, heading, part.removeprefix("```sh\n").removesuffix("```"))


class _Page(HTMLParser):
    """Turns the text of a page back into parts such as those of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._kept: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a heading, or a block of commands."""
        if tag in HEADINGS:
            self._kept = HEADINGS[tag]
        elif tag == "code" and ("class", "language-sh") in attrs:
            self._kept = "```sh\n"

    def handle_data(self, data: str) -> None:
        """Keep what stands in it."""
        if self._kept is not None:
            self._kept += data

    def handle_endtag(self, tag: str) -> None:
        """End it."""
        if self._kept is not None and (tag in HEADINGS or tag == "code"):
            is_code = self._kept.startswith("```")
            if is_code == (tag == "code"):
                self.parts.append(self._kept + ("```" if is_code else ""))
                self._kept = None


def blocks_of_page(html: str) -> list[Block]:
    """Find the blocks below the figures of a page, as a browser shows them."""
    page = _Page()
    page.feed(html.partition('id="runbook"')[2])
    return list(_blocks(page.parts))
