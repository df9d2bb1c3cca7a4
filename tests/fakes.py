"""A guard on a simulated host with a clock that tests move by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from exporter.bulkhead import Bulkheads
from exporter.collection import Collection, Programs
from exporter.extend import Extender
from exporter.guard import Clocks, Guard, Rules
from exporter.model import PoolGuard, Snapshot
from exporter.simulation import ManualClock, PoolSpec, SimulatedHost

WORKER_SECONDS = 20.0
PROGRAMS = Programs(
    lvm="/sbin/lvm",
    docker="/usr/bin/docker",
    lvm_deadline_seconds=30,
    docker_deadline_seconds=10,
)
# What LVM does and no more: on a clock that stands still every change is a burst.
LVM_RULES = Rules(anticipate=False)
MIB = 1024 * 1024


@dataclass
class FakeLog:
    """Keeps what is logged, in order."""

    lines: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def info(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self.lines.append((event, fields))

    warning = error = exception = info

    def events(self, *names: str) -> list[dict[str, object]]:
        """Find the fields of these events."""
        return [fields for event, fields in self.lines if event in names]


class GuardedHost:
    """A simulated host, its collection, and a guard on it."""

    def __init__(
        self,
        rules: Rules | None = None,
        *,
        kind: type[SimulatedHost] = SimulatedHost,
        clock: ManualClock | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self.host = kind(self.clock)
        self.log = FakeLog()
        self.collection = Collection(
            self.host.access(),
            PROGRAMS,
            wall_clock=self.clock,
            clock=self.clock,
            bulkheads=Bulkheads(self.log, self.clock),
        )
        self._rules = rules or LVM_RULES
        self.restart_guard()

    def restart_guard(self) -> None:
        """Begin anew with a guard that knows nothing."""
        self.extender = Extender(self.host, "/sbin/lvm", deadline_seconds=60, clock=self.clock)
        self.guard = Guard(
            self.collection,
            self.extender,
            kernel=self.host,
            rules=self._rules,
            clocks=Clocks(monotonic=self.clock, wall=self.clock),
            log=self.log,
        )

    def cycle(self, times: int = 1) -> None:
        """Let the guard look, and finish what it sets going."""
        for _ in range(times):
            self.guard.cycle(has_event=True)
            assert self.guard.join_workers(WORKER_SECONDS)

    def cycle_for(self, seconds: float, *, every: float = 1.0) -> None:
        """Let time pass, and the guard look as often as it would."""
        ends_at = self.clock.now + seconds
        while self.clock.now < ends_at - 1e-9:
            self.clock.now += every
            self.cycle()

    def snapshot(self) -> Snapshot:
        """Make the Snapshot with the guard's account."""
        return self.guard.report(self.collection.snapshot(self.guard.live_pools()))

    def verdict(self, label: str = "docker/thinpool") -> PoolGuard:
        """Find what the guard says of one pool."""
        guard = self.snapshot().guard
        assert guard is not None
        return guard.pools[label]


def docker_host(
    *,
    vg_extents: int = 1000,
    data_mib: int = 500,
    rules: Rules | None = None,
    kind: type[SimulatedHost] = SimulatedHost,
    clock: ManualClock | None = None,
) -> GuardedHost:
    """Make a host with docker/thinpool (80/20, 64 KiB chunks, 4 MiB extents), read once."""
    guarded = GuardedHost(rules, kind=kind, clock=clock)
    guarded.host.add_vg("docker", extents=vg_extents)
    guarded.host.set_profile("docker-thinpool", threshold=80, percent=20)
    guarded.host.add_pool(
        "docker/thinpool",
        PoolSpec(
            data_bytes=data_mib * MIB,
            metadata_bytes=8 * MIB,
            chunk_bytes=65536,
            profile="docker-thinpool",
        ),
    )
    guarded.collection.refresh_all()
    return guarded
