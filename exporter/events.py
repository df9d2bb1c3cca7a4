"""Where events are told: the part of a structlog logger that the program uses."""

from __future__ import annotations

from typing import Protocol


class Log(Protocol):
    """Takes an event's name and what belongs to it; never waits and never raises."""

    def info(self, event: str, **fields: object) -> object:
        """Tell a transition or an action."""

    def warning(self, event: str, **fields: object) -> object:
        """Tell what somebody should look at."""

    def error(self, event: str, **fields: object) -> object:
        """Tell what somebody must look at."""

    def exception(self, event: str, **fields: object) -> object:
        """Tell an error of ours, with its traceback."""


class NoLog:
    """Drops every line: for a single reading, whose problems are in its result."""

    def info(self, event: str, **fields: object) -> None:
        """Drop it."""

    warning = error = exception = info
