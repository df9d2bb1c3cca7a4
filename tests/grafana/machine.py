"""A simulated host that lives through a day in seconds, and is scraped once a minute.

Enters: a host of exporter/simulation, and the settings of its guard. Leaves: for each
minute what the program's /metrics would have said, with that minute's time on every line.
Guard, collection and metrics are the program's own; only their clock is moved by hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from msgspec import structs
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from exporter.bulkhead import Bulkheads
from exporter.collection import Collection, Programs
from exporter.collectors import SnapshotCollector
from exporter.extend import Extender
from exporter.guard import Clocks, Guard, Rules
from exporter.model import ConfigurationState, Snapshot
from exporter.simulation import SimulatedHost
from tests.fakes import FakeLog

JOB = "thinpool"
SCRAPE_SECONDS = 60
WORKER_SECONDS = 20.0
LONGEST_SECONDS = 0.9  # what may pass, by the real clock, between two moves of ours
EXPORTER_DEADLINE_SECONDS = 30.0


class DayClock:
    """Seconds since the epoch: moved by hand, and going on by itself for a moment after.

    So that what the program times, an lvextend or a reading, took as long as it did.
    """

    def __init__(self, now: float) -> None:
        self._now = now
        self._moved_at = time.perf_counter()

    def move(self, now: float) -> None:
        """Go on to a time."""
        self._now, self._moved_at = now, time.perf_counter()

    def __call__(self) -> float:
        """Tell the time."""
        return self._now + min(LONGEST_SECONDS, time.perf_counter() - self._moved_at)


@dataclass(frozen=True, kw_only=True)
class Event:
    """What happens to a machine at an hour of the day."""

    hour: float
    act: Callable[[Machine], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A machine of the day: its host, what its guard goes by, and what happens to it.

    `looks` is how often in a minute the guard looks; `reads` how many minutes pass between
    two readings of LVM and Docker.
    """

    name: str
    make: Callable[[Callable[[], float]], SimulatedHost]
    rules: Rules = Rules()  # noqa: RUF009 - frozen
    events: tuple[Event, ...] = ()
    version: str = "0.9.0"
    looks: int = 2
    reads: int = 3

    @property
    def instance(self) -> str:
        """The label that Prometheus gives it."""
        return f"{self.name}:10128"


class Machine:
    """One host, its guard, and the program that says how they are."""

    def __init__(self, plan: Plan, began_at: float) -> None:
        self.plan = plan
        self._began_at = began_at
        self._clock = DayClock(began_at)
        self.host = plan.make(self._clock)
        self._collection = Collection(
            self.host.access(),
            Programs(
                lvm="/sbin/lvm",
                docker="/usr/bin/docker",
                lvm_deadline_seconds=EXPORTER_DEADLINE_SECONDS,
                docker_deadline_seconds=EXPORTER_DEADLINE_SECONDS,
            ),
            wall_clock=self._clock,
            clock=self._clock,
        )
        self.guard = Guard(
            self._collection,
            Extender(self.host, "/sbin/lvm", deadline_seconds=60, clock=self._clock),
            kernel=self.host,
            rules=plan.rules,
            clocks=Clocks(monotonic=self._clock, wall=self._clock),
            log=FakeLog(),
        )
        self.configuration = ConfigurationState(loaded_at=began_at)
        self.is_answering = True
        self.is_guarding = True
        self._events = sorted(plan.events, key=lambda event: event.hour)
        self._snapshot: Snapshot | None = None
        self._registry = CollectorRegistry()
        self._registry.register(
            SnapshotCollector(
                lambda: self._snapshot,
                version=plan.version,
                python_version="3.11.2",
                clock=self._clock,
                bulkheads=Bulkheads(FakeLog(), self._clock),
            )
        )
        ProcessCollector(registry=self._registry)

    def minutes(self, count: int) -> Iterator[bytes]:
        """Live through so many minutes; what a scrape at the end of each gets."""
        self._collection.refresh_all()
        for number in range(1, count + 1):
            self._live(number)
            yield self._scrape(self._began_at + number * SCRAPE_SECONDS)

    def _live(self, minute: int) -> None:
        at = self._began_at + minute * SCRAPE_SECONDS
        while self._events and self._events[0].hour * 60 <= minute:
            self._events.pop(0).act(self)
        for look in range(self.plan.looks, 0, -1):
            self._clock.move(at - (look - 1) * SCRAPE_SECONDS / self.plan.looks - 1)
            if self.is_guarding:
                self.guard.cycle(has_event=True)
                assert self.guard.join_workers(WORKER_SECONDS)
        if not self.is_guarding:
            return
        if minute % self.plan.reads == 0:
            self._collection.refresh_all()
        snapshot = self._collection.snapshot(self.guard.live_pools())
        self._snapshot = structs.replace(
            self.guard.report(snapshot), configuration=self.configuration
        )

    def _scrape(self, at: float) -> bytes:
        """Answer, with the time on every line; `up` as Prometheus itself would have had it."""
        stamp = f" {int(at * 1000)}\n".encode()
        lines = [b"up 0"]
        if self.is_answering:
            lines = [b"up 1", *generate_latest(self._registry).splitlines()]
        series = (self._labelled(line) for line in lines if not line.startswith(b"#"))
        return stamp.join((*series, b""))

    def _labelled(self, line: bytes) -> bytes:
        """Put job and instance on a line, as federation does."""
        labels = f'job="{JOB}",instance="{self.plan.instance}"'.encode()
        name, _, value = line.partition(b" ")
        if b"{" not in name:
            return name + b"{" + labels + b"} " + value
        return line.replace(b"{", b"{" + labels + b",", 1)
