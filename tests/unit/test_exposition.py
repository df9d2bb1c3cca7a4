"""Rendering ahead of the scrape: formats, compression, and what is kept."""

from __future__ import annotations

import gzip

import pytest

from exporter.exposition import Exposition, Format, format_for, is_gzip_accepted
from exporter.model import Snapshot
from tests.factories import TAKEN_AT, make_pool, make_snapshot

RESPONSIBLE = b'thinpool_guard_responsible{pool="thinpool",vg="docker"} %d.0'
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
    "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,*/*;q=0.1"
)


class Host:
    """A host whose Snapshot and clock the test sets."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = make_snapshot()
        self.now = 1000.0
        self.wall = TAKEN_AT
        self.is_readable = True
        self.exposition = Exposition(
            lambda: self.snapshot,
            is_readable=lambda: self.is_readable,
            clock=lambda: self.now,
            wall=lambda: self.wall,
        )

    def set_thin_volumes(self, count: int) -> None:
        """Change something that shows."""
        self.snapshot = make_snapshot(pools=(make_pool(thin_volumes=count),))


@pytest.fixture
def host() -> Host:
    """Return a host that nobody has asked yet."""
    return Host()


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Format.TEXT),
        ("*/*", Format.TEXT),
        ("text/plain; version=1.0.0; escaping=allow-utf-8", Format.TEXT),
        (OPENMETRICS, Format.OPENMETRICS),
        ("application/openmetrics-text", Format.OPENMETRICS),
        (PROMETHEUS_2, Format.OPENMETRICS),
        (PROMETHEUS_3, Format.OPENMETRICS),
        ("application/openmetrics-text; version=x", Format.TEXT),
        ("text/plain; version=1.x.é", Format.TEXT),
        (",;=,;;", Format.TEXT),
    ],
)
def test_chooses_a_format(accept: str, expected: Format) -> None:
    """The Accept header decides, and nonsense in it gives plain text."""
    assert format_for(accept) is expected


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP ;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("br", False),
        ("gzip;level=0", True),
    ],
)
def test_knows_whether_gzip_is_accepted(accept_encoding: str, *, expected: bool) -> None:
    """Quality 0 forbids it."""
    assert is_gzip_accepted(accept_encoding) is expected


def test_serves_what_was_rendered(host: Host) -> None:
    """A new Snapshot shows after the next refresh, not before."""
    host.exposition.refresh()
    before = host.exposition.page().body
    host.set_thin_volumes(77)

    assert host.exposition.page().body == before
    host.exposition.refresh()
    assert b'thinpool_thin_volumes{pool="thinpool",vg="docker"} 77.0' in (
        host.exposition.page().body
    )


def test_a_scrape_renders_nothing(host: Host) -> None:
    """Once rendered, a page is the same for all."""
    host.exposition.refresh()
    first = host.exposition.page()

    assert all(host.exposition.page() is first for _ in range(10))


@pytest.mark.parametrize("is_rendered_ahead", [False, True])
def test_what_becomes_too_old_is_rendered_anew(host: Host, *, is_rendered_ahead: bool) -> None:
    """Also where the guard is dead, and no Snapshot comes that would be rendered."""
    if is_rendered_ahead:
        host.exposition.refresh()
    host.exposition.page()
    host.wall += 31
    silent = host.exposition.page()
    host.wall += 30
    old = host.exposition.page()

    assert RESPONSIBLE % 0 in silent.body
    assert b"thinpool_data_used_bytes{" in silent.body
    assert b"thinpool_data_used_bytes{" not in old.body
    assert b"thinpool_exporter_snapshot_timestamp_seconds 1.50000000025e+09" in old.body
    assert host.exposition.page() is old
    host.wall = TAKEN_AT
    assert RESPONSIBLE % 1 in host.exposition.page().body


def test_what_can_no_longer_be_read_is_said_at_the_next_scrape(host: Host) -> None:
    """Although there is no Snapshot to render."""
    host.exposition.refresh()
    assert b"thinpool_exporter_snapshot_success 1.0" in host.exposition.page().body
    host.is_readable = False

    assert b"thinpool_exporter_snapshot_success 0.0" in host.exposition.page().body


def test_what_cannot_be_rendered_leaves_no_older_page(host: Host) -> None:
    """A page of an older Snapshot would pass for the present one."""
    host.exposition.refresh()
    host.snapshot = make_snapshot(taken_at=None)
    with pytest.raises(TypeError):
        host.exposition.refresh()

    with pytest.raises(TypeError):
        host.exposition.page()


def test_renders_at_once_before_the_first_refresh(host: Host) -> None:
    """A scrape that comes first is answered all the same."""
    assert b"thinpool_info{" in host.exposition.page().body


def test_renders_without_a_snapshot(host: Host) -> None:
    """Before the first Snapshot there are the program's own metrics alone."""
    host.snapshot = None
    host.exposition.refresh()
    body = host.exposition.page().body

    assert b"thinpool_exporter_build_info{" in body
    assert b"process_resident_memory_bytes " in body
    assert b"thinpool_info" not in body


def test_answers_in_openmetrics(host: Host) -> None:
    """The content type names the format that the body is in."""
    host.exposition.refresh()
    page = host.exposition.page(PROMETHEUS_2)

    assert page.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert page.body.endswith(b"# EOF\n")
    assert b"_created" not in page.body


def test_answers_in_text(host: Host) -> None:
    """Plain text is version 0.0.4, which every Prometheus reads."""
    page = host.exposition.page("*/*")

    assert page.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"_created" not in page.body


def test_keeps_rendering_openmetrics_for_five_minutes(host: Host) -> None:
    """What was asked for lately is ready; later it is rendered when asked for."""
    host.exposition.page(OPENMETRICS)
    host.now += 299
    host.exposition.refresh()
    host.set_thin_volumes(77)
    is_ready = b" 77.0" not in host.exposition.page(OPENMETRICS).body
    host.now += 301
    host.exposition.refresh()
    host.set_thin_volumes(78)

    assert is_ready
    assert b" 78.0" in host.exposition.page(OPENMETRICS).body


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_compresses_once_it_was_asked_to(host: Host, accept: str) -> None:
    """The first answer is not compressed, those after the next refresh are."""
    host.exposition.refresh()
    first = host.exposition.page(accept, "gzip")
    host.exposition.refresh()
    second = host.exposition.page(accept, "gzip")
    plain = host.exposition.page(accept)

    assert (first.content_encoding, second.content_encoding) == (None, "gzip")
    assert gzip.decompress(second.body) == plain.body
    assert plain.content_encoding is None
