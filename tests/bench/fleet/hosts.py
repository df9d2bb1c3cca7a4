"""Hosts of a fleet: each a specimen whose figures go on as those of a host of its own would.

What moves: use and size of its pool, which the guard extends by a fifth when it crosses
80 %, what the volume group has left for that, and all that tells the time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from exporter.model import METADATA_BLOCK_BYTES
from exporter.simulation.figures import GIB
from tests.bench.fleet.specimens import (
    CHUNK_BYTES,
    DATA_BYTES,
    EXTENT_BYTES,
    METADATA_BYTES,
    VG_BYTES,
)

HOSTS_IN_A_RACK = 40
THRESHOLD, STEP = 0.8, 0.2
# By far not full within a day, even the fastest.
SLOWEST_BYTES_PER_SECOND, FASTEST_BYTES_PER_SECOND = 50_000.0, 1_000_000.0
GOLDEN = 0.6180339887498949  # whose multiples are spread evenly
METADATA_SHARE = 0.004  # of what data gains
STEADY = {"healthy", "unprotected"}  # with room for what they gain
SERIES = re.compile(r"^(\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)

Figure = Callable[["Host", float], float]


class Host(NamedTuple):
    """One host: its number in the fleet, and the specimen that it is like.

    Times are in seconds since the fleet began, and may be before that.
    """

    number: int
    kind: str

    @property
    def name(self) -> str:
        """The label `instance`."""
        return f"host{self.number:05}:10128"

    @property
    def rack(self) -> str:
        """Its neighbours share it."""
        return f"r{self.number // HOSTS_IN_A_RACK:03}"

    @property
    def _share(self) -> float:
        """Between 0 and 1, evenly spread over the hosts, and of no order."""
        return self.number * GOLDEN % 1

    def noise(self, seconds: float) -> float:
        """Give a share that differs from each time to the next."""
        return (self.number + 1000 * seconds * GOLDEN) * GOLDEN % 1

    @property
    def rate(self) -> float:
        """Bytes that are written in a second."""
        if self.kind not in STEADY:
            return 0.0
        if self.kind == "unprotected":
            return SLOWEST_BYTES_PER_SECOND  # it has nothing but what it is
        ratio = FASTEST_BYTES_PER_SECOND / SLOWEST_BYTES_PER_SECOND
        return SLOWEST_BYTES_PER_SECOND * float(ratio**self._share)

    def used(self, seconds: float) -> float:
        """Count the data in use."""
        start = DATA_BYTES * (0.35 + 0.4 * self._share if self.kind in STEADY else 0.6)
        return _down(start + self.rate * seconds, CHUNK_BYTES)

    def metadata_used(self, seconds: float) -> float:
        """Count the metadata in use."""
        used = METADATA_BYTES / 5 + METADATA_SHARE * self.rate * seconds
        return _down(used, METADATA_BLOCK_BYTES)

    def size(self, seconds: float) -> float:
        """Size of the data, after as many steps as were due by then."""
        size = float(DATA_BYTES)
        while self.kind == "healthy" and self.used(seconds) > THRESHOLD * size:
            size += self._step(size)
        return size

    def _step(self, size: float) -> float:
        return math.ceil(size * STEP / EXTENT_BYTES) * EXTENT_BYTES

    def extended(self, seconds: float) -> float:
        """How many bytes the guard has given to the data."""
        return self.size(seconds) - DATA_BYTES

    def free(self, seconds: float) -> float:
        """Count what its volume group has left."""
        return VG_BYTES - self.size(seconds) - 2 * METADATA_BYTES

    def step(self, seconds: float) -> float:
        """Count what the next step asks for."""
        return min(self._step(self.size(seconds)), self.free(seconds))


# By the beginning of the series as the specimen has it.
OF_A_POOL: Mapping[str, Figure] = {
    "thinpool_data_used_bytes": Host.used,
    "thinpool_metadata_used_bytes": Host.metadata_used,
    "thinpool_docker_data_used_bytes": lambda host, now: round(host.used(now) / GIB, 2) * GIB,
}
OF_A_GROWING_POOL: Mapping[str, Figure] = {
    "thinpool_data_size_bytes": Host.size,
    "thinpool_vg_free_bytes": Host.free,
    "thinpool_vg_allocatable_bytes": Host.free,
    'thinpool_next_extend_bytes{device="data"': Host.step,
    'thinpool_next_extend_possible_bytes{device="data"': Host.step,
    'thinpool_guard_extended_bytes_total{device="data"': Host.extended,
    'thinpool_fill_bytes_per_second{device="data"': lambda host, _: host.rate,
    'thinpool_seconds_until_full{device="data"': (
        lambda host, now: (host.size(now) - host.used(now)) / host.rate
    ),
}
CLOCKS = (
    "thinpool_guard_last_cycle_timestamp_seconds",
    "thinpool_exporter_snapshot_timestamp_seconds",
    "thinpool_collector_last_success_timestamp_seconds",
)


class Template:
    """A specimen taken apart, to be put together for each host and time."""

    def __init__(self, kind: str, text: str, began_at: float) -> None:
        figures = {**OF_A_POOL, **(OF_A_GROWING_POOL if kind in STEADY else {})}
        self._began_at = began_at
        self._texts: list[str] = []
        self._figures: list[Figure] = []
        end = 0
        for match in SERIES.finditer(text):
            figure = self._figure(match, figures)
            if figure is not None:
                self._texts.append(text[end : match.start(2)])
                self._figures.append(figure)
                end = match.end(2)
        self._rest = text[end:]
        missing = set(figures) - {name for name in figures if name in text}
        assert not missing, f"{kind} has no {', '.join(missing)}"

    def _figure(self, match: re.Match[str], figures: Mapping[str, Figure]) -> Figure | None:
        if match[1] in CLOCKS:  # of a cycle that was not long ago
            return lambda host, now: self._began_at + now - host.noise(now)
        if match[1] == "thinpool_collector_duration_seconds":
            return lambda host, now: 0.001 * (1 + host.noise(now))
        if match[1] == "process_cpu_seconds_total":
            return lambda _, seconds: 1 + 0.005 * max(0.0, seconds)
        line = match[0]
        return next(
            (
                figure
                for name, figure in figures.items()
                if line.startswith((name + " ", name + "{", name + ","))
            ),
            None,
        )

    def body(self, host: Host, now: float) -> str:
        """Write what a scrape at this time gets, in seconds since the epoch."""
        seconds = now - self._began_at
        parts: list[str] = []
        for text, figure in zip(self._texts, self._figures, strict=True):
            parts += (text, repr(float(figure(host, seconds))))
        return "".join((*parts, self._rest))


def _down(count: float, unit: int) -> float:
    """Round to whole units, which the kernel counts in."""
    return float(count // unit * unit)


def fleet(count: int, sick: Mapping[str, int], *, lost_racks: int = 0) -> tuple[Host, ...]:
    """Make a fleet: so many of each kind that is not healthy, then racks that do not answer.

    Of the kind `down` nothing is heard.
    """
    kinds = [kind for kind, number in sick.items() for _ in range(number)]
    hosts = [Host(number, kind) for number, kind in enumerate(kinds)]
    hosts += [Host(number, "healthy") for number in range(len(kinds), count)]
    lost = {host.rack for host in hosts[::-HOSTS_IN_A_RACK][:lost_racks]}
    return tuple(host._replace(kind="down") if host.rack in lost else host for host in hosts)
