"""Clients before they are served: who waits, who is let in when, and who goes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from exporter.web.lobby import Lobby
from tests.waiting import PATIENCE_SECONDS

Pair = tuple[socket.socket, socket.socket]  # the server's end, the client's end


@pytest.fixture
def connect() -> Iterator[Callable[[], Pair]]:
    """Make connections; closes their ends afterwards."""
    with ExitStack() as stack:

        def make() -> Pair:
            ends = socket.socketpair()
            for end in ends:
                end.setblocking(False)
                stack.enter_context(closing(end))
            return ends

        yield make


def run(lobby: Lobby, clients: list[Pair], is_over: Callable[[], bool]) -> None:
    """Let clients wait and speak, in this order, and the loop go on until it is over."""

    async def go() -> None:
        for server_end, client_end in clients:
            lobby.take(server_end)
            client_end.send(b"GET")
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while not is_over():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0)
        lobby.close()

    asyncio.run(go())


def test_the_last_that_spoke_goes_first(connect: Callable[[], Pair]) -> None:
    """One each round, so that a newcomer need not wait for the crowd before it."""
    entered: list[socket.socket] = []
    clients = [connect() for _ in range(4)]
    newcomer = clients.pop()

    def enter(client: socket.socket) -> None:
        if not entered:  # speaks as the first of a crowd is let in
            newcomer[1].send(b"GET")
            lobby.take(newcomer[0])
        entered.append(client)

    lobby = Lobby(enter, limit=10, seconds=PATIENCE_SECONDS)
    run(lobby, clients, lambda: len(entered) == 4)
    ends = [server_end for server_end, _ in (*clients, newcomer)]
    assert [ends.index(end) for end in entered] == [2, 1, 3, 0]


def test_who_has_left_is_not_served(connect: Callable[[], Pair]) -> None:
    """Its end is closed, and the others get in."""
    entered: list[socket.socket] = []
    lobby = Lobby(entered.append, limit=10, seconds=PATIENCE_SECONDS)
    stays, leaves = connect(), connect()
    leaves[1].close()
    run(lobby, [(leaves[0], connect()[1]), stays], lambda: bool(entered))
    assert entered == [stays[0]]
    assert leaves[0].fileno() == -1


def test_the_one_that_has_waited_longest_makes_room(connect: Callable[[], Pair]) -> None:
    """Above the limit, and though it may just have spoken."""
    entered: list[socket.socket] = []
    lobby = Lobby(entered.append, limit=2, seconds=PATIENCE_SECONDS)
    clients = [connect() for _ in range(3)]
    run(lobby, clients, lambda: len(entered) == 2)
    assert entered == [clients[2][0], clients[1][0]]
    assert clients[0][0].fileno() == -1


def test_silence_ends(connect: Callable[[], Pair]) -> None:
    """After the lobby's time."""
    entered: list[socket.socket] = []
    lobby = Lobby(entered.append, limit=2, seconds=0.01)
    server_end, client_end = connect()

    run(lobby, [(server_end, connect()[1])], lambda: server_end.fileno() == -1)
    assert client_end.recv(1) == b""
    assert not entered
