"""Runbooks as this host's pages: figures above, names filled in, and none of them does harm."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.collectors.families import printable
from exporter.model import Snapshot
from exporter.report.text import shown
from exporter.web.message import Request, Response
from exporter.web.runbook import Runbooks, packaged_runbooks
from tests.factories import make_pool, make_snapshot
from tests.unit.test_status import Document, viewer

NAMES = sorted(path.stem for path in packaged_runbooks().glob("*.md"))
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]


def ask(name: str, query: str = "", snapshot: Snapshot | None = None) -> Response:
    """Ask for a runbook on a host."""
    shown_host = snapshot or make_snapshot()
    pages = Runbooks(packaged_runbooks(), viewer(lambda: shown_host))
    return pages(Request(method="GET", path=f"/runbooks/{name}", query=query))


def commands(response: Response) -> str:
    """Read the blocks of commands below the figures."""
    text = response.body.decode().partition('id="runbook"')[2]
    blocks = re.findall(r"<pre><code[^>]*>(.*?)</code></pre>", text, re.DOTALL)
    assert blocks
    return "\n".join(blocks)


@pytest.mark.parametrize("name", NAMES)
def test_every_runbook_has_its_sections(name: str) -> None:
    """In the order in which somebody who is woken up needs them."""
    source = (packaged_runbooks() / f"{name}.md").read_text()

    assert source.startswith("# ")
    assert re.findall(r"^## (.*)$", source, re.MULTILINE) == SECTIONS
    Document(ask(name))


def test_the_pool_s_figures_and_names_are_filled_in() -> None:
    """What the status page shows of it, and commands that can be pasted."""
    answer = ask("ThinPoolOutOfDataSpace", "vg=docker&pool=thinpool")
    body = answer.body.decode()

    assert answer.status == 200
    assert "lvextend -l +100%FREE docker/thinpool" in commands(answer)
    assert "dmsetup status --noflush docker-thinpool" in commands(answer)
    assert "VG" not in commands(answer).replace("NEW_DISK", "")
    assert 'aria-label="data of docker/thinpool: ' in body
    assert body.index("docker/thinpool") < body.index("Meaning")


@pytest.mark.parametrize("query", ["", "vg=docker", "a=" + "&a=".join("x" * 40)])
def test_without_a_pool_the_text_stands_as_it_is(query: str) -> None:
    """With the host's own figures above it."""
    answer = ask("ThinPoolOutOfDataSpace", query)

    assert "lvextend -l +100%FREE VG/POOL" in commands(answer)
    assert 'id="host"' in answer.body.decode()


def test_a_pool_that_is_not_there_any_more_is_told() -> None:
    """The text helps all the same."""
    answer = ask("ThinPoolOutOfDataSpace", "vg=docker&pool=gone")

    assert "There is no thin pool docker/gone on this host now." in answer.body.decode()
    assert "VG/POOL" in commands(answer)


@pytest.mark.parametrize(
    "name", ["", "None", "../README", "ThinPoolOutOfDataSpace.md", "%2e%2e"]
)
def test_other_names_are_not_found(name: str) -> None:
    """There are the texts of the folder, and nothing beside."""
    assert ask(name).status == 404


def test_no_folder_is_no_runbook(tmp_path: Path) -> None:
    """An installation without them answers as it does for any other path."""
    pages = Runbooks(tmp_path / "none", viewer(lambda: None))

    assert pages(Request(method="GET", path="/runbooks/ThinPoolNotProtected")).status == 404


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_name_can_be_pasted_and_does_nothing(vg_name: str, name: str) -> None:
    """A shell reads back the very name, and a browser sees text."""
    snapshot = make_snapshot(pools=(make_pool(vg_name=vg_name, name=name),))
    labels = {"vg": printable(vg_name), "pool": printable(name)}
    answer = ask("ThinPoolOutOfDataSpace", urlencode(labels), snapshot)

    document = Document(answer)
    assert [tag for tag, _ in document.tags].count("script") == 1
    if shown(vg_name) == vg_name and shown(name) == name:
        line = html.unescape(commands(answer)).partition("lvextend -l +100%FREE ")[2]
        assert shlex.split(line.splitlines()[0]) == [f"{vg_name}/{name}"]
