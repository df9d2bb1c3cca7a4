"""What the report consists of: findings with their severity, and lines to print."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from msgspec import Struct

from exporter.model.words import Text
from exporter.report.text import command, quoted


class Severity(IntEnum):
    """How bad something is; the value is the monitoring plugins' exit status."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


# Unknown beats ok: what cannot be read may be anything, and a check that says ok of it
# would be believed. A trouble that is known comes first: it can be mended now.
URGENCY = (Severity.OK, Severity.UNKNOWN, Severity.WARNING, Severity.CRITICAL)


def urgency(severity: Severity) -> int:
    """Rank a severity: the larger, the more urgent."""
    return URGENCY.index(severity)


def worst(severities: Iterable[Severity]) -> Severity:
    """Find the most urgent severity, OK where there is none."""
    return max(severities, key=urgency, default=Severity.OK)


class Style(Text):
    """What a line is, for a terminal that has colours."""

    PLAIN = "plain"
    HEADING = "heading"
    COMMAND = "command"
    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


class Line(Struct, frozen=True):
    """One line of the report, safe to print as it is."""

    text: str
    style: Style = Style.PLAIN

    def indented(self, by: int) -> Line:
        """Move the line to the right."""
        return Line(" " * by + self.text, self.style)


Remedy = tuple[Line, ...]


class Finding(Struct, frozen=True, kw_only=True):
    """One thing to know: `brief` is its part in the first line, `remedy` what mends it."""

    severity: Severity
    text: str
    brief: str = ""
    remedy: Remedy = ()


def style_of(severity: Severity) -> Style:
    """Choose the style that tells a severity."""
    return Style(severity.name.lower())


def say(text: str) -> Line:
    """Explain a step; foreign parts of the text are to be escaped by the caller."""
    return Line(text)


AS_ABOVE = say("See above.")


def run(*words: str) -> Line:
    """Name a command to type."""
    return Line(command(*words), Style.COMMAND)


def write_file(path: str, lines: Iterable[str]) -> Line:
    """Name a command that writes a file: on one line, which pasting cannot indent."""
    printed = command("printf", "%s\\n", *lines)
    return Line(f"{printed} > {quoted(path)}", Style.COMMAND)
