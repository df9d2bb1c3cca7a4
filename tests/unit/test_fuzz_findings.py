"""What the fuzzer has found (make fuzz): each input was the end of a parser once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import FINDINGS, TARGETS

FOUND = sorted(path for path in FINDINGS.glob("*/*") if path.is_file())


def name_of(path: Path) -> str:
    """Name a test by its input."""
    return path.relative_to(FINDINGS).as_posix()


@pytest.mark.parametrize("path", FOUND, ids=name_of)
def test_ends_as_the_parser_promises(path: Path) -> None:
    """With a record that the input bears out, or with one of the errors that it names."""
    TARGETS[path.parent.name].check(path.read_bytes())


def test_every_finding_is_small() -> None:
    """They are kept for good: a large one is cut down first."""
    assert FOUND
    assert all(path.stat().st_size < 20_000 for path in FOUND)
