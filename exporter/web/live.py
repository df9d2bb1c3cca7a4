"""The web configuration in force: read again when it, or a file that it names, changes.

A file that cannot be used leaves the last good one in force, and is logged once.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from exporter.errors import ConfigError
from exporter.events import Log
from exporter.web.access import Access, Verifier
from exporter.web.config import WebConfig, load
from exporter.web.tls import make_context

# A change is seen by the first connection or request so long after it.
LOOK_SECONDS = 1.0
Signature = tuple[tuple[str, int, int, int], ...]


class WebSettings(Struct, frozen=True, kw_only=True):
    """What a configuration makes: for connections (None: no TLS), requests and answers."""

    config: WebConfig
    context: ssl.SSLContext | None
    access: Access

    @classmethod
    def of(cls, config: WebConfig, verifier: Verifier | None = None) -> WebSettings:
        """Make it, with who is known already. Raises ConfigError."""
        context = make_context(config.tls_server_config)
        return cls(config=config, context=context, access=Access(config, verifier))


class LiveSettings:
    """Gives the settings in force. Without a file they are plain HTTP for everybody."""

    def __init__(
        self, path: Path | None, *, log: Log, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the file. Raises ConfigError: a bad one at the start is no last good one."""
        self._path = path
        self._log = log
        self._clock = clock
        self._looked_at = clock()
        self._settings = WebSettings.of(WebConfig() if path is None else load(path))
        self._seen = self._signature(self._settings.config)
        self._told: ConfigError | None = None

    def present(self) -> WebSettings:
        """Return the settings in force, after a look at the files once a second."""
        now = self._clock()
        if self._path is not None and now >= self._looked_at + LOOK_SECONDS:
            self._looked_at = now
            self._look(self._path)
        return self._settings

    def _look(self, path: Path) -> None:
        # A bad one may have become good by a file that only it names.
        if self._told is None and self._signature(self._settings.config) == self._seen:
            return
        try:
            settings = WebSettings.of(load(path), self._settings.access.verifier)
        except ConfigError as error:
            if self._told is None or error.faults != self._told.faults:
                self._log.error("web_configuration_not_reloaded", faults=list(error.faults))
            self._told = error
            return
        self._settings, self._told = settings, None
        # Of the files that are named now.
        self._seen = self._signature(settings.config)
        self._log.info("web_configuration_reloaded")

    def _signature(self, config: WebConfig) -> Signature:
        own = (self._path,) if self._path else ()
        return tuple(_signatures((*own, *config.tls_server_config.files)))


def _signatures(files: Iterable[Path]) -> Iterable[tuple[str, int, int, int]]:
    for path in files:
        try:
            status = path.stat()
        except OSError:
            yield str(path), 0, 0, 0
        else:
            yield str(path), status.st_mtime_ns, status.st_size, status.st_ino
