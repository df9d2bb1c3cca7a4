"""Option of the golden tests: `pytest tests/golden --update-golden` rewrites the files."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option; pytest knows it when tests/golden is named on its command line."""
    parser.addoption(
        "--update-golden", action="store_true", help="write the expositions as they are now"
    )


@pytest.fixture
def is_updating(request: pytest.FixtureRequest) -> bool:
    """Whether the golden files are to be written."""
    return bool(request.config.getoption("--update-golden", default=False))
