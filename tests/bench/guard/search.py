"""Finds the highest rate that passes: pure arithmetic, one trial at a time.

The caller runs the trials, so that those of two sides can be taken in turn.
"""

from __future__ import annotations

import math

# A coarser answer than the goal's factor of 3 would need, a finer one than noise allows.
RESOLUTION = 1.25
CONFIRMATIONS = 2


class RateSearch:
    """Bisects between two rates on a logarithmic scale; the highest one is tried first."""

    def __init__(
        self,
        low: float,
        high: float,
        *,
        resolution: float = RESOLUTION,
        confirmations: int = CONFIRMATIONS,
    ) -> None:
        self._low = low
        self._rate = high
        self._resolution = resolution
        self._confirmations = confirmations
        self._successes = 0
        self.highest: float | None = None
        self.lowest_failed: float | None = None
        self.trials = 0

    @property
    def next_rate(self) -> float | None:
        """The rate of the next trial; None when the answer is known well enough."""
        return None if self._is_done() else self._rate

    def note(self, *, passed: bool) -> None:
        """Take a trial's result: one failure fails a rate, passing takes all the trials."""
        self.trials += 1
        self._successes = self._successes + 1 if passed else 0
        if not passed:
            self.lowest_failed = self._rate
        elif self._successes < self._confirmations:
            return
        else:
            self.highest = self._rate
        self._successes = 0
        if not self._is_done():
            self._rate = self._between()

    def _is_done(self) -> bool:
        if self.lowest_failed is None:
            return self.highest is not None  # the very highest rate has passed
        known = self._low if self.highest is None else self.highest
        return self.lowest_failed <= known * self._resolution

    def _between(self) -> float:
        known = self._low if self.highest is None else self.highest
        return math.sqrt(known * (self.lowest_failed or known))
