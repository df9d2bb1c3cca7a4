"""Requests to read the configuration again: none is lost, and no failure ends anything."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from exporter.config import Settings
from exporter.errors import ConfigError
from exporter.service.reloading import Reloading
from exporter.simulation import ManualClock
from tests.fakes import FakeLog
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from _typeshed import TraceFunction

SETTINGS = Settings()


def reloading_of(
    load: Callable[[], Settings] = lambda: SETTINGS, *, log: FakeLog | None = None
) -> Reloading:
    """Make what reads the configuration again."""
    return Reloading(load, wall_clock=ManualClock(), log=log or FakeLog())


def interrupted(act: Callable[[], object], at: int, handler: Callable[[], None]) -> int:
    """Act, and run a handler before one of its steps, as a signal's is; return the steps."""
    steps = 0

    def step(frame: FrameType, event: str, _argument: object) -> TraceFunction:
        nonlocal steps
        frame.f_trace_opcodes = True
        if event == "opcode":
            steps += 1
            if steps == at:
                handler()
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        act()
    finally:
        sys.settrace(before)
    return steps


def test_a_request_is_answered_once() -> None:
    """However often it was made."""
    reloading = reloading_of()
    assert not reloading.take_request()

    reloading.request()
    reloading.request()

    assert [reloading.take_request(), reloading.take_request()] == [True, False]


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_request_at_any_moment_is_not_lost(earlier: int) -> None:
    """SIGHUP comes between any two steps of whoever looks for it."""
    steps = interrupted(reloading_of().take_request, 0, lambda: None)
    assert steps > 5

    for moment in range(1, steps + 1):
        reloading, answers, is_made = reloading_of(), list[bool](), threading.Event()
        for _ in range(earlier):
            reloading.request()

        def request(reloading: Reloading = reloading, made: threading.Event = is_made) -> None:
            made.set()
            reloading.request()

        interrupted(
            lambda: answers.append(reloading.take_request()),  # noqa: B023 - called at once
            moment,
            request,
        )
        if not is_made.is_set():
            # The first time took more steps: garbage was collected meanwhile.
            assert moment > 5
            break
        # What was asked for before may be answered together with it, by a later reading.
        answers.append(reloading.take_request())

        assert True in answers, moment


def test_a_request_during_a_reading_is_answered_after_it() -> None:
    """One reading at a time, however long it takes; the last file is read in the end."""
    reading, go_on = threading.Event(), threading.Event()

    def load() -> Settings:
        reading.set()
        assert go_on.wait(PATIENCE_SECONDS)
        return SETTINGS

    reloading = reloading_of(load)
    thread = threading.Thread(target=reloading.reload, args=(lambda _: None,))
    thread.start()
    assert reading.wait(PATIENCE_SECONDS)
    reloading.request()

    assert not reloading.take_request()
    go_on.set()
    thread.join()
    assert reloading.take_request()


def test_a_fault_leaves_the_settings_and_is_told() -> None:
    """With every key."""
    log = FakeLog()

    def load() -> Settings:
        raise ConfigError(["guard.mode: no such mode"])

    reloading = reloading_of(load, log=log)
    reloading.reload(lambda _: pytest.fail("nothing to apply"))

    assert reloading.state.error == "guard.mode: no such mode"
    (line,) = log.events("configuration_not_reloaded")
    assert line["faults"] == ["guard.mode: no such mode"]


def test_what_nobody_foresaw_is_a_failed_reading_too() -> None:
    """It is told in the log and by the metric; the next reading may succeed."""
    log = FakeLog()
    reloading = reloading_of(log=log)

    def apply(_settings: Settings) -> None:
        raise RuntimeError("can't start new thread")

    reloading.reload(apply)
    assert "can't start new thread" in str(reloading.state.error)
    assert len(log.events("configuration_not_reloaded")) == 1

    reloading.reload(lambda _: None)
    assert reloading.state.error is None
    assert len(log.events("configuration_reloaded")) == 1
