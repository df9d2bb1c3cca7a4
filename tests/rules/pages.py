"""What each alert says: pages.txt, and how it is written anew.

pages.txt is for people to read: each alert's summary and description, of a host whose names
stand out. `UPDATE_GOLDEN=1 pytest tests/rules/test_annotations.py` writes it, by a promtool
that is told to expect nothing and says what it got.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.rules.case import Case
from tests.rules.healthy import Names

FILE = Path(__file__).with_name("pages.txt")
NAMES = Names(instance="INSTANCE:10128", vg="VGNAME", pool="POOLNAME")
WIDTH = 96
SAID = re.compile(
    r'Annotations:\{.*description=(?P<text>"(?:[^"\\]|\\.)*").*'
    r'summary=(?P<summary>"(?:[^"\\]|\\.)*")'
)


class Said:
    """The texts of all cases, by their names."""

    def __init__(self) -> None:
        self._texts: dict[str, tuple[str, str]] = {}
        if FILE.exists():
            self._texts = dict(map(_parsed, FILE.read_text().split("\n\n")[1:]))

    def of(self, case: Case, names: Names) -> tuple[str, str]:
        """Give an alert's summary and description on a host of other names."""
        summary, text = self._texts[case.id]
        for old, new in (
            (NAMES.instance, names.instance),
            (NAMES.vg, names.vg),
            (NAMES.pool, names.pool),
        ):
            text = text.replace(old, new)
        return summary, text

    def learn(self, case: Case, output: str) -> None:
        """Take what promtool got."""
        match = SAID.search(output)
        assert match, output
        self._texts[case.id] = (json.loads(match["summary"]), json.loads(match["text"]))

    def write(self) -> None:
        """Write the file."""
        heading = "What each alert says, on a host INSTANCE with the pool VGNAME/POOLNAME."
        parts = [
            f"{name}\n  {summary}\n  {text}" for name, (summary, text) in self._texts.items()
        ]
        FILE.write_text("\n\n".join([heading, *sorted(parts)]) + "\n")


def _parsed(part: str) -> tuple[str, tuple[str, str]]:
    name, summary, text = part.strip("\n").split("\n")
    return name, (summary.strip(), text.strip())
