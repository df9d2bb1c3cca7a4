"""A clock that moves only when it is told to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ManualClock:
    """Seconds since some start, as time.monotonic counts them."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now
