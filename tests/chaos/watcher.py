"""Watches the simulated host beside the guard: who should be extended, and for how long.

Its seconds are fair: they do not pass while this process gets no processor.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tests.chaos.host import ChaosHost, Growth, Truth
from tests.chaos.threads import start_ours

TICK_SECONDS = 0.02
# More than this between two ticks is the machine's fault, or that of a loop that spins.
FAIR_TICK_SECONDS = 0.1
SERIES_SECONDS = 5.0
RATE_WINDOW_SECONDS = 0.03  # the shortest in which a rate is measured


class Sample(NamedTuple):
    """One pool at one time."""

    at: float
    truth: Truth


class Grown(NamedTuple):
    """One growth, and what was seen of the pool before it."""

    growth: Growth
    wanted_data: int
    wanted_metadata: int
    above_since: float | None
    gained_at: float
    bytes_per_second: float  # the highest that was seen lately, of data and of metadata


class Seen:
    """What was seen of one pool."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque()
        self.due_seconds = 0.0  # for which it should have been extended, at a stretch
        self.above_since: float | None = None
        # Since the last growth: the most that the policy has wanted, if anything.
        self.wanted_data = 0
        self.wanted_metadata = 0
        self.gained_at = float("-inf")

    def take(self, now: float, truth: Truth) -> None:
        """Take a sample."""
        last = self.samples[-1].truth if self.samples else None
        if last and (truth.total, truth.metadata_total) != (last.total, last.metadata_total):
            self.due_seconds = 0.0
        if last is None or (truth.used, truth.metadata_used) != (last.used, last.metadata_used):
            self.gained_at = now
        self.samples.append(Sample(now, truth))
        while self.samples[0].at < now - SERIES_SECONDS:
            self.samples.popleft()
        if not truth.is_above:
            self.above_since = None
        elif self.above_since is None:
            self.above_since = now
        self.wanted_data = max(self.wanted_data, truth.wanted_data_extents)
        self.wanted_metadata = max(self.wanted_metadata, truth.wanted_metadata_extents)

    def grow(self, growth: Growth) -> Grown:
        """Tell what preceded a growth, and begin anew: what was wanted has been given."""
        before = Grown(
            growth,
            self.wanted_data,
            self.wanted_metadata,
            self.above_since,
            self.gained_at,
            self._highest_rate(),
        )
        self.wanted_data = self.wanted_metadata = 0
        return before

    def _highest_rate(self) -> float:
        """Take the mean of any span of one to two windows, as long as these are full."""
        highest = 0.0
        samples = list(self.samples)
        for place, later in enumerate(samples):
            for earlier in reversed(samples[:place]):
                seconds = later.at - earlier.at
                data = (later.truth.used - earlier.truth.used) * later.truth.chunk_bytes
                metadata = (later.truth.metadata_used - earlier.truth.metadata_used) * 4096
                highest = max(highest, max(data, metadata) / max(seconds, RATE_WINDOW_SECONDS))
                if seconds > 2 * RATE_WINDOW_SECONDS:
                    break
        return highest

    def since(self, moment: float) -> list[Truth]:
        """List what it was at some time after a moment, and just before it."""
        samples = list(self.samples)
        later = [sample.truth for sample in samples if sample.at >= moment]
        before = [sample.truth for sample in samples if sample.at < moment][-1:]
        return before + later


class Watcher:
    """Samples every pool; `is_due` says whether one should be extended now."""

    def __init__(self, host: ChaosHost, is_due: Callable[[Truth], bool]) -> None:
        self._host = host
        self._is_due = is_due
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos-watcher", daemon=True)
        self.lock = threading.RLock()
        self.seen: dict[str, Seen] = {}
        self.grown: list[Grown] = []
        self.trouble = ""
        self._growths = 0
        self._last_at = time.monotonic()
        self._lost: deque[tuple[float, float]] = deque(maxlen=1000)

    def start(self) -> None:
        """Watch from now on."""
        start_ours(self._thread)

    def stop(self) -> None:
        """Watch no longer."""
        self._is_over.set()
        self._thread.join()

    def slack(self, since: float) -> float:
        """Count the seconds since a moment in which this process got no processor."""
        return sum(lost for at, lost in list(self._lost) if at >= since)

    def look(self) -> None:
        """Take a sample of every pool."""
        with self.lock:
            now = time.monotonic()
            fair = min(now - self._last_at, FAIR_TICK_SECONDS)
            self._lost.append((now, now - self._last_at - fair))
            self._last_at = now
            self._tick(now, fair)

    def seeing(self, change: Callable[[], None]) -> None:
        """Sample right before and after what changes at once: nobody sees it in between."""
        with self.lock, self._host.still():
            self.look()
            change()
            self.look()

    def _run(self) -> None:
        try:
            while not self._is_over.wait(TICK_SECONDS):
                self.look()
        except Exception as error:  # noqa: BLE001 - the test that sees this fails
            self.trouble = repr(error)

    def _tick(self, now: float, passed: float) -> None:
        truths, growths = self._host.look()
        for growth in growths[self._growths :]:
            seen = self.seen.get(growth.before.label)
            if seen is not None:
                self.grown.append(seen.grow(growth))
        self._growths = len(growths)
        for label in self.seen.keys() - truths.keys():
            del self.seen[label]
        for label, truth in truths.items():
            seen = self.seen.setdefault(label, Seen())
            seen.take(now, truth)
            seen.due_seconds = seen.due_seconds + passed if self._is_due(truth) else 0.0
