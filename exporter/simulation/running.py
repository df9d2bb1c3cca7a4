"""A simulated command that takes time, and one that never ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from exporter.command import Output
from exporter.simulation.state import HostState


class SimulatedRunning:
    """A command whose effect and output come together, when its time is over."""

    def __init__(
        self,
        present: Callable[[], AbstractContextManager[HostState]],
        *,
        clock: Callable[[], float],
        ends_at: float,
        end: Callable[[], Output],
        closed: threading.Event,
    ) -> None:
        self._present = present
        self._clock = clock
        self._ends_at = ends_at
        self._end = end
        self._closed = closed
        self._output: Output | None = None

    def wait(self, timeout_seconds: float) -> Output | None:
        """See Running.wait."""
        left = self._ends_at - self._clock()
        if left > 0:
            self._closed.wait(max(0.0, min(left, timeout_seconds)))
        with self._present():
            return self._output

    def finish_if_due(self) -> bool:
        """Do what the command does, once; the host calls it when time has moved."""
        if self._output is None and self._clock() >= self._ends_at:
            self._output = self._end()
        return self._output is not None


class StuckRunning:
    """A command that waits for something that never comes."""

    def wait(self, timeout_seconds: float) -> Output | None:
        """See Running.wait; it does not make a test wait, too."""
        del timeout_seconds
        return None
