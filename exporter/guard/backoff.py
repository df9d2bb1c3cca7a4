"""How long to wait before something that failed is tried again."""

from __future__ import annotations

NEVER = float("-inf")


class Backoff:
    """Waits `first_seconds` after a failure, and twice as long after each further one."""

    __slots__ = ("_first", "_last", "_pause", "retry_at")

    def __init__(self, first_seconds: float, last_seconds: float) -> None:
        self._first, self._last = first_seconds, last_seconds
        self._pause = 0.0
        self.retry_at = NEVER

    def note_failure(self, now: float) -> None:
        """Wait, longer than the last time; `now` is monotonic seconds."""
        self._pause = min(self._last, 2 * self._pause or self._first)
        self.retry_at = now + self._pause

    def reset(self) -> None:
        """Wait no longer: it succeeded."""
        self._pause, self.retry_at = 0.0, NEVER

    def is_over(self, now: float) -> bool:
        """Return whether it may be tried again."""
        return now >= self.retry_at
