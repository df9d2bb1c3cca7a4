"""Reads the configuration again when told to, and applies it whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable

from exporter.config import Settings
from exporter.errors import ConfigError, ExporterError
from exporter.events import Log
from exporter.model import ConfigurationState


class Reloading:
    """The settings in force; `request` is safe in a signal handler.

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
        self._is_wanted = threading.Event()
        self.state = ConfigurationState(loaded_at=wall_clock())

    def request(self) -> None:
        """Have the configuration read again, soon."""
        self._is_wanted.set()

    def take_request(self) -> bool:
        """Whether it is to be read again; asked once for each time."""
        is_wanted = self._is_wanted.is_set()
        self._is_wanted.clear()
        return is_wanted

    def reload(self, apply: Callable[[Settings], None]) -> None:
        """Read and apply; a fault is logged with its keys and leaves all as it was."""
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
            self.state = ConfigurationState(
                loaded_at=self.state.loaded_at, error="; ".join(faults)
            )
            return
        self._log.info("configuration_reloaded")
        self.state = ConfigurationState(loaded_at=began)
