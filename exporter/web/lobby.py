"""Where clients wait: until they have said something, and then for their turn to be served.

A silent client costs next to nothing here: a socket and an entry in the loop's selector.
Streams, TLS and HTTP, which take tens of thousands of bytes, are for those who talk.

Of those who talk one is let in each round of the loop, and the last that spoke goes first. A
handshake takes a millisecond or more: when a crowd comes back at once, whoever comes after it
would wait for all of them, and a scrape among them for half of them on average.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable


class Lobby:
    """Holds up to `limit` clients, each for `seconds`; `enter` takes one that talks.

    Above the limit the one that has been there longest goes. For an event loop's thread.
    """

    def __init__(
        self, enter: Callable[[socket.socket], None], *, limit: int, seconds: float
    ) -> None:
        self._enter = enter
        self._limit = limit
        self._seconds = seconds
        self._waiting: dict[socket.socket, asyncio.TimerHandle] = {}  # the longest first
        self._talking: dict[socket.socket, None] = {}  # of those, the last that spoke last
        self._is_letting_in = False

    def take(self, client: socket.socket) -> None:
        """Have a client wait until it is heard of.

        Also one that may have spoken already: a round of the loop later it may have left.
        """
        loop = asyncio.get_running_loop()
        while len(self._waiting) >= self._limit:
            self._expel(next(iter(self._waiting)))
        loop.add_reader(client, self._hear, client)
        self._waiting[client] = loop.call_later(self._seconds, self._expel, client)

    def close(self) -> None:
        """Hang up on everybody."""
        for client in tuple(self._waiting):
            self._expel(client)

    def _hear(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(client)
        self._talking[client] = None
        if not self._is_letting_in:
            self._is_letting_in = True
            loop.call_soon(self._let_in)

    def _let_in(self) -> None:
        """Serve the last that spoke; those who have left meanwhile cost no round."""
        while self._talking:
            client = next(reversed(self._talking))
            self._forget(client)
            if _is_talking(client):
                self._enter(client)
                break
            client.close()
        self._is_letting_in = bool(self._talking)
        if self._is_letting_in:
            asyncio.get_running_loop().call_soon(self._let_in)

    def _expel(self, client: socket.socket) -> None:
        self._forget(client)
        client.close()

    def _forget(self, client: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(client)
        self._talking.pop(client, None)
        self._waiting.pop(client).cancel()


def _is_talking(client: socket.socket) -> bool:
    """Whether it has said something, and has not left after that."""
    try:
        has_spoken = bool(client.recv(1, socket.MSG_PEEK))
    except OSError:
        return False
    return has_spoken and client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
