"""Bulkheads: an exception about one thing is logged, counted, and stops there.

This is the only place that catches every exception. What is inside one bulkhead is one pool,
device, VG, source, worker, hook or thread; everything else goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import final

from exporter.errors import ExporterError, quote
from exporter.events import Log
from exporter.model import Stage

SAY_AGAIN_SECONDS = 60.0
# Names of pools and VGs that come and go must not fill the memory.
MAX_SUBJECTS = 1000


class LogThrottle:
    """Decides whether a line is due: when it is new, and then once a minute. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said: dict[Hashable, tuple[Hashable, float]] = {}
        self._lock = threading.Lock()

    def is_due(self, subject: Hashable, what: Hashable) -> bool:
        """Return whether `what` should be logged about `subject` now."""
        now = self._clock()
        with self._lock:
            last, at = self._said.get(subject, (None, float("-inf")))
            if last == what and now < at + SAY_AGAIN_SECONDS:
                return False
            if len(self._said) >= MAX_SUBJECTS:
                self._said = {
                    key: said
                    for key, said in self._said.items()
                    if now < said[1] + SAY_AGAIN_SECONDS
                }
            if len(self._said) < MAX_SUBJECTS:
                self._said[subject] = (what, now)
        return True

    def forget(self, subject: Hashable) -> None:
        """Log the next line about `subject` at once: its trouble is over."""
        with self._lock:
            self._said.pop(subject, None)


class Bulkheads:
    """Counts what was caught, by stage, and logs it. Thread-safe; never raises."""

    def __init__(self, log: Log, clock: Callable[[], float]) -> None:
        self._log = log
        self._throttle = LogThrottle(clock)
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(Stage, 0)

    @property
    def counts(self) -> dict[Stage, int]:
        """Exceptions caught since the start, for every stage."""
        with self._lock:
            return dict(self._counts)

    def contain(
        self, stage: Stage, name: str = "", *, expected: tuple[type[Exception], ...] = ()
    ) -> Bulkhead:
        """Return a context manager that stops an exception instead of passing it on.

        The caller logs the `expected` ones itself; they are counted here all the same.
        """
        return Bulkhead(self, stage, name, expected)

    def failed(
        self,
        stage: Stage,
        name: str,
        error: Exception,
        *,
        expected: tuple[type[Exception], ...] = (),
    ) -> None:
        """Count a failure, and log it with the name of what failed.

        An error of the host is one line; any other one is a fault of ours, with a traceback.
        """
        with self._lock:
            self._counts[stage] += 1
        if isinstance(error, expected):
            return
        message = quote(str(error) or repr(error))
        if not self._throttle.is_due((stage, name), message):
            return
        say = self._log.error if isinstance(error, ExporterError) else self._log.exception
        say("failed", stage=str(stage), name=name, error=message, kind=type(error).__name__)

    def is_over(self, stage: Stage, name: str) -> None:
        """Log the next failure at once: this one has passed."""
        self._throttle.forget((stage, name))


@final
class Bulkhead:
    """One use of a bulkhead; `error` holds what it caught."""

    __slots__ = ("_all", "_expected", "_name", "_stage", "error")

    def __init__(
        self,
        bulkheads: Bulkheads,
        stage: Stage,
        name: str,
        expected: tuple[type[Exception], ...],
    ) -> None:
        self._all, self._stage, self._name = bulkheads, stage, name
        self._expected = expected
        self.error: Exception | None = None

    def __enter__(self) -> Bulkhead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.error = error
        self._all.failed(self._stage, self._name, error, expected=self._expected)
        return True
