"""Hosts that take turns with the event loop."""

from __future__ import annotations

import itertools
import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from exporter.web.turns import Turns

Pair = tuple[socket.socket, socket.socket]  # the server's end, the client's end


@pytest.fixture
def turns() -> Iterator[Turns]:
    """Make the turns of a loop that needs a second for whatever it is given."""
    with Turns(clock=itertools.count().__next__) as made:
        yield made


@pytest.fixture
def ends() -> Iterator[list[Pair]]:
    """Make six connections whose clients have all said something."""
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(6)]
        for pair in pairs:
            for end in pair:
                stack.enter_context(closing(end))
            pair[1].send(b"GET")
        yield pairs


def heard(turns: Turns) -> set[socket.socket | int]:
    """Whom the loop would serve in this round."""
    found = {key.fileobj for key, _ in turns.select(0)}
    assert all(isinstance(end, socket.socket) for end in found)
    return found  # type: ignore[return-value]


def add(turns: Turns, pairs: list[Pair], host: str) -> list[socket.socket]:
    """Have the loop listen to clients of one host."""
    for end, _ in pairs:
        turns.register(end, selectors.EVENT_READ)
        turns.belongs(end, host)
    return [end for end, _ in pairs]


def test_a_round_has_one_of_each_host(turns: Turns, ends: list[Pair]) -> None:
    """Of a crowd one after the other, beside the scraper each time."""
    crowd, scraper = add(turns, ends[:5], "crowd"), add(turns, ends[5:], "scraper")

    rounds = [heard(turns) for _ in range(5)]

    assert all(len(found) == 2 for found in rounds)
    assert all(scraper[0] in found for found in rounds)
    assert set().union(*rounds) == {*crowd, *scraper}


def test_nobody_is_passed_over(turns: Turns, ends: list[Pair]) -> None:
    """Who has been served waits until the others of its host have been."""
    crowd = add(turns, ends, "crowd")

    order = [heard(turns).pop() for _ in range(12)]

    assert set(order[:6]) == set(crowd)
    assert order[6:] == order[:6]


def test_who_is_of_no_host_waits_for_nobody(turns: Turns, ends: list[Pair]) -> None:
    """A socket that listens, or what wakes the loop."""
    add(turns, ends[:4], "crowd")
    for end, _ in ends[4:]:
        turns.register(end, selectors.EVENT_READ)

    for _ in range(3):
        assert {end for end, _ in ends[4:]} < heard(turns)


def test_one_that_speaks_alone_is_served_at_once(turns: Turns, ends: list[Pair]) -> None:
    """Also if it has been served just before."""
    crowd = add(turns, ends, "crowd")
    for end in crowd[1:]:
        end.recv(3)

    assert [heard(turns) for _ in range(2)] == [{crowd[0]}, {crowd[0]}]


def test_what_costs_little_is_served_together(ends: list[Pair]) -> None:
    """In a round of some milliseconds, as soon as it is known to."""
    with Turns(clock=lambda: 0.0) as turns:
        crowd = add(turns, ends, "crowd")

        assert len(heard(turns)) == 1
        rounds = [heard(turns) for _ in range(20)]
        assert rounds[-1] == set(crowd)
