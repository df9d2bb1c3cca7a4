"""Where clients wait: until they have said something, and then for their turn to be served.

A silent client costs next to nothing here: a socket and an entry in the loop's selector.
Streams, TLS and HTTP, which take tens of thousands of bytes, are for those who talk.

Of those who talk one is let in each round of the event loop, and the hosts that they come from
take turns (as they go on to do, turns.py). A handshake takes a millisecond or more, and a
crowd that comes back at once a third of a second: a scraper waits for one of each other host,
not for all of them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from contextlib import ExitStack

IPV6_HOST_BITS = 64  # a host may take any address of its network's (RFC 4291, 2.5.1)


class Lobby:
    """Holds up to `limit` clients, each for `seconds`; `enter` takes one and its host.

    Above the limit the one that has been there longest goes. For an event loop's thread.
    """

    def __init__(
        self, enter: Callable[[socket.socket, str], None], *, limit: int, seconds: float
    ) -> None:
        self._enter = enter
        self._limit = limit
        self._seconds = seconds
        # The longest first, in each of these.
        self._waiting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._origins: dict[socket.socket, str] = {}
        # Whose turn is next comes first; who has nobody waiting is not in it.
        self._talking: dict[str, dict[socket.socket, None]] = {}
        self._talkers = 0
        self._is_letting_in = False

    @property
    def is_crowded(self) -> bool:
        """Whether so many wait for their turn that newcomers should be left to the kernel.

        Its queue makes those wait who send and do not ask for answers; here they would
        expel each other, and any scraper that comes from where they do.
        """
        return 2 * self._talkers >= self._limit

    def take(self, client: socket.socket, origin: str) -> None:
        """Have a client of a host, as `origin_of` names it, wait until it is heard of.

        Also one that may have spoken already: a round of the loop later it may have left.
        """
        loop = asyncio.get_running_loop()
        while len(self._waiting) >= self._limit:
            self._expel(next(iter(self._waiting)))
        loop.add_reader(client, self._hear, client)
        self._waiting[client] = loop.call_later(self._seconds, self._expel, client)
        self._origins[client] = origin

    def close(self) -> None:
        """Hang up on everybody."""
        for client in tuple(self._waiting):
            self._expel(client)

    def _hear(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(client)
        self._talking.setdefault(self._origins[client], {})[client] = None
        self._talkers += 1
        if not self._is_letting_in:
            self._is_letting_in = True
            loop.call_soon(self._let_in)

    def _let_in(self) -> None:
        """Serve who is next; whatever that raises, the next round serves another one."""
        try:
            self._let_one_in()
        finally:
            self._is_letting_in = bool(self._talking)
            if self._is_letting_in:
                asyncio.get_running_loop().call_soon(self._let_in)

    def _let_one_in(self) -> None:
        """Serve who is next; those who have left meanwhile cost no round."""
        while self._talking:
            origin, clients = next(iter(self._talking.items()))
            client = next(iter(clients))
            self._forget(client)
            if clients:  # the others' turn first
                self._talking[origin] = self._talking.pop(origin)
            with ExitStack() as hanging_up:
                hanging_up.callback(client.close)
                if _is_talking(client):
                    self._enter(client, origin)
                    hanging_up.pop_all()
                    return

    def _expel(self, client: socket.socket) -> None:
        self._forget(client)
        client.close()

    def _forget(self, client: socket.socket) -> None:
        origin = self._origins.pop(client)
        if client in (talking := self._talking.get(origin, {})):
            del talking[client]
            self._talkers -= 1
            if not talking:
                del self._talking[origin]
        self._waiting.pop(client).cancel()
        asyncio.get_running_loop().remove_reader(client)


def origin_of(address: str) -> str:
    """Name the host behind an address, as accept(2) gives it: of IPv6 its network.

    What is no address is a host of that name.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return f"{int(found) >> IPV6_HOST_BITS:x}::"


def _is_talking(client: socket.socket) -> bool:
    """Whether it has said something, and has not left after that."""
    try:
        has_spoken = bool(client.recv(1, socket.MSG_PEEK))
    except OSError:
        return False
    return has_spoken and client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
