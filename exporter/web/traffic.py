"""Lets work that can wait give way to requests.

Rendering a hundred pools keeps the interpreter's lock busy for tenths of a second, and
answering takes that lock some ten times: waiting each time is what makes a scrape slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable

# A sleep gives up the interpreter's lock, which a working thread otherwise keeps
# for sys.getswitchinterval() each time that the web's thread wants it.
PAUSE_SECONDS = 0.001
# Longer than any answer takes; a client that says nothing more holds nobody up.
REQUEST_SECONDS = 0.01
# Scrapers that leave no gap slow the rendering down, and do not stop it.
PATIENCE_SECONDS = 0.03


class Traffic:
    """Knows whether a request is being answered; the web's thread tells it."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._busy_until = float("-inf")

    def arrive(self) -> None:
        """Note that a client has connected or sent something."""
        self._busy_until = self._clock() + REQUEST_SECONDS

    def leave(self) -> None:
        """Note that a request is answered."""
        self._busy_until = float("-inf")

    def give_way(self) -> None:
        """Pause; longer while a request is being answered, but never for long."""
        ends_at = self._clock() + PATIENCE_SECONDS
        self._sleep(PAUSE_SECONDS)
        while self._clock() < min(self._busy_until, ends_at):
            self._sleep(PAUSE_SECONDS)
