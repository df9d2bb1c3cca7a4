"""The status page as a document: what it lets run, what it costs, and any name whatever."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from exporter.bulkhead import Bulkheads
from exporter.model import Device, Dmeventd, Filling, Snapshot, Stage
from exporter.simulation import ManualClock
from exporter.web.message import Handler, Request, Response
from exporter.web.runbook import packaged_runbooks, runbooks
from exporter.web.status import PageView, Viewer, status_page
from exporter.web.status.view import MAX_PAGES_BYTES
from tests.factories import (
    TAKEN_AT,
    make_guard_report,
    make_kernel_pool,
    make_pool,
    make_pool_guard,
    make_snapshot,
)
from tests.fakes import FakeLog
from tests.golden.snapshots import SNAPSHOTS

VOID = {"meta", "link", "img", "br"}
ROOT = Request(method="GET", path="/")


class Document(HTMLParser):
    """What a page consists of; raises AssertionError where a tag is not closed."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(response.body.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """See that it ends what was begun last."""
        assert self._open.pop() == tag

    def values(self, attribute: str) -> list[str]:
        """Find all values of an attribute."""
        return [value for _, attrs in self.tags if (value := attrs.get(attribute)) is not None]


def page_of(snapshot: Snapshot | None, host_name: str = "docker-host-1") -> Response:
    """Ask for the page of a Snapshot."""
    return status_page(viewer(lambda: snapshot, host_name=host_name))(ROOT)


def viewer(
    latest: Callable[[], Snapshot | None],
    *,
    host_name: str = "docker-host-1",
    clock: Callable[[], float] = lambda: TAKEN_AT,
    bulkheads: Bulkheads | None = None,
) -> Viewer:
    """Look at a host."""
    return Viewer(
        latest,
        lambda: "",
        telemetry_path="/metrics",
        host_name=host_name,
        clock=clock,
        bulkheads=bulkheads or Bulkheads(FakeLog(), ManualClock()),
    )


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_is_well_formed_and_loads_nothing(name: str) -> None:
    """Every tag ends, every id is one, and nothing comes from elsewhere."""
    document = Document(page_of(SNAPSHOTS[name]()))

    identifiers = document.values("id")
    assert len(identifiers) == len(set(identifiers))
    assert document.values("src") == []
    assert set(document.values("style")) == set()
    links = [href for href in document.values("href") if not href.startswith("#")]
    assert set(links) == {"data:,", "/metrics", "/-/healthy", "/-/ready"}
    assert not [name for _, attrs in document.tags for name in attrs if name.startswith("on")]


def test_policy_lets_run_what_is_ours_alone() -> None:
    """Style and script by their hashes, and no exception beside them."""
    response = page_of(make_snapshot())
    policy = dict(response.headers)["content-security-policy"]

    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (part,) = re.findall(rf"<{tag}>(.*?)</{tag}>", response.body.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def pages(latest: Callable[[], Snapshot], clock: Callable[[], float]) -> Handler:
    """Make all pages of a host, which know of each other's view."""
    shown = viewer(latest, clock=clock)
    status, of_runbooks = status_page(shown), runbooks(packaged_runbooks(), shown)
    return lambda request: (of_runbooks if request.query else status)(request)


RUNBOOK = Request(method="GET", path="/runbooks/ThinPoolGuardStale", query="pool=thinpool&vg=x")


@pytest.mark.parametrize("request_", [ROOT, RUNBOOK], ids=["status", "runbook"])
def test_is_made_once_for_a_snapshot(request_: Request) -> None:
    """However many look at it, and again for the next one or the next second."""
    state = SimpleNamespace(snapshot=make_snapshot(), now=TAKEN_AT)
    handler = pages(lambda: state.snapshot, lambda: state.now)
    first = handler(request_)
    assert handler(request_) is first
    state.snapshot = make_snapshot(pools=())
    second = handler(request_)
    assert second is not first
    state.now = TAKEN_AT + 1
    assert handler(request_) is not second


def test_all_pages_of_a_second_share_one_view() -> None:
    """The report on all pools is made once, whatever is asked for."""
    clock = ManualClock()
    snapshot = make_snapshot()
    shown = viewer(lambda: snapshot, clock=clock)
    first = shown.view()
    seen: list[PageView] = []

    def render(view: PageView) -> Response:
        """Note what is shown."""
        seen.append(view)
        return Response(body=b"")

    for key in range(3):
        assert shown.page(key, render) is shown.page(key, render)

    assert [view is first for view in seen] == [True] * 3
    clock.now += 1
    assert shown.view() is not first


def test_pages_are_not_hoarded() -> None:
    """A crowd that asks for many different ones must not fill the memory."""
    snapshot = make_snapshot()
    handler = pages(lambda: snapshot, lambda: TAKEN_AT)
    first = handler(RUNBOOK)
    count = MAX_PAGES_BYTES // len(first.body)
    for number in range(100):
        handler(Request(method="GET", path=RUNBOOK.path, query=f"vg=docker&pool={number}"))
    assert handler(RUNBOOK) is first  # a page for each of a hundred pools has room
    for number in range(100, 2 * count):
        handler(Request(method="GET", path=RUNBOOK.path, query=f"vg=docker&pool={number}"))

    assert handler(RUNBOOK) is not first


def test_the_same_pool_in_other_words_is_the_same_page() -> None:
    """What a query holds beside the labels makes no page of its own."""
    snapshot = make_snapshot()
    handler = pages(lambda: snapshot, lambda: TAKEN_AT)
    padded = Request(method="GET", path=RUNBOOK.path, query=f"{RUNBOOK.query}&x=1")

    assert handler(padded) is handler(RUNBOOK)


def test_a_dead_guard_protects_nothing_and_forecasts_nothing() -> None:
    """What was last measured stays, below the line that says how old it is."""
    filling = Filling(bytes_per_second=1e6, lasted_seconds=9.0, seconds_until_full=3600.0)
    guard = make_pool_guard(
        filling={Device.DATA: filling},
        steps=tuple(
            replace(step, possible_bytes=step.wanted_bytes) for step in make_pool_guard().steps
        ),
    )
    report = make_guard_report(pools={"docker/thinpool": guard})
    snapshot = make_snapshot(
        pools=(make_pool(is_monitored=True),),
        dmeventd=Dmeventd(is_alive=True, pid=812, state="S"),
        guard=report,
    )
    state = SimpleNamespace(now=TAKEN_AT)
    handler = status_page(viewer(lambda: snapshot, clock=lambda: state.now))
    pages = []
    for age in (0, 45, 90):
        state.now = TAKEN_AT + age
        pages.append(handler(ROOT).body.decode())

    assert "protected by this guard" in pages[0]
    assert "full in 1h if nothing extends it" in pages[0]
    for page, words in zip(pages[1:], ("45s", "1m 30s"), strict=True):
        assert f"(auto, pid 123) has looked at no pool for {words}" in page
        assert f"These figures are {words} old" in page
        assert "protected by" not in page.replace("not protected by", "")
        assert "full in" not in page
        assert "does not fill at present" not in page
        assert "0.10 % full" in page


def test_a_pool_that_cannot_be_shown_hides_no_other() -> None:
    """In its place stands why, on the page and in its first line."""
    odd = make_pool(name="odd", kernel=make_kernel_pool(chunk_bytes=None))
    bulkheads = Bulkheads(FakeLog(), ManualClock())
    snapshot = make_snapshot(pools=(make_pool(), odd))
    pages = status_page(viewer(lambda: snapshot, bulkheads=bulkheads))
    page = pages(ROOT).body.decode()

    assert page.count("docker/odd: could not be rendered: TypeError: ") == 1
    assert "dmsetup status docker-odd" in page
    assert "0.10 % full" in page
    assert bulkheads.counts[Stage.REPORT] == 1
    Document(pages(ROOT))


@given(st.text(min_size=1), st.text(), st.text())
def test_any_name_is_text(vg_name: str, name: str, host_name: str) -> None:
    """Whatever is in it, no tag comes of it, and the page stays well-formed."""
    pools = (make_pool(vg_name=vg_name, name=name), make_pool(vg_name="", name=name))
    plain = Document(page_of(make_snapshot(pools=(make_pool(), make_pool(vg_name="")))))

    document = Document(page_of(make_snapshot(pools=pools), host_name))

    assert [tag for tag, _ in document.tags if tag in {"script", "img", "style"}] == [
        tag for tag, _ in plain.tags if tag in {"script", "img", "style"}
    ]
    identifiers = document.values("id")
    assert len(identifiers) == len(set(identifiers))
    assert not [value for value in identifiers if re.search(r"\s", value)]
