"""The latest Snapshot in, Prometheus' text formats out, rendered before it is asked for.

A hundred pools take tens of milliseconds to render: a scrape gets what the publisher
rendered when the Snapshot came. Never reads the host, except /proc about this process.
"""

from __future__ import annotations

import gzip
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from exporter import __version__
from exporter.bulkhead import Bulkheads
from exporter.collectors import SnapshotCollector
from exporter.events import Log
from exporter.model import Snapshot
from exporter.staleness import Freshness, freshness

REMEMBERED_SECONDS = 300.0
COMPRESSION_LEVEL = 3  # 6 takes three times as long for a tenth less

logger = structlog.get_logger(__name__)


class Format(Enum):
    """A text format; the value is what asks prometheus_client for it."""

    TEXT = "text/plain; version=0.0.4"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Variant(NamedTuple):
    """A format, compressed or not."""

    format: Format
    is_gzip: bool = False


# What decides, beside the Snapshot, what is said of it: is there a newer one, is it too old.
Standing = tuple[bool | None, Freshness | None]


class Families:
    """What `generate_latest` takes for a registry: families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families


class Exposition:
    """Renders the latest Snapshot once, for all who ask until the next `refresh`.

    A Snapshot that becomes too old is rendered anew, without what it may no longer claim.
    `bulkheads` count what cannot be rendered, here and on other pages. `wall` gives seconds
    since the epoch. `pause` is called between the families, so that rendering in one thread
    does not hold up the others.
    """

    def __init__(
        self,
        latest: Callable[[], Snapshot | None],
        *,
        is_readable: Callable[[], bool | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        pause: Callable[[], None] = lambda: None,
        log: Log = logger,
    ) -> None:
        self.bulkheads = Bulkheads(log, clock)
        self._latest = latest
        self._is_readable = is_readable
        self._wall = wall
        self._registry = CollectorRegistry()
        self._registry.register(
            snapshot_collector(latest, self.bulkheads, is_readable=is_readable, clock=wall)
        )
        ProcessCollector(registry=self._registry)
        self._clock = clock
        self._pause = pause
        self._rendered: tuple[Standing | None, dict[Variant, bytes]] = (None, {})
        self._asked_at: dict[Format, float] = {}

    def refresh(self) -> None:
        """Render the latest Snapshot, in every format asked for in the last minutes."""
        try:
            self._rendered = (self._standing(), self._in_wanted_formats())
        except Exception:
            self.invalidate()  # what there is, is of an older Snapshot
            raise

    def _in_wanted_formats(self) -> dict[Variant, bytes]:
        families = list(self._calmly(self._registry.collect()))
        oldest = self._clock() - REMEMBERED_SECONDS
        wanted = {format_ for format_, at in list(self._asked_at.items()) if at >= oldest}
        return {
            Variant(format_): render(self._calmly(families), format_)
            for format_ in {Format.TEXT, *wanted}
        }

    def invalidate(self) -> None:
        """Forget what is rendered: the next scrape renders the latest Snapshot itself."""
        self._rendered = (None, {})

    def page(self, format_: Format = Format.TEXT, *, is_gzip: bool = False) -> bytes:
        """Return the exposition, each variant rendered or compressed once for all who ask.

        To compress a hundred pools takes less than a millisecond, a fortieth of rendering them.
        """
        (rendered_as, pages), standing = self._rendered, self._standing()
        if rendered_as != standing:
            pages = {}
            self._rendered = (standing, pages)
        self._asked_at[format_] = self._clock()
        variant, plain = Variant(format_, is_gzip), Variant(format_)
        if plain not in pages:
            pages[plain] = render(self._registry.collect(), format_)
        if variant not in pages:
            pages[variant] = gzip.compress(pages[plain], COMPRESSION_LEVEL, mtime=0)
        return pages[variant]

    def _standing(self) -> Standing:
        snapshot = self._latest()
        age = None if snapshot is None else freshness(snapshot, self._wall())
        return self._is_readable(), age

    def _calmly(self, families: Iterable[Metric]) -> Iterator[Metric]:
        for family in families:
            yield family
            self._pause()


def snapshot_collector(
    latest: Callable[[], Snapshot | None],
    bulkheads: Bulkheads,
    *,
    is_readable: Callable[[], bool | None] = lambda: None,
    clock: Callable[[], float] = time.time,
) -> SnapshotCollector:
    """Make the collector of this program, with the versions that run."""
    return SnapshotCollector(
        latest,
        version=__version__,
        python_version=platform.python_version(),
        is_readable=is_readable,
        clock=clock,
        bulkheads=bulkheads,
    )


def render(families: Iterable[Metric], format_: Format = Format.TEXT) -> bytes:
    """Render families in one format."""
    encode, _ = choose_encoder(format_.value)
    return encode(Families(families))
