"""Has the hosts that are served take turns with the event loop.

A loop serves in each of its rounds whoever has something for it. A crowd that comes at once
makes such a round last for a tenth of a second, and a scrape needs half a dozen of them:
handshake, request, answer. So a round has of each host what takes some milliseconds, and its
others wait.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

Event = tuple[selectors.SelectorKey, int]

# Of this a host may have its share in each round: a step of a handshake, or a few requests. A
# scrape from another host takes some eight rounds.
ROUND_SECONDS = 0.002
# How much of the mean is the last round's.
WEIGHT = 0.25


class Turns(selectors.EpollSelector):
    """Gives in each round, of the clients of one host, those served longest ago.

    How many that are goes by what an event has cost lately, and is at least one. Sockets
    that nobody has said the host of are each by themselves.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        # By descriptor: those of clients that have left are used again by others.
        self._hosts: dict[int, str] = {}
        self._served: dict[int, int] = {}
        self._round = 0
        self._given, self._given_at = 0, clock()
        self._event_seconds = ROUND_SECONDS

    def belongs(self, client: socket.socket, host: str) -> None:
        """Note which host a client comes from."""
        self._hosts[client.fileno()] = host

    def select(self, timeout: float | None = None) -> list[Event]:
        """See BaseSelector; what is left out is still ready at the next call."""
        self._note_round()
        ready = super().select(timeout)
        if len(ready) > 1:
            ready = list(self._in_turn(ready))
            self._round += 1
            self._served.update((key.fd, self._round) for key, _ in ready)
        self._given, self._given_at = len(ready), self._clock()
        return ready

    def _note_round(self) -> None:
        """Learn from the round that has just ended what an event costs."""
        if self._given:
            spent = (self._clock() - self._given_at) / self._given
            self._event_seconds += WEIGHT * (spent - self._event_seconds)

    def _in_turn(self, ready: list[Event]) -> Iterator[Event]:
        by_host: defaultdict[str | int, list[Event]] = defaultdict(list)
        for event in ready:
            by_host[self._hosts.get(event[0].fd, event[0].fd)].append(event)
        share = max(1, int(ROUND_SECONDS / max(self._event_seconds, 1e-6) / len(by_host)))
        for events in by_host.values():
            yield from (
                events if len(events) <= share else heapq.nsmallest(share, events, self._last)
            )

    def _last(self, event: Event) -> int:
        return self._served.get(event[0].fd, 0)
