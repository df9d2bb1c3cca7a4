"""The demo, started once for all tests that only look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.program import Program


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Run the simulated host."""
    with Program("demo", directory=tmp_path_factory.mktemp("demo")) as program:
        yield program.wait_until_ready()


@pytest.fixture
def fake_lvm(tmp_path: Path) -> Path:
    """Give the path of a script that stands for lvm; tests write it."""
    return tmp_path / "lvm"
