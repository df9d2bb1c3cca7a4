"""The time from a decision until the next one can be served, as the guard plans with it."""

from __future__ import annotations

import pytest

from exporter.guard.judge import (
    LEAST_GUESS_SECONDS,
    MOST_GUESS_SECONDS,
    OUTLIER,
    REACTIONS_LAST_SECONDS,
    Judge,
)
from exporter.guard.rules import Clocks, Rules


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


@pytest.fixture
def time() -> Time:
    """Make a clock for one test."""
    return Time()


def judge(time: Time, *, lvm_seconds: float | None = None) -> Judge:
    """Make a judge that has seen nothing yet."""
    clocks = Clocks(monotonic=time, wall=time)
    return Judge(Rules(), clocks, lvm_seconds=lambda: lvm_seconds)


def test_a_lock_in_one_vg_is_no_reason_to_hurry_in_another(time: Time) -> None:
    """Its lvextends have waited for a lock; the other VG's have been quick."""
    known = judge(time)
    for seconds in (60.0, 61.0):
        known.note_reaction("slow", seconds)
    known.note_reaction("quick", 0.3)

    assert known.reaction_seconds("slow") == 61.0
    assert known.reaction_seconds("quick") == 0.3


def test_the_slowest_within_an_hour_counts(time: Time) -> None:
    """After that it is forgotten, and so is the VG itself."""
    known = judge(time)
    for seconds in (0.4, 1.5, 0.5):
        known.note_reaction("vg", seconds)
    assert known.reaction_seconds("vg") == 1.5

    time.now += REACTIONS_LAST_SECONDS + 1
    assert known.reaction_seconds("vg") == LEAST_GUESS_SECONDS
    known.note_reaction("vg", 0.3)
    assert known.reaction_seconds("vg") == 0.3


def test_one_that_waited_for_a_lock_counts_little(time: Time) -> None:
    """The first is capped as a guess is, a later one at three times the next slowest."""
    known = judge(time)
    known.note_reaction("vg", 60.0)
    assert known.reaction_seconds("vg") == MOST_GUESS_SECONDS
    known.note_reaction("vg", 0.3)
    assert known.reaction_seconds("vg") == MOST_GUESS_SECONDS
    known.note_reaction("vg", 3.0)
    assert known.reaction_seconds("vg") == OUTLIER * 3.0


def test_a_vg_without_an_extension_goes_by_the_others(time: Time) -> None:
    """By what they usually take: one that waits for a lock says nothing of this one."""
    known = judge(time, lvm_seconds=1.0)
    assert known.reaction_seconds("new") == 1.0

    for name, seconds in (("a", 0.4), ("b", 60.0), ("c", 0.5)):
        known.note_reaction(name, seconds)
    assert known.reaction_seconds("new") == 0.5
    for name in "ac":
        known.forget_all_but({"b/pool"})
        assert known.reaction_seconds(name) == MOST_GUESS_SECONDS


@pytest.mark.parametrize(("lvm", "guess"), [(None, 0.25), (0.01, 0.25), (1.0, 1.0), (9.0, 2.0)])
def test_before_the_first_extension_a_reading_of_lvm_serves(
    time: Time, lvm: float | None, guess: float
) -> None:
    """Within bounds: one that hangs says nothing of an lvextend."""
    assert judge(time, lvm_seconds=lvm).reaction_seconds("vg") == guess


def test_a_vg_that_is_gone_is_forgotten(time: Time) -> None:
    """Names that come and go do not fill the memory, nor serve for a new VG."""
    known = judge(time)
    known.note_reaction("gone", 9.0)
    known.note_reaction("kept", 0.3)

    known.forget_all_but({"kept/pool"})

    assert known.reaction_seconds("gone") == 0.3
