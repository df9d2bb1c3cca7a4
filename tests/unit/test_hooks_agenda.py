"""What a pool's hook is still to be called for, and when."""

from __future__ import annotations

import pytest

from exporter.hooks import HookEvent
from exporter.hooks.agenda import Agenda, Task, pause_seconds
from exporter.hooks.happening import Happening
from tests.factories import make_pool


def happening(event: HookEvent, reason: str = "") -> Happening:
    """Describe something that happens to docker/thinpool."""
    return Happening(event=event, reason=reason, pool=make_pool())


def taken(agenda: Agenda) -> Task:
    """Take up the task that is due first."""
    task = agenda.next()
    assert task is not None
    task.is_running = True
    return task


def test_pauses_are_those_that_dmeventd_was_seen_to_make() -> None:
    """Doubled after each failure, up to its 42 minutes."""
    pauses = [pause_seconds(failures) for failures in range(1, 11)]

    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 2560]
    assert pause_seconds(10_000) == 2560


def test_nothing_is_due_at_first() -> None:
    """Nor after everything is forgotten."""
    agenda = Agenda()
    agenda.drop(HookEvent)

    assert agenda.next() is None
    assert not agenda


def test_what_came_first_is_due_first() -> None:
    """One after the other, each once."""
    agenda = Agenda()
    agenda.put(happening(HookEvent.FULL), 3.0)
    agenda.put(happening(HookEvent.EXTENDED), 2.0)
    agenda.put(happening(HookEvent.IMPOSSIBLE), 1.0)

    order = []
    while (task := agenda.next()) is not None:
        order.append(task.happening.event)
        assert agenda.finish(task, 4.0, is_ok=True) is None

    assert order == [HookEvent.IMPOSSIBLE, HookEvent.EXTENDED, HookEvent.FULL]


def test_a_failure_waits_and_lets_the_others_go_first() -> None:
    """It is due again after its pause."""
    agenda = Agenda()
    agenda.put(happening(HookEvent.FULL), 0.0)
    failing = taken(agenda)
    agenda.put(happening(HookEvent.IMPOSSIBLE), 1.0)

    assert agenda.finish(failing, 5.0, is_ok=False) == 10.0

    assert taken(agenda).happening.event is HookEvent.IMPOSSIBLE
    assert failing.due_at == 15.0


@pytest.mark.parametrize("event", [HookEvent.FULL, HookEvent.IMPOSSIBLE])
def test_a_state_is_told_once_until_it_has_passed(event: HookEvent) -> None:
    """However often it is seen."""
    agenda = Agenda()
    agenda.put(happening(event), 0.0)
    agenda.finish(taken(agenda), 0.0, is_ok=True)

    agenda.put(happening(event, "still"), 100.0)
    assert agenda.next() is None

    agenda.drop([event])
    agenda.put(happening(event, "again"), 200.0)
    assert taken(agenda).happening.reason == "again"


def test_a_state_that_is_seen_again_keeps_its_pause() -> None:
    """Only its figures are taken: it is seen in every cycle."""
    agenda = Agenda()
    agenda.put(happening(HookEvent.FULL, "old"), 0.0)
    task = taken(agenda)
    agenda.finish(task, 0.0, is_ok=False)

    agenda.put(happening(HookEvent.FULL, "new"), 1.0)

    assert agenda.next() is task
    assert (task.due_at, task.happening.reason) == (10.0, "new")


def test_two_states_do_not_push_each_other_out() -> None:
    """A pool that cannot grow and is full is both in every cycle, and neither is hurried."""
    agenda = Agenda()
    for now in (0.0, 1.0, 2.0):
        for event in (HookEvent.IMPOSSIBLE, HookEvent.FULL):
            agenda.put(happening(event), now)
            task = agenda.next()
            if task is not None and task.due_at <= now:
                agenda.finish(task, now, is_ok=False)

    task = agenda.next()
    assert task is not None
    assert (task.failures, task.due_at) == (1, 10.0)


def test_every_growth_is_told() -> None:
    """One after the other, if there is time."""
    agenda = Agenda()
    for _ in range(2):
        assert agenda.put(happening(HookEvent.EXTENDED), 0.0) is None
        agenda.finish(taken(agenda), 0.0, is_ok=True)

    assert agenda.next() is None
    assert not agenda


def test_a_growth_that_still_waits_is_pushed_out_and_named() -> None:
    """By a later one; one that is being told is not lost."""
    agenda = Agenda()
    agenda.put(happening(HookEvent.EXTENDED, "first"), 0.0)
    running = taken(agenda)
    assert agenda.put(happening(HookEvent.EXTENDED, "second"), 1.0) is None

    lost = agenda.put(happening(HookEvent.EXTENDED, "third"), 2.0)

    assert lost is not None
    assert lost.reason == "second"
    assert agenda.finish(running, 3.0, is_ok=False) is None  # the third is told instead
    assert taken(agenda).happening.reason == "third"


def test_a_failed_growth_is_tried_again() -> None:
    """Though the pool is well: dmeventd's commands are called until they exit 0."""
    agenda = Agenda()
    agenda.put(happening(HookEvent.EXTENDED), 0.0)

    assert agenda.finish(taken(agenda), 0.0, is_ok=False) == 10.0
    agenda.drop([HookEvent.FULL, HookEvent.IMPOSSIBLE])

    assert agenda.finish(taken(agenda), 10.0, is_ok=True) is None
    assert not agenda


def test_a_state_that_passes_while_it_is_told_is_not_told_again() -> None:
    """Unless it has come back meanwhile."""
    agenda = Agenda()
    agenda.put(happening(HookEvent.FULL, "once"), 0.0)
    running = taken(agenda)
    agenda.drop([HookEvent.FULL])
    agenda.put(happening(HookEvent.FULL, "back"), 1.0)

    assert agenda.finish(running, 2.0, is_ok=True) is None

    assert taken(agenda).happening.reason == "back"
