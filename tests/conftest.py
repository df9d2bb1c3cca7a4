"""What holds for every test."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.programs import Edition

# A deadline for each example makes a test fail on a busy machine: speed is shown by
# tests/bench, and pytest's own timeout ends what hangs.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture(params=Edition, ids=lambda edition: edition.value, scope="session")
def edition(request: pytest.FixtureRequest) -> Edition:
    """Run a test with each Prometheus and Alertmanager."""
    chosen: Edition = request.param
    return chosen
