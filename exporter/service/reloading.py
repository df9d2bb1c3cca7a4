"""Reads the configuration again when told to, and applies it whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable

from exporter.config import Settings
from exporter.errors import ConfigError, ExporterError
from exporter.events import Log
from exporter.model import ConfigurationState


class Reloading:
    """The settings in force; `request` is safe in a signal handler, as it takes no lock.

    `load` reads and checks, `permit` becomes what the settings need, or cuts them to what
    this process may do, and `apply` puts them into force, after it has permitted them. Each
    raises ExporterError, and then everything stays as it was. `state` is what is known of it.
    """

    def __init__(
        self,
        load: Callable[[], Settings],
        *,
        permit: Callable[[Settings], Settings] = lambda settings: settings,
        wall_clock: Callable[[], float],
        log: Log,
    ) -> None:
        self._load = load
        self.permit = permit
        self._wall_clock = wall_clock
        self._log = log
        # Counted: a request that comes while an earlier one is taken must not be lost.
        self._requests = self._taken = 0
        self._in_use = threading.Lock()
        self.state = ConfigurationState(loaded_at=wall_clock())

    def request(self) -> None:
        """Have the configuration read again, soon."""
        self._requests += 1

    def take_request(self) -> bool:
        """Return whether to read it again now; one answer for all requests until then.

        False while it is being read: a file that hangs must not have a thread for each request.
        """
        requests = self._requests
        if requests == self._taken or self._in_use.locked():
            return False
        self._taken = requests
        return True

    def reload(self, apply: Callable[[Settings], None]) -> None:
        """Read and apply; a fault is logged with its keys and leaves all as it was."""
        with self._in_use:
            began = self._wall_clock()
            try:
                apply(self._load())
            except ExporterError as error:
                faults = error.faults if isinstance(error, ConfigError) else (str(error),)
                self._log.error(
                    "configuration_not_reloaded",
                    faults=list(faults),
                    next_step="thinpool-exporter check-config",
                )
                self._note_failure("; ".join(faults))
            except Exception as error:  # noqa: BLE001 - the bulkhead of its thread
                self._log.exception("configuration_not_reloaded", faults=[repr(error)])
                self._note_failure(repr(error))
            else:
                self._log.info("configuration_reloaded")
                self.state = ConfigurationState(loaded_at=began)

    def _note_failure(self, error: str) -> None:
        self.state = ConfigurationState(loaded_at=self.state.loaded_at, error=error)
