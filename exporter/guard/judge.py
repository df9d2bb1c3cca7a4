"""Holds each pool against policy, latches and mode, and remembers the verdicts."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping

from msgspec import structs

from exporter.guard.latch import circumstances
from exporter.guard.ledger import NO_DURATIONS, PoolRecord
from exporter.guard.rules import Clocks, Rules
from exporter.model import (
    Decision,
    Device,
    Filling,
    GuardReport,
    Histogram,
    PoolGuard,
    Snapshot,
    ThinPool,
)
from exporter.policy import authorise, decide, is_left_to_dmeventd, next_steps
from exporter.sources.device_mapper import NO_SPACE_TIMEOUT_SECONDS

REMEMBERED_DURATIONS = 10


class Judge:
    """Decides for one pool at a time, by the rules and what it remembers of the pool."""

    def __init__(
        self,
        rules: Rules,
        clocks: Clocks,
        *,
        no_space_timeout: Callable[[], float] = lambda: NO_SPACE_TIMEOUT_SECONDS,
    ) -> None:
        self.rules = rules
        self.clocks = clocks
        self._no_space_timeout = no_space_timeout
        self.records: dict[str, PoolRecord] = {}
        self._durations: deque[float] = deque((0.0,), REMEMBERED_DURATIONS)

    def record(self, pool: ThinPool) -> PoolRecord:
        """Find or begin a pool's record."""
        return self.records.setdefault(pool.label, PoolRecord())

    def note_duration(self, seconds: float) -> None:
        """Remember how long an extension took: the next one is to begin that much earlier."""
        self._durations.append(seconds)

    def judge(
        self, pool: ThinPool, snapshot: Snapshot, filling: Mapping[Device, Filling]
    ) -> Decision:
        """Decide what is to be done with a pool, and whether the guard may do it."""
        now = self.clocks.monotonic()
        record = self.record(pool)
        group = snapshot.volume_group(pool.vg_name)
        decision = decide(
            pool,
            group,
            self.rules.limits_of(pool),
            lvm_version=snapshot.lvm_version,
            outlook=self.rules.outlook_of(pool, filling, max(self._durations)),
        )
        record.watch(pool, decision, now=now)
        if decision.extensions and record.latch:
            decision = record.hold_back(decision, circumstances(pool, group), now=now)
        return authorise(
            decision,
            pool,
            self.rules.mode_of(pool),
            is_takeover_due=self._is_takeover_due(record, now),
        )

    def _is_takeover_due(self, record: PoolRecord, now: float) -> bool:
        since = record.above_since
        is_late = since is not None and now >= since + self.rules.takeover_after_seconds
        return record.is_taken_over or is_late

    def foresee(self, snapshot: Snapshot) -> Snapshot:
        """Add to a Snapshot what a guard by these rules would say of it."""
        for pool in snapshot.pools:
            decision, record = self.judge(pool, snapshot, {}), self.record(pool)
            record.reason, record.detail = decision.reason, decision.detail
        return self.report(snapshot, durations=NO_DURATIONS, last_cycle_at=None)

    def is_takeover(self, pool: ThinPool) -> bool:
        """Whether acting on this pool means to do dmeventd's work."""
        return is_left_to_dmeventd(pool, self.rules.mode_of(pool))

    def forget_all_but(self, labels: set[str]) -> set[str]:
        """Forget the pools that are gone; returns their labels."""
        gone = self.records.keys() - labels
        for label in gone:
            del self.records[label]
        return gone

    def queue_seconds_left(self, record: PoolRecord) -> float | None:
        """Time until the kernel fails the writes that wait for a full pool."""
        return record.queue_seconds_left(self._no_space_timeout(), now=self.clocks.monotonic())

    def report(
        self, snapshot: Snapshot, *, durations: Histogram, last_cycle_at: float | None
    ) -> Snapshot:
        """Add the guard's own account to a Snapshot."""
        pools = {
            pool.label: self._report(pool, snapshot)
            for pool in snapshot.pools
            if pool.label in self.records  # else first seen after the last cycle
        }
        guard = GuardReport(
            last_cycle_at=last_cycle_at,
            extend_durations=durations,
            pools=pools,
            note=self.rules.note(os.getpid()),
        )
        return structs.replace(snapshot, guard=guard)

    def _report(self, pool: ThinPool, snapshot: Snapshot) -> PoolGuard:
        mode = self.rules.mode_of(pool)
        group = snapshot.volume_group(pool.vg_name)
        record = self.record(pool)
        report = record.report(
            mode,
            next_steps(
                pool,
                group,
                self.rules.limits_of(pool),
                lvm_version=snapshot.lvm_version,
            ),
            is_left_to_dmeventd=is_left_to_dmeventd(pool, mode),
        )
        return structs.replace(report, queue_seconds_left=self.queue_seconds_left(record))
