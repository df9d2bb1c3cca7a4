"""The host that most of these tests look at, and its clock."""

from __future__ import annotations

import pytest

from exporter.simulation import ManualClock, SimulatedHost
from exporter.simulation.figures import GIB
from tests.unit.simulation.host import POOL, make_host


@pytest.fixture
def clock() -> ManualClock:
    """Give a clock at a time that is not zero."""
    return ManualClock()


@pytest.fixture
def host(clock: ManualClock) -> SimulatedHost:
    """Give a host with one half-full pool of Docker's, and room to grow."""
    host = make_host(clock, extents=5120, used_bytes=5 * GIB)
    host.add_docker_thin(POOL)
    return host
