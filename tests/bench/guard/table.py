"""The figures beside their goals, as a table that can be kept in the README."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

HEADINGS = ("figure", "goal", "ours", "dmeventd", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: both sides as measured, and whether the goal is met (None: stated only)."""

    figure: str
    goal: str
    ours: str
    theirs: str = "–"
    is_met: bool | None = None

    @property
    def verdict(self) -> str:
        """The last column's word."""
        if self.is_met is None:
            return "stated"
        return "met" if self.is_met else "MISSED"


def table(rows: Iterable[Row]) -> str:
    """Lay the rows out in Markdown."""
    cells = [HEADINGS, *((r.figure, r.goal, r.ours, r.theirs, r.verdict) for r in rows)]
    lines = [f"| {' | '.join(cell)} |" for cell in cells]
    lines.insert(1, f"| {' | '.join('---' for _ in HEADINGS)} |")
    return "\n".join(lines)


def say(line: str) -> None:
    """Print at once: a figure takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
