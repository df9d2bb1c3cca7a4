"""Holds each pool against policy, latches and mode, and remembers the verdicts."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from statistics import median
from typing import TypeAlias

from msgspec import structs

from exporter.autoextend import LvmVersion
from exporter.bulkhead import Bulkheads
from exporter.errors import quote
from exporter.events import NoLog
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
    Reason,
    Snapshot,
    Stage,
    ThinPool,
    VolumeGroup,
)
from exporter.policy import attainable, authorise, decide, is_left_to_dmeventd, next_steps
from exporter.sources.device_mapper import NO_SPACE_TIMEOUT_SECONDS

REMEMBERED_REACTIONS = 10
REACTIONS_LAST_SECONDS = 3600.0
LEAST_GUESS_SECONDS, MOST_GUESS_SECONDS = 0.25, 2.0
OUTLIER = 3.0
# When each ended (monotonic), and how long it took, in seconds.
Reactions: TypeAlias = "deque[tuple[float, float]]"
# What an attainable size was worked out from, and the size of each device in bytes.
Attainable: TypeAlias = "tuple[tuple[object, ...], dict[Device, int]]"


class Judge:
    """Decides for one pool at a time, by the rules and what it remembers of the pool."""

    def __init__(
        self,
        rules: Rules,
        clocks: Clocks,
        *,
        no_space_timeout: Callable[[], float] = lambda: NO_SPACE_TIMEOUT_SECONDS,
        lvm_seconds: Callable[[], float | None] = lambda: None,
        bulkheads: Bulkheads | None = None,
    ) -> None:
        self.rules = rules
        self.clocks = clocks
        self._no_space_timeout = no_space_timeout
        self._lvm_seconds = lvm_seconds
        self._bulkheads = bulkheads or Bulkheads(NoLog(), clocks.monotonic)
        self.records: dict[str, PoolRecord] = {}
        self._reactions: dict[str, Reactions] = {}
        self._attainable: dict[str, Attainable] = {}

    def record(self, pool: ThinPool) -> PoolRecord:
        """Find or begin a pool's record."""
        return self.records.setdefault(pool.label, PoolRecord())

    def recognise(self, pool: ThinPool) -> PoolRecord:
        """Find a pool's record; for another pool under its name a new one, with its counters.

        For the loop's thread alone, which sees them in their order.
        """
        record = self.record(pool)
        uuid = pool.lvm.lv_uuid if pool.lvm else ""
        if uuid and record.lv_uuid not in {"", uuid}:
            record = self.records[pool.label] = record.successor()
        record.lv_uuid = uuid or record.lv_uuid
        return record

    def take_up(self, remembered: Mapping[str, PoolRecord]) -> None:
        """Know what the guard before this one remembered; counters of ours stay."""
        for label, record in remembered.items():
            known = self.records.setdefault(label, record)
            if known is not record:
                known.take_up(record)

    def note_reaction(self, vg_name: str, seconds: float) -> None:
        """Remember how long it took from a decision until the VG's next one could be served."""
        reactions = self._reactions.setdefault(vg_name, deque(maxlen=REMEMBERED_REACTIONS))
        reactions.append((self.clocks.monotonic(), seconds))

    def reaction_seconds(self, vg_name: str) -> float:
        """Return the time to plan with, from a decision until the VG's next can be served.

        The slowest of the VG's last ten, within an hour; one that was far slower than all the
        others has waited for a lock, and counts as OUTLIER times the next. Before a VG's second
        extension nothing above MOST_GUESS_SECONDS is believed: neither its first, nor what
        other VGs' usually take, nor the time that a reading of LVM takes (lvs, vgs and pvs),
        which is about as long.
        """
        *rest, slowest = self._recent(vg_name) or [self._guess_seconds()]
        longest = max(MOST_GUESS_SECONDS, OUTLIER * rest[-1] if rest else 0.0)
        return min(max(slowest, LEAST_GUESS_SECONDS), longest)

    def _guess_seconds(self) -> float:
        recent = [self._recent(name) for name in [*self._reactions]]
        others = [median(seconds) for seconds in recent if seconds]
        return float(median(others)) if others else self._lvm_seconds() or 0.0

    def _recent(self, vg_name: str) -> list[float]:
        """Return how long a VG's last extensions took, the slowest last."""
        since = self.clocks.monotonic() - REACTIONS_LAST_SECONDS
        known = [*self._reactions.get(vg_name, ())]
        return sorted(seconds for at, seconds in known if at >= since)

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
            outlook=self.rules.outlook_of(pool, filling, self.reaction_seconds(pool.vg_name)),
        )
        record.watch(pool, decision, now=now, interval_seconds=self.rules.interval_seconds)
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
            record = self.record(pool)
            record.reason = Reason.INTERNAL_ERROR
            with self._bulkheads.contain(Stage.DECIDE, pool.label):
                decision = self.judge(pool, snapshot, {})
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
            self._attainable.pop(label, None)
        vg_names = {label.partition("/")[0] for label in labels}
        for name in self._reactions.keys() - vg_names:
            self._reactions.pop(name, None)
        return gone

    def queue_seconds_left(self, record: PoolRecord) -> float | None:
        """Time until the kernel fails the writes that wait for a full pool."""
        return record.queue_seconds_left(self._no_space_timeout(), now=self.clocks.monotonic())

    def report(
        self,
        snapshot: Snapshot,
        *,
        durations: Histogram,
        last_cycle_at: float | None,
        is_cycling: bool = True,
    ) -> Snapshot:
        """Add the guard's own account to a Snapshot.

        A loop that does not cycle protects nothing, whatever it decided last.
        """
        pools = {
            pool.label: self._contained_report(pool, snapshot, is_cycling=is_cycling)
            for pool in snapshot.pools
            if pool.label in self.records  # else first seen after the last cycle
        }
        guard = GuardReport(
            last_cycle_at=last_cycle_at,
            extend_durations=durations,
            pools=pools,
            note=self.rules.note(os.getpid()),
            errors=self._bulkheads.counts,
        )
        return structs.replace(snapshot, guard=guard)

    def _contained_report(
        self, pool: ThinPool, snapshot: Snapshot, *, is_cycling: bool
    ) -> PoolGuard:
        with self._bulkheads.contain(Stage.REPORT, pool.label) as bulkhead:
            report = self._report(pool, snapshot)
            if is_cycling:
                return report
            return structs.replace(
                report,
                is_responsible=False,
                reason=Reason.INTERNAL_ERROR,
                detail="the guard's loop does not cycle",
            )
        return PoolGuard(
            mode=self.rules.mode_of(pool),
            is_responsible=False,
            reason=Reason.INTERNAL_ERROR,
            detail=quote(repr(bulkhead.error)),
        )

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
        return structs.replace(
            report,
            queue_seconds_left=self.queue_seconds_left(record),
            attainable_bytes=self._attainable_bytes(pool, group, snapshot.lvm_version),
        )

    def _attainable_bytes(
        self, pool: ThinPool, group: VolumeGroup | None, lvm_version: LvmVersion | None
    ) -> dict[Device, int]:
        """Return the attainable sizes, worked out anew when something has changed."""
        limits = self.rules.limits_of(pool)
        basis = (pool.lvm, group, limits, lvm_version)
        known = self._attainable.get(pool.label)
        if known is None or known[0] != basis:
            found = attainable(pool, group, limits, lvm_version=lvm_version)
            known = self._attainable[pool.label] = (basis, found)
        return known[1]
