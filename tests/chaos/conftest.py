"""The hosts, faults and threads of the directed tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.faults import Board
from tests.chaos.host import ChaosHost
from tests.chaos.threads import Threads


@pytest.fixture
def host() -> Iterator[ChaosHost]:
    """Give a host with a/pool and b/pool (500 MiB, 80/20), each in a VG of 4,000 MiB."""
    host = ChaosHost()
    host.set_profile("p", threshold=80, percent=20)
    for vg in ("a", "b"):
        host.add_vg(vg, extents=1000)
        host.make_pool(f"{vg}/pool")
    yield host
    host.close()


@pytest.fixture
def board() -> Iterator[Board]:
    """Give a board whose faults end with the test."""
    board = Board()
    yield board
    board.heal()


@pytest.fixture
def threads() -> Iterator[Threads]:
    """Take control of whether the program gets more threads."""
    with Threads().in_force() as threads:
        yield threads
