"""How fast the devices of a pool fill, estimated from readings at any spacing."""

from __future__ import annotations

from typing import NamedTuple

# From reading every 30 ms down to one block in a minute; each window is twice the last.
DATA_WINDOWS_SECONDS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
# dm-thin commits every second, and only then gives back the metadata blocks that it has
# replaced: below that a pool that is merely in use seems to fill.
METADATA_WINDOWS_SECONDS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
# Blocks come one at a time: the mean over n of them is right to about one in n.
CREDIBLE_BLOCKS = 8
# What is half as fast over a longer window is the same writer, who has paused or begun in it.
SAME_WRITER_RATIO = 0.5
# After so long without a gain a burst is over, unless blocks come so slowly anyway.
DATA_QUIET_SECONDS, METADATA_QUIET_SECONDS = 1.0, 4.0
QUIET_BLOCKS = 2
NEVER = float("-inf")


class Rate(NamedTuple):
    """How fast a device fills, for how long it has, and whether it still does.

    When a burst is over its mean still falls for a minute: that is no sign of more to come.
    """

    blocks_per_second: float
    lasted_seconds: float
    is_ongoing: bool = True


NO_RATE = Rate(0.0, 0.0)


class FillRate:
    """The blocks per second that one device gains, less what is freed, and since when.

    The estimator: the steepest of the means over windows from the shortest to the longest
    in which at least CREDIBLE_BLOCKS were gained; over the longest where none has as many.
    The window so follows the rate. One window, or an exponential mean, would have to
    choose: a short one jitters between nothing and too much where a block comes now and
    then, and a long one lags behind a burst for as long as it takes to fill the pool. When
    a burst is over the estimate falls as one over the time since. What is freed in one
    stroke does not hide what is written afterwards, for later windows begin behind it.
    It has lasted for the longest window whose mean is at least half of it.
    """

    def __init__(
        self,
        windows_seconds: tuple[float, ...] = DATA_WINDOWS_SECONDS,
        *,
        quiet_seconds: float = DATA_QUIET_SECONDS,
    ) -> None:
        self._quiet_seconds = quiet_seconds
        self._windows = tuple(_Window(seconds) for seconds in windows_seconds)
        self._memory_seconds = 2 * windows_seconds[-1]
        self._at = 0.0
        self._changed_at = NEVER
        self._used_blocks = 0

    def add(self, now: float, used_blocks: int) -> None:
        """Take one reading, also one that shows no change; `now` is monotonic seconds."""
        if used_blocks != self._used_blocks:
            self._changed_at = now
        self._at, self._used_blocks = now, used_blocks
        for window in self._windows:
            window.add(now, used_blocks)

    def hold(self, now: float) -> None:
        """Know that the last reading has held until `now`, as if it had been read all along."""
        for window in self._windows:
            window.hold(now, self._used_blocks)

    @property
    def present(self) -> Rate:
        """The estimate at the last reading; nothing while nothing is gained."""
        if self._at > self._changed_at + self._memory_seconds:
            return NO_RATE  # as every window would say: most pools are idle most of the time
        means = [window.mean(self._at, self._used_blocks) for window in self._windows]
        credible = [blocks / seconds for blocks, seconds in means if blocks >= CREDIBLE_BLOCKS]
        blocks, seconds = means[-1]
        steepest = max(credible, default=blocks / seconds)
        if steepest <= 0:
            return NO_RATE
        least = steepest * SAME_WRITER_RATIO
        lasted = max(seconds for blocks, seconds in means if blocks >= least * seconds)
        longest_pause = max(self._quiet_seconds, QUIET_BLOCKS / steepest)
        return Rate(steepest, lasted, self._at <= self._changed_at + longest_pause)


class _Window:
    """The gain over a span between one and two times `seconds`, or between two readings.

    Two readings stand for all within it: the start of this span, and of the next.
    """

    __slots__ = ("_at", "_next_at", "_next_used", "_seconds", "_used")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = self._next_at = NEVER
        self._used = self._next_used = 0

    def add(self, now: float, used: int) -> None:
        if now - self._next_at < self._seconds:
            return
        is_first = self._next_at == NEVER
        self._at, self._used = (now, used) if is_first else (self._next_at, self._next_used)
        self._next_at, self._next_used = now, used

    def hold(self, now: float, used: int) -> None:
        if now - self._next_at < self._seconds:
            return
        self._at, self._used = max(self._next_at, now - self._seconds), used
        self._next_at, self._next_used = now, used

    def mean(self, now: float, used: int) -> tuple[int, float]:
        """Blocks gained, and in how many seconds: never fewer than the window's."""
        return used - self._used, max(now - self._at, self._seconds)
