"""Rendering ahead of the scrape: formats, compression, and what is kept."""

from __future__ import annotations

import gzip

import pytest

from exporter.exposition import Exposition, Format
from exporter.model import Snapshot
from tests.factories import TAKEN_AT, make_pool, make_snapshot

RESPONSIBLE = b'thinpool_guard_responsible{pool="thinpool",vg="docker"} %d.0'


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


def test_serves_what_was_rendered(host: Host) -> None:
    """A new Snapshot shows after the next refresh, not before."""
    host.exposition.refresh()
    before = host.exposition.page()
    host.set_thin_volumes(77)

    assert host.exposition.page() == before
    host.exposition.refresh()
    assert b'thinpool_thin_volumes{pool="thinpool",vg="docker"} 77.0' in (
        host.exposition.page()
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

    assert RESPONSIBLE % 0 in silent
    assert b"thinpool_data_used_bytes{" in silent
    assert b"thinpool_data_used_bytes{" not in old
    assert b"thinpool_exporter_snapshot_timestamp_seconds 1.50000000025e+09" in old
    assert host.exposition.page() is old
    host.wall = TAKEN_AT
    assert RESPONSIBLE % 1 in host.exposition.page()


def test_what_can_no_longer_be_read_is_said_at_the_next_scrape(host: Host) -> None:
    """Although there is no Snapshot to render."""
    host.exposition.refresh()
    assert b"thinpool_exporter_snapshot_success 1.0" in host.exposition.page()
    host.is_readable = False

    assert b"thinpool_exporter_snapshot_success 0.0" in host.exposition.page()


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
    assert b"thinpool_info{" in host.exposition.page()


def test_renders_without_a_snapshot(host: Host) -> None:
    """Before the first Snapshot there are the program's own metrics alone."""
    host.snapshot = None
    host.exposition.refresh()
    body = host.exposition.page()

    assert b"thinpool_exporter_build_info{" in body
    assert b"process_resident_memory_bytes " in body
    assert b"thinpool_info" not in body


def test_answers_in_openmetrics(host: Host) -> None:
    """Which ends with a line of its own, and has no times of creation."""
    host.exposition.refresh()
    body = host.exposition.page(Format.OPENMETRICS)

    assert body.endswith(b"# EOF\n")
    assert b"_created" not in body
    assert b"_created" not in host.exposition.page()


def test_keeps_rendering_openmetrics_for_five_minutes(host: Host) -> None:
    """What was asked for lately is ready; later it is rendered when asked for."""
    host.exposition.page(Format.OPENMETRICS)
    host.now += 299
    host.exposition.refresh()
    host.set_thin_volumes(77)
    is_ready = b" 77.0" not in host.exposition.page(Format.OPENMETRICS)
    host.now += 301
    host.exposition.refresh()
    host.set_thin_volumes(78)

    assert is_ready
    assert b" 78.0" in host.exposition.page(Format.OPENMETRICS)


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize("is_rendered_ahead", [False, True])
def test_compresses_each_page_once(
    host: Host, format_: Format, *, is_rendered_ahead: bool
) -> None:
    """From the first answer on, for all who ask for it."""
    if is_rendered_ahead:
        host.exposition.refresh()
    first = host.exposition.page(format_, is_gzip=True)

    assert gzip.decompress(first) == host.exposition.page(format_)
    assert host.exposition.page(format_, is_gzip=True) is first
