"""Serves the VGs that need something of LVM, each by a worker of its own.

A VG whose LVM hangs then keeps neither the others from being served nor the loop from
watching. An extension starts at once, from LVM's last account: its sizes are absolute, and
the kernel has just shown that the pool is as LVM said. LVM is asked anew afterwards.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from msgspec import structs

from exporter.collection import Collection
from exporter.errors import HostError
from exporter.events import Log
from exporter.extend import Extender
from exporter.guard.herald import Herald
from exporter.guard.hush import Hush
from exporter.guard.judge import Judge
from exporter.guard.latch import Latch, circumstances
from exporter.guard.ledger import NO_DURATIONS, PoolRecord, add
from exporter.guard.narrate import narrate_attempt, narrate_takeover, plan
from exporter.model import (
    Attempt,
    Collector,
    Decision,
    Dmeventd,
    Failure,
    Snapshot,
    ThinPool,
    VolumeGroup,
)


class Workers:
    """Extends pools, verifies, reads the VG anew, and remembers the outcome."""

    def __init__(
        self,
        collection: Collection,
        extender: Extender,
        *,
        judge: Judge,
        log: Log,
        on_end: Callable[[], None],
    ) -> None:
        self._collection = collection
        self._extender = extender
        self._judge = judge
        self._log = log
        self._on_end = on_end
        self._hush = Hush(judge.clocks.monotonic)
        self._threads: dict[str, threading.Thread] = {}
        self._busy: set[str] = set()
        self.durations = NO_DURATIONS
        self.herald = Herald()

    def is_busy(self, vg_name: str) -> bool:
        """Whether this VG is being served."""
        return vg_name in self._busy

    def extend(self, pool: ThinPool, decision: Decision, snapshot: Snapshot) -> None:
        """Extend a pool; the caller has seen that nobody is at work in its VG."""
        self._start(pool.vg_name, lambda: self._extend(pool, decision, snapshot))

    def reread(self, vg_name: str, *, is_unlisted: bool) -> None:
        """Ask LVM about a VG, or about everything for a pool that it has not listed."""
        if is_unlisted:
            self._start(vg_name, lambda: self._collection.refresh(Collector.LVM))
        else:
            self._start(vg_name, lambda: self._reread(vg_name))

    def keep_ready(self) -> None:
        """Have the next extension begin at once; not for the loop's thread."""
        self._extender.keep_ready()

    def join(self, timeout_seconds: float) -> bool:
        """Wait until none is at work; false if one still is after the timeout."""
        clock = self._judge.clocks.monotonic
        ends_at = clock() + timeout_seconds
        threads = tuple(self._threads.values())
        for thread in threads:
            thread.join(max(0.0, ends_at - clock()))
        return not any(thread.is_alive() for thread in threads)

    def _start(self, vg_name: str, work: Callable[[], object]) -> None:
        def serve() -> None:
            try:
                work()
            finally:
                # Before the loop is woken, which must not find the VG still busy.
                self._busy.discard(vg_name)
                self._on_end()

        # A daemon: our end must not wait for an lvextend, which goes on without us.
        thread = threading.Thread(target=serve, name=f"extend-{vg_name}", daemon=True)
        self._busy.add(vg_name)
        try:
            thread.start()
        except RuntimeError:  # no more threads: told at the cycle's boundary
            self._busy.discard(vg_name)
            raise
        self._threads[vg_name] = thread

    def _reread(self, vg_name: str) -> None:
        try:
            self._collection.refresh_group(vg_name)
        except HostError as error:
            if self._hush.is_due(("vg", vg_name), str(error)):
                self._log.error("vg_unreadable", vg=vg_name, error=str(error))
        else:
            self._hush.forget(("vg", vg_name))

    def _extend(self, pool: ThinPool, decision: Decision, snapshot: Snapshot) -> None:
        record = self._judge.record(pool)
        before = circumstances(pool, snapshot.volume_group(pool.vg_name))
        self._note_takeover(pool, record, snapshot.dmeventd)
        # While writers wait, what LVM refuses is tried again every two seconds.
        if self._hush.is_due(("try", pool.label), decision.extensions):
            self._log.info("extending", **plan(pool, decision))
        try:
            attempt = self._attempt(pool, decision, record)
        except HostError as error:
            record.note_failure(decision, Failure.UNREADABLE)
            record.latch = self._latch(Failure.UNREADABLE, str(error), before, record)
            if self._hush.is_due(("end", pool.label), str(error)):
                self._log.error("extend_failed", error=str(error), **plan(pool, decision))
            return
        self._judge.note_duration(attempt.duration_seconds)
        self.durations = add(self.durations, attempt.duration_seconds)
        self._reread(pool.vg_name)
        self._remember(pool, attempt, decision, before)
        self.keep_ready()

    def _attempt(self, pool: ThinPool, decision: Decision, record: PoolRecord) -> Attempt:
        dm_name = pool.kernel.dm_name if pool.kernel else ""

        def stuck() -> None:
            record.note_failure(decision, Failure.STUCK)
            self._log.error("lvextend_stuck", **plan(pool, decision))

        return self._extender.extend(
            pool.label,
            decision,
            read_status=lambda: self._collection.pool_status(dm_name),
            on_stuck=stuck,
        )

    def _note_takeover(self, pool: ThinPool, record: PoolRecord, dmeventd: Dmeventd) -> None:
        if not self._judge.is_takeover(pool) or record.is_taken_over:
            return
        record.is_taken_over, record.taken_over_from = True, dmeventd.pid
        record.takeovers += 1
        after = self._judge.rules.takeover_after_seconds
        narrate_takeover(self._log, pool, self._collection.dmeventd_activity(), after)

    def _remember(
        self, pool: ThinPool, attempt: Attempt, decision: Decision, before: str
    ) -> None:
        """Count an attempt; what would fail again is latched as things now are."""
        record = self._judge.record(pool)
        self._tell(pool, decision, attempt)
        record.count(attempt, wall=self._judge.clocks.wall())
        present, group = self._present(pool)
        record.note_own_sizes(present)
        self.herald.tell_growth(present, decision, attempt)
        now_in = circumstances(present, group)
        failures = {outcome.failure or Failure.REFUSED for outcome in attempt.failures}
        # LVM's account was out of date, or a part has grown: the next decision differs.
        is_outdated = failures == {Failure.REFUSED} and now_in != before
        if not failures or (is_outdated and not record.was_outdated):
            record.latch = None
        else:
            record.latch = self._latch(min(failures), attempt.message, now_in, record)
        record.was_outdated = is_outdated

    def _tell(self, pool: ThinPool, decision: Decision, attempt: Attempt) -> None:
        """Tell of an attempt, unless it has failed just as the last one did."""
        failures = tuple(outcome.failure for outcome in attempt.outcomes)
        if not all(failures):
            self._hush.forget(("try", pool.label))
            self._hush.forget(("end", pool.label))
        elif not self._hush.is_due(("end", pool.label), (failures, attempt.message)):
            return
        narrate_attempt(self._log, pool, decision, attempt)

    def _present(self, pool: ThinPool) -> tuple[ThinPool, VolumeGroup | None]:
        """Tell how a pool and its VG are now, as the loop will see them at its next look."""
        snapshot = self._collection.snapshot()
        present = next((other for other in snapshot.pools if other.label == pool.label), pool)
        kernel = present.kernel or pool.kernel
        if kernel:
            with contextlib.suppress(HostError):  # then the last status must do
                status = self._collection.pool_status(kernel.dm_name) or kernel.status
                kernel = structs.replace(kernel, status=status)
            present = structs.replace(present, kernel=kernel, mode=kernel.status.mode)
        return present, snapshot.volume_group(pool.vg_name)

    def _latch(self, failure: Failure, detail: str, now_in: str, record: PoolRecord) -> Latch:
        now = self._judge.clocks.monotonic()
        return Latch.close(failure, detail, now_in, now=now, last=record.latch)
