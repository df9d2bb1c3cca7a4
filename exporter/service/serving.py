"""The side that serves: the latest Snapshot in, pages out; never touches the host."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from exporter.events import Log
from exporter.exposition import Exposition
from exporter.model import Snapshot
from exporter.web.app import build_app
from exporter.web.live import LiveSettings
from exporter.web.server import SWITCH_INTERVAL_SECONDS, WebServer
from exporter.web.traffic import Traffic

CHEAP_POOLS = 5  # about a millisecond each


class WebOptions(Struct, frozen=True, kw_only=True):
    """Where to serve."""

    addresses: Sequence[str]
    telemetry_path: str
    config_file: Path | None = None
    descriptors: tuple[int, ...] = ()  # that listen already, in place of the addresses


class Serving:
    """The web server, and what it answers from; `take` gives it the next Snapshot.

    `fault` says why there is no newer one, "" where there is; None: it comes from here.
    """

    def __init__(
        self, options: WebOptions, *, fault: Callable[[], str] | None = None, log: Log
    ) -> None:
        """Read the web configuration. Raises ConfigError."""
        self._latest: Snapshot | None = None
        traffic = Traffic()
        self._exposition = Exposition(
            lambda: self._latest,
            is_readable=(lambda: not fault()) if fault else lambda: None,
            pause=traffic.give_way,
        )
        app = build_app(
            self._exposition,
            lambda: self._latest,
            telemetry_path=options.telemetry_path,
            settings=LiveSettings(options.config_file, log=log).present,
            fault=fault or (lambda: ""),
        )
        self._server = WebServer(
            app,
            () if options.descriptors else options.addresses,
            descriptors=options.descriptors,
            traffic=traffic,
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, once it does."""
        return self._server.addresses

    def why_ended(self) -> str | None:
        """Say why it serves no more, although nobody stopped it; None while all is well."""
        return self._server.why_ended()

    def start(self) -> None:
        """Serve from now on. Raises ListenError, or ExporterError if that is impossible."""
        # What is loaded by now stays: to look through all of it for garbage takes a
        # twentieth of a second each time, and whoever asks meanwhile waits.
        gc.collect()
        gc.freeze()
        self._server.start()

    def take(self, snapshot: Snapshot) -> None:
        """Answer from this Snapshot; render it ahead where that takes long.

        Most renderings are never fetched: on a host with a few pools they would be most
        of what this program costs, and are left to the scrape.
        """
        self._latest = snapshot
        if len(snapshot.pools) <= CHEAP_POOLS:
            self._exposition.invalidate()
        else:
            # Only where a thread renders for long: nobody waits for one that does not.
            sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
            self._exposition.refresh()

    def stop(self) -> None:
        """Hang up."""
        self._server.stop()
