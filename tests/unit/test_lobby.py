"""Clients before they are served: who waits, who is let in when, and who goes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from exporter.web.lobby import Lobby, origin_of
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
    """Let clients of one host wait and speak, in this order, and go on until it is over."""

    async def go() -> None:
        for server_end, client_end in clients:
            lobby.take(server_end, "a crowd's")
            client_end.send(b"GET")
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while not is_over():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0)
        lobby.close()

    asyncio.run(go())


def test_hosts_take_turns(connect: Callable[[], Pair]) -> None:
    """One client a round, so that a newcomer need not wait for the crowd before it."""
    entered: list[socket.socket] = []
    crowd = [connect() for _ in range(5)]
    scrapers = [connect(), connect()]

    def enter(client: socket.socket, _host: str) -> None:
        if not entered:  # they come as the first of the crowd is let in
            for server_end, client_end in scrapers:
                client_end.send(b"GET")
                lobby.take(server_end, "a scraper's")
        entered.append(client)

    lobby = Lobby(enter, limit=10, seconds=PATIENCE_SECONDS)
    run(lobby, crowd, lambda: len(entered) == 7)
    ends = [server_end for server_end, _ in (*crowd, *scrapers)]
    # The scrapers are heard of after the round in which they came, and the one that follows.
    assert [ends.index(end) for end in entered] == [0, 1, 2, 5, 3, 6, 4]


@pytest.mark.parametrize(
    ("address", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:db8::2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),  # a socket of systemd's may be of another family
    ],
)
def test_knows_a_host_by_its_address(address: str, other: str, *, is_same: bool) -> None:
    """Of IPv6 a host has a whole network's, of IPv4 one."""
    assert (origin_of(address) == origin_of(other)) == is_same


def test_who_has_left_is_not_served(connect: Callable[[], Pair]) -> None:
    """Its end is closed, and the others get in."""
    entered: list[socket.socket] = []
    lobby = Lobby(lambda client, _: entered.append(client), limit=10, seconds=PATIENCE_SECONDS)
    stays, leaves = connect(), connect()
    leaves[1].close()
    run(lobby, [(leaves[0], connect()[1]), stays], lambda: bool(entered))
    assert entered == [stays[0]]
    assert leaves[0].fileno() == -1


def test_one_that_cannot_be_served_keeps_nobody_out(connect: Callable[[], Pair]) -> None:
    """Its connection is closed; the others come in as if nothing had happened."""
    entered: list[socket.socket] = []
    first, second, third = (connect() for _ in range(3))

    def enter(client: socket.socket, _host: str) -> None:
        if client is first[0]:
            raise ValueError("odd")
        entered.append(client)

    lobby = Lobby(enter, limit=10, seconds=PATIENCE_SECONDS)
    run(lobby, [first, second, third], lambda: len(entered) == 2)
    assert entered == [second[0], third[0]]
    assert first[0].fileno() == -1


def test_the_one_that_has_waited_longest_makes_room(connect: Callable[[], Pair]) -> None:
    """Above the limit, and though it may just have spoken."""
    entered: list[socket.socket] = []
    lobby = Lobby(lambda client, _: entered.append(client), limit=2, seconds=PATIENCE_SECONDS)
    clients = [connect() for _ in range(3)]
    run(lobby, clients, lambda: len(entered) == 2)
    assert entered == [clients[1][0], clients[2][0]]
    assert clients[0][0].fileno() == -1


def test_silence_ends(connect: Callable[[], Pair]) -> None:
    """After the lobby's time."""
    entered: list[socket.socket] = []
    lobby = Lobby(lambda client, _: entered.append(client), limit=2, seconds=0.01)
    server_end, client_end = connect()
    run(lobby, [(server_end, connect()[1])], lambda: server_end.fileno() == -1)
    assert client_end.recv(1) == b""
    assert not entered


def test_a_crowd_is_noticed_until_it_has_been_let_in(connect: Callable[[], Pair]) -> None:
    """Half of the limit waits for its turn: newcomers are left to the kernel."""
    crowded: list[bool] = []
    lobby = Lobby(
        lambda *_: crowded.append(lobby.is_crowded), limit=6, seconds=PATIENCE_SECONDS
    )
    run(lobby, [connect() for _ in range(5)], lambda: len(crowded) == 5)
    assert crowded == [True, True, False, False, False]  # with 4, 3, 2, 1 and none behind it
