"""Scrapes a server as Prometheus does, and says how long each scrape took."""

from __future__ import annotations

import http.client
import math
import random
import ssl
import time
from collections.abc import Callable, Iterable
from itertools import chain
from typing import NamedTuple

HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    "Accept-Encoding": "gzip",
}
DEADLINE_SECONDS = 10.0  # Prometheus' own scrape_timeout
OK = 200


class Scrapes(NamedTuple):
    """What came of some scrapes in a row."""

    seconds: tuple[float, ...]
    failures: tuple[str, ...]
    took_seconds: float

    def quantile(self, percent: int) -> float:
        """Find a quantile by its nearest rank; a failed scrape is one that took for ever."""
        times = sorted((*self.seconds, *(float("inf") for _ in self.failures)))
        return times[math.ceil(len(times) * percent / 100) - 1]

    @property
    def per_second(self) -> float:
        """How many were answered in a second."""
        return len(self.seconds) / self.took_seconds


def pooled(scrapes: Iterable[Scrapes]) -> Scrapes:
    """Take those of several rounds together."""
    seconds, failures, took = zip(*scrapes, strict=True)
    return Scrapes(tuple(chain(*seconds)), tuple(chain(*failures)), sum(took))


class Scraper:
    """One client; it keeps its connection or makes one for each scrape."""

    def __init__(
        self, address: str, context: ssl.SSLContext | None, *, keeps_connection: bool
    ) -> None:
        self._connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(address, timeout=DEADLINE_SECONDS, context=context)
            if context
            else http.client.HTTPConnection(address, timeout=DEADLINE_SECONDS)
        )
        self._keeps_connection = keeps_connection

    def get(self) -> None:
        """Scrape once. Raises OSError or HTTPException."""
        if not self._keeps_connection:
            self._connection.close()
        is_kept = self._connection.sock is not None
        try:
            self._ask()
        except (OSError, http.client.HTTPException):
            # Prometheus' client repeats a request on a connection that was kept too long.
            self._connection.close()
            if not is_kept:
                raise
            self._ask()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _ask(self) -> None:
        self._connection.request("GET", "/metrics", headers=HEADERS)
        response = self._connection.getresponse()
        response.read()
        if response.status != OK:
            raise http.client.HTTPException(f"status {response.status}")


def back_to_back(scraper: Scraper, seconds: float) -> Scrapes:
    """Scrape one after the other, for so long."""
    ends_at = time.perf_counter() + seconds
    return _scrapes(scraper, lambda number: not number or time.perf_counter() < ends_at)


def paced(scraper: Scraper, count: int, seconds: float) -> Scrapes:
    """Scrape so often, with a pause of about so many seconds in between.

    Out of step with whatever the server does once a second; short beside a scrape interval,
    after which nothing of a server is in the processor's caches.
    """

    def is_next(number: int) -> bool:
        time.sleep(seconds * random.uniform(0.5, 1.5))  # noqa: S311 - not a secret
        return number < count

    return _scrapes(scraper, is_next)


def _scrapes(scraper: Scraper, is_next: Callable[[int], bool]) -> Scrapes:
    times, failures, number = [], [], 0
    start = time.perf_counter()
    while is_next(number):
        began = time.perf_counter()
        try:
            scraper.get()
        except (OSError, http.client.HTTPException) as error:
            failures.append(str(error) or type(error).__name__)
        else:
            times.append(time.perf_counter() - began)
        number += 1
    scraper.close()
    return Scrapes(tuple(times), tuple(failures), time.perf_counter() - start)
