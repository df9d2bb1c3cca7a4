"""A usage that moves with the clock: a rate, and the cleanups that give space back."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.simulation.records import Sawtooth


@dataclass(kw_only=True)
class Flow:
    """Bytes in use since `at` (seconds of the host's clock)."""

    used_bytes: float
    bytes_per_second: float
    at: float
    cleanup: Sawtooth | None = None

    def advance(self, now: float, limit_bytes: float) -> float | None:
        """Move to `now`; the time at which the limit was reached, None if it was not."""
        wanted = self._wanted(now, limit_bytes)
        self.at = now
        self.used_bytes = max(0.0, min(wanted, limit_bytes))
        if wanted < limit_bytes:
            return None
        late = (wanted - limit_bytes) / self.bytes_per_second if self.bytes_per_second else 0.0
        return now - max(0.0, late)

    def hold(self, now: float) -> None:
        """Let time pass without change: nobody can write."""
        self.at = now

    def _wanted(self, now: float, limit_bytes: float) -> float:
        wanted = self.used_bytes + self.bytes_per_second * (now - self.at)
        cleanup = self.cleanup
        if cleanup is None or cleanup.at_bytes > limit_bytes or wanted < cleanup.at_bytes:
            return wanted
        return cleanup.to_bytes + (wanted - cleanup.at_bytes) % cleanup.span_bytes
