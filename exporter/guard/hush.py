"""Keeps what goes on and on out of the log: it is said once a minute, and when it changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable

SAY_AGAIN_SECONDS = 60.0


class Hush:
    """Remembers what was said last of each subject; any thread may ask about its own."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said: dict[Hashable, tuple[Hashable, float]] = {}

    def is_due(self, subject: Hashable, what: Hashable) -> bool:
        """Whether this is to be said now, since it is new or was said long ago."""
        now = self._clock()
        last, at = self._said.get(subject, (None, float("-inf")))
        if last == what and now < at + SAY_AGAIN_SECONDS:
            return False
        self._said[subject] = (what, now)
        return True

    def forget(self, subject: Hashable) -> None:
        """Say it at once when it comes again: it was over."""
        self._said.pop(subject, None)
