"""Rendering gives way to requests, but never for long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from exporter.simulation import ManualClock
from exporter.web.traffic import (
    PATIENCE_SECONDS,
    PAUSE_SECONDS,
    REQUEST_SECONDS,
    Traffic,
)

ONE_PAUSE = pytest.approx(PAUSE_SECONDS)


class Renderer:
    """Gives way, by a clock that only its own sleeping moves."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.traffic = Traffic(clock=self.clock, sleep=self.sleep)
        self.on_sleep: Callable[[], object] = lambda: None

    def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        self.clock.now += seconds
        self.on_sleep()

    def wait(self) -> float:
        """Give way once; return for how long."""
        began = self.clock()
        self.traffic.give_way()
        return self.clock() - began


def test_without_requests_there_is_one_pause() -> None:
    """One pause where nobody asks for anything."""
    assert Renderer().wait() == ONE_PAUSE


def test_a_request_is_waited_for() -> None:
    """It waits until the request is answered."""
    renderer = Renderer()
    traffic = renderer.traffic
    traffic.arrive()
    steps = iter((traffic.arrive, traffic.arrive, traffic.arrive, traffic.leave))

    def take_step() -> None:
        next(steps)()

    renderer.on_sleep = take_step
    assert renderer.wait() == pytest.approx(4 * PAUSE_SECONDS)


def test_a_client_that_says_nothing_more_holds_nobody_up_for_long() -> None:
    """A client that says nothing more holds nobody up for long."""
    renderer = Renderer()
    renderer.traffic.arrive()
    assert renderer.wait() == pytest.approx(REQUEST_SECONDS, abs=PAUSE_SECONDS)
    assert renderer.wait() == ONE_PAUSE


def test_requests_without_a_gap_do_not_stop_the_rendering() -> None:
    """Requests without a gap do not stop the rendering."""
    renderer = Renderer()
    renderer.on_sleep = renderer.traffic.arrive
    assert renderer.wait() == pytest.approx(PATIENCE_SECONDS, abs=PAUSE_SECONDS)
