"""Every parser that is fuzzed, by the name of its folder in tests/recordings/fuzz."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz import engines, kernel, settings, sources

TARGETS = {**sources.TARGETS, **kernel.TARGETS, **engines.TARGETS, **settings.TARGETS}
FINDINGS = Path(__file__).parents[1] / "recordings" / "fuzz"


def findings(name: str) -> list[Path]:
    """List what was found with one parser, and is mended."""
    return sorted((FINDINGS / name).glob("*"))
