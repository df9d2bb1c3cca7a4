"""Holds each pool against policy, latches and mode, and remembers the verdicts."""

from __future__ import annotations

from msgspec import structs

from exporter.guard.ledger import NO_DURATIONS, PoolRecord, circumstances
from exporter.guard.rules import Clocks, Rules
from exporter.model import Decision, GuardReport, Histogram, PoolGuard, Snapshot, ThinPool
from exporter.policy import authorise, decide, is_left_to_dmeventd, next_steps


class Judge:
    """Decides for one pool at a time, by the rules and what it remembers of the pool."""

    def __init__(self, rules: Rules, clocks: Clocks) -> None:
        self.rules = rules
        self.clocks = clocks
        self.records: dict[str, PoolRecord] = {}

    def record(self, pool: ThinPool) -> PoolRecord:
        """Find or begin a pool's record."""
        return self.records.setdefault(pool.label, PoolRecord())

    def judge(self, pool: ThinPool, snapshot: Snapshot) -> Decision:
        """Decide what is to be done with a pool, and whether the guard may do it."""
        now = self.clocks.monotonic()
        record = self.record(pool)
        group = snapshot.volume_group(pool.vg_name)
        limits = self.rules.limits_of(pool)
        decision = decide(pool, group, limits, lvm_version=snapshot.lvm_version)
        record.watch_threshold(decision, now=now)
        decision = record.hold_back(decision, circumstances(pool, group), now=now)
        since = record.above_since
        is_due = since is not None and now >= since + self.rules.takeover_after_seconds
        mode = self.rules.mode_of(pool)
        return authorise(decision, pool, mode, is_takeover_due=is_due)

    def foresee(self, snapshot: Snapshot) -> Snapshot:
        """Add to a Snapshot what a guard by these rules would say of it."""
        for pool in snapshot.pools:
            decision, record = self.judge(pool, snapshot), self.record(pool)
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
            last_cycle_at=last_cycle_at, extend_durations=durations, pools=pools
        )
        return structs.replace(snapshot, guard=guard)

    def _report(self, pool: ThinPool, snapshot: Snapshot) -> PoolGuard:
        mode = self.rules.mode_of(pool)
        group = snapshot.volume_group(pool.vg_name)
        return self.record(pool).report(
            mode,
            next_steps(pool, group, self.rules.limits_of(pool)),
            is_left_to_dmeventd=is_left_to_dmeventd(pool, mode),
        )
