"""Serves the VGs that need an extension, each by a worker of its own.

A VG whose LVM hangs then keeps neither the others from being served nor the loop from
watching.
"""

from __future__ import annotations

import threading

from exporter.collection import Collection
from exporter.errors import HostError
from exporter.extend import Extender
from exporter.guard.judge import Judge
from exporter.guard.ledger import NO_DURATIONS, PoolRecord, add, circumstances
from exporter.guard.narrate import Log, narrate_attempt, plan
from exporter.model import Attempt, Decision, Failure, ThinPool


class Workers:
    """Reads a VG anew, extends what needs it, verifies, and remembers the outcome."""

    def __init__(
        self, collection: Collection, extender: Extender, *, judge: Judge, log: Log
    ) -> None:
        self._collection = collection
        self._extender = extender
        self._judge = judge
        self._log = log
        self._threads: dict[str, threading.Thread] = {}
        self.durations = NO_DURATIONS

    def is_busy(self, vg_name: str) -> bool:
        """Whether this VG is being served."""
        thread = self._threads.get(vg_name)
        return thread is not None and thread.is_alive()

    def start(self, vg_name: str) -> None:
        """Serve this VG; the caller has seen that nobody does yet."""
        # A daemon: our end must not wait for an lvextend, which goes on without us.
        thread = threading.Thread(
            target=self._serve, args=(vg_name,), name=f"extend-{vg_name}", daemon=True
        )
        self._threads[vg_name] = thread
        thread.start()

    def join(self, timeout_seconds: float) -> bool:
        """Wait until none is at work; false if one still is after the timeout."""
        clock = self._judge.clocks.monotonic
        ends_at = clock() + timeout_seconds
        threads = tuple(self._threads.values())
        for thread in threads:
            thread.join(max(0.0, ends_at - clock()))
        return not any(thread.is_alive() for thread in threads)

    def _serve(self, vg_name: str) -> None:
        served: set[str] = set()
        try:
            self._refresh(vg_name)
            while self._serve_next(vg_name, served):
                self._refresh(vg_name)
        except HostError as error:
            self._log.error("vg_unreadable", vg=vg_name, error=str(error))

    def _refresh(self, vg_name: str) -> None:
        self._collection.refresh_group(vg_name)
        self._collection.refresh_status()

    def _serve_next(self, vg_name: str, served: set[str]) -> bool:
        """Extend the next pool in need: each extension changes what is left for others."""
        snapshot = self._collection.snapshot()
        for pool in snapshot.pools:
            if pool.vg_name != vg_name or pool.label in served:
                continue
            served.add(pool.label)
            decision = self._judge.judge(pool, snapshot)
            if decision.extensions:
                self._extend(pool, self._judge.record(pool), decision)
                return True
        return False

    def _extend(self, pool: ThinPool, record: PoolRecord, decision: Decision) -> None:
        self._note_takeover(pool, record)
        self._log.info("extending", **plan(pool, decision))
        dm_name = pool.kernel.dm_name if pool.kernel else ""

        def stuck() -> None:
            record.note_failure(decision, Failure.STUCK)
            self._log.error("lvextend_stuck", **plan(pool, decision))

        try:
            attempt = self._extender.extend(
                pool.label,
                decision,
                read_status=lambda: self._collection.pool_status(dm_name),
                on_stuck=stuck,
            )
        except HostError as error:
            record.note_failure(decision, Failure.UNREADABLE)
            self._log.error("extend_failed", error=str(error), **plan(pool, decision))
            return
        narrate_attempt(self._log, pool, decision, attempt)
        self.durations = add(self.durations, attempt.duration_seconds)
        self._remember(pool, record, attempt)

    def _note_takeover(self, pool: ThinPool, record: PoolRecord) -> None:
        if not self._judge.is_takeover(pool) or record.is_taken_over:
            return
        record.is_taken_over = True
        record.takeovers += 1
        after = self._judge.rules.takeover_after_seconds
        self._log.warning(
            "takeover", vg=pool.vg_name, pool=pool.name, above_threshold_seconds=after
        )

    def _remember(self, pool: ThinPool, record: PoolRecord, attempt: Attempt) -> None:
        """Count an attempt; what would fail again is latched as things now are."""
        try:
            self._refresh(pool.vg_name)
        except HostError as error:
            self._log.error("vg_unreadable", vg=pool.vg_name, error=str(error))
        snapshot = self._collection.snapshot()
        present = next((other for other in snapshot.pools if other.label == pool.label), pool)
        clocks = self._judge.clocks
        record.note_attempt(
            attempt,
            circumstances(present, snapshot.volume_group(pool.vg_name)),
            now=clocks.monotonic(),
            wall_now=clocks.wall(),
        )
