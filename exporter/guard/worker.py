"""Extends pools and reads VGs again, each in threads that were started ahead.

A VG is extended by one lvextend at a time. Reading it again has a slot of its own, so that an
`lvs` that hangs delays no extension. Between a decision and its lvextend, and from its end to
the next one, nothing is read from LVM, no thread is started and no file is opened: LVM's
account of the VG is updated from the sizes that the kernel shows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from msgspec import structs

from exporter import autoextend
from exporter.bulkhead import LogThrottle
from exporter.collection import Collection
from exporter.errors import HostError, quote
from exporter.events import Log
from exporter.extend import Extender, Watch
from exporter.guard.herald import Herald
from exporter.guard.judge import Judge
from exporter.guard.latch import Latch, circumstances
from exporter.guard.ledger import NO_DURATIONS, add
from exporter.guard.narrate import narrate_attempt, narrate_takeover, plan
from exporter.guard.slots import Order, Slots
from exporter.model import (
    Attempt,
    Collector,
    Decision,
    Failure,
    PoolStatus,
    Snapshot,
    Stage,
    ThinPool,
)
from exporter.policy import after_extension, if_carried_out
from exporter.thread_pool import ThreadPool

# At once, on a host whose VGs cross together; each that hangs makes room for another one.
EXTENSION_THREADS, READING_THREADS = 8, 2
MAX_THREADS = 64
# An order that is older than this may rest on a pool that is gone.
ASK_AGAIN_SECONDS = 0.1
# A pool that had changed when it was to be extended is left alone for so long.
SUPERSEDED_SECONDS = 1.0
# A reading of the kernel that fails is repeated before LVM is asked, which takes far longer.
ASK_TIMES = 3
# How long decisions rely on an account that was worked out, if LVM cannot be read again.
ESTIMATE_LASTS_SECONDS = 10.0
ALL_GROUPS = ""


class Workers:
    """Extends pools, verifies, reads VGs again, and remembers the outcomes."""

    def __init__(
        self,
        collection: Collection,
        extender: Extender,
        *,
        judge: Judge,
        log: Log,
        on_end: Callable[[str], None],
    ) -> None:
        self._collection = collection
        self._extender = extender
        self._judge = judge
        self._log = log
        self._bulkheads = bulkheads = collection.bulkheads
        # Called when something may be decided anew, with the device that has changed, or "".
        self._on_end = on_end
        self.has_news = threading.Event()  # set after each extension
        self._clock = judge.clocks.monotonic
        self._throttle = LogThrottle(self._clock)
        threads = partial(
            ThreadPool, max_threads=MAX_THREADS, bulkheads=bulkheads, clock=self._clock
        )
        self._extension_threads = threads("extend", EXTENSION_THREADS)
        self._reading_threads = threads("read-vg", READING_THREADS)
        self._changed = threading.Condition()
        self._outstanding = 0
        self._slots = Slots(self._clock)
        self._reading: set[str] = set()
        self._to_read_again: set[str] = set()
        self._estimated_since: dict[str, float] = {}
        self.durations = NO_DURATIONS
        self.herald = Herald()

    def supervise(self) -> None:
        """Start the threads that are missing, and let no order hold up its VG unseen.

        To be repeated, not by the loop's thread.
        """
        self._extension_threads.supervise()
        self._reading_threads.supervise()
        for order in self._slots.overdue(self._extender.deadline_seconds):
            self._tell_stuck(order)
        for order in self._slots.hanging():
            with self._bulkheads.contain(Stage.EXTEND, order.pool.label):
                self._go_on_without(order)

    def busy(self) -> frozenset[str]:
        """Return the VGs that are being extended."""
        return self._slots.busy()

    def is_late(self, pool: ThinPool) -> bool:
        """Return whether a pool's VG goes on without it, because nobody tells its size."""
        return self._slots.is_late(pool)

    def reading(self) -> frozenset[str]:
        """Return the VGs that are being read again, or are about to be."""
        with self._changed:
            return frozenset(self._reading)

    def is_estimated(self, vg_name: str) -> bool:
        """Return whether the account of a VG was worked out, and LVM is being read again."""
        since = self._estimated_since.get(vg_name)
        return since is not None and self._clock() < since + ESTIMATE_LASTS_SECONDS

    def extend(self, pool: ThinPool, decision: Decision, snapshot: Snapshot) -> None:
        """Extend a pool; the caller has seen that its VG is not busy."""
        order = Order(
            pool=pool,
            decision=decision,
            snapshot=snapshot,
            record=self._judge.record(pool),
            decided_at=self._clock(),
        )
        self._slots.take(order)
        with self._changed:
            self._outstanding += 1
        self._extension_threads.run(lambda: self._extend(order))

    def reread(self, vg_name: str) -> None:
        """Read a VG again, or everything (ALL_GROUPS); once more if it is being read now."""
        with self._changed:
            if vg_name in self._reading:
                self._to_read_again.add(vg_name)
                return
            self._reading.add(vg_name)
            self._outstanding += 1
        self._reading_threads.run(lambda: self._read(vg_name))

    def keep_ready(self) -> None:
        """Have the next extension begin at once; not for the loop's thread."""
        with self._bulkheads.contain(Stage.PREPARE):
            self._extender.keep_ready()
            self._bulkheads.is_over(Stage.PREPARE, "")

    def join(self, timeout_seconds: float) -> bool:
        """Wait until nothing is under way; return false if an lvextend still is."""
        with self._changed:
            self._changed.wait_for(lambda: not self._outstanding, timeout_seconds)
        return not self._slots.busy()

    def forget_all_but(self, vg_names: set[str]) -> None:
        """Forget VGs that are gone."""
        for name in self._estimated_since.keys() - vg_names:
            self._estimated_since.pop(name, None)

    def _extend(self, order: Order) -> None:
        """Serve one order; whatever happens, the VG is free again afterwards."""
        pool = order.pool
        try:
            with self._bulkheads.contain(Stage.EXTEND, pool.label):
                attempt, error = self._slot(order)
                # The next extension can begin by now; the rest happens beside it.
                self._on_end(pool.device_name)
                self._tell(order, attempt, error)
            self.keep_ready()
            self.has_news.set()
        finally:
            self._end_one()

    def _slot(self, order: Order) -> tuple[Attempt | None, Exception | None]:
        """Extend while nobody else extends in the VG; whatever is raised is a failure of it."""
        pool = order.pool
        attempt = None
        try:
            with self._bulkheads.contain(Stage.EXTEND, pool.label) as bulkhead:
                attempt = self._attempt(order)
                self._bulkheads.is_over(Stage.EXTEND, pool.label)
            if bulkhead.error:
                self._note_failure(order, bulkhead.error)
                self._charge(order)
            self.reread(pool.vg_name)
            if attempt and self._slots.has(order):
                self._note_reaction(order)
        finally:
            self._slots.release(order)
        return attempt, bulkhead.error

    def _go_on_without(self, order: Order) -> None:
        """Free the VG of an order whose pool does not tell its size."""
        self._charge(order)
        if self._slots.lose(order):
            self._note_reaction(order)
            error = HostError(f"the size of {order.pool.label} cannot be had; its VG goes on")
            self._bulkheads.failed(Stage.POLL, order.pool.device_name, error)
        self.reread(order.vg_name)
        self._on_end("")

    def _charge(self, order: Order) -> None:
        """Count as taken what an lvextend may have taken whose outcome nobody knows."""
        rules = autoextend.rules_of(order.snapshot.lvm_version)
        if order.has_run and self._collection.update_account(
            order.pool.label,
            lambda pool, group: if_carried_out(pool, group, order.decision, rules),
        ):
            self._estimated_since[order.vg_name] = self._clock()

    def _note_reaction(self, order: Order) -> None:
        self._judge.note_reaction(order.vg_name, self._clock() - order.decided_at)

    def _attempt(self, order: Order) -> Attempt | None:
        """Extend, verify and remember; None if the pool has changed since the decision.

        Raises HostError.
        """
        pool, decision, record = order.pool, order.decision, order.record
        before = self._status_before(order)
        if before is None:
            record.wait_until = self._clock() + SUPERSEDED_SECONDS
            return None
        self._note_takeover(order)
        attempt = self._extender.extend(
            pool.label,
            decision,
            before=before,
            watch=Watch(
                read_status=lambda: self._status_after(order),
                on_start=lambda: self._tell_start(order),
                verifying=lambda: self._slots.verifying(order),
                may_repeat=lambda: self._slots.has(order),
            ),
        )
        self._remember(order, attempt)
        return attempt

    def _status_before(self, order: Order) -> PoolStatus | None:
        """Return the status on which the decision rests; None if it no longer holds.

        An order that has waited for a thread asks the kernel again, by the device's name and
        UUID: a pool that was made anew gets no size that was decided for another one. One that
        has not rests on what the loop has just read.
        """
        decided_on = order.pool.status
        pool = order.pool
        is_recent = self._clock() < order.decided_at + ASK_AGAIN_SECONDS
        if decided_on is None or not pool.is_by_kernel or is_recent:
            return decided_on
        with self._bulkheads.contain(Stage.POLL, pool.device_name):
            with self._slots.verifying(order):
                present = self._collection.pool_status(pool)
            is_same = present is not None and present.sizes == decided_on.sizes
            return present if is_same and self._slots.has(order) else None
        # The kernel could be asked a moment ago.
        return decided_on if self._slots.has(order) else None

    def _status_after(self, order: Order) -> PoolStatus | None:
        """Return what the kernel shows, or LVM if the kernel cannot be asked."""
        pool = order.pool
        for _ in range(ASK_TIMES):
            with self._bulkheads.contain(Stage.POLL, pool.device_name):
                return self._collection.pool_status(pool)
        self._collection.refresh_group(pool.vg_name)
        account = self._collection.account(pool.label)
        return account[0].status if account else None

    def _note_takeover(self, order: Order) -> None:
        record = order.record
        if self._judge.is_takeover(order.pool) and not record.is_taken_over:
            record.is_taken_over = True
            record.taken_over_from = order.snapshot.dmeventd.pid
            record.takeovers += 1
            record.is_takeover_untold = True

    def _remember(self, order: Order, attempt: Attempt) -> None:
        """Count an attempt, and update LVM's account; a failure is latched."""
        record, status = order.record, attempt.status
        self.durations = add(self.durations, attempt.duration_seconds)
        record.count(attempt, wall=self._judge.clocks.wall())
        if status and any(outcome.has_grown for outcome in attempt.outcomes):
            rules = autoextend.rules_of(order.snapshot.lvm_version)
            if self._collection.update_account(
                order.pool.label,
                lambda pool, group: after_extension(pool, group, status, attempt, rules),
            ):
                self._estimated_since[order.vg_name] = self._clock()
            record.note_own_sizes(status)
        if attempt.failures:
            failure = min(outcome.failure or Failure.REFUSED for outcome in attempt.failures)
            self._close_latch(order, failure, attempt.message)
        else:
            record.latch, record.was_outdated, record.is_latch_unsettled = None, False, False

    def _note_failure(self, order: Order, error: Exception) -> None:
        """Count and latch an extension that could not be started, or not be verified."""
        is_hosts = isinstance(error, HostError)
        failure = Failure.UNREADABLE if is_hosts else Failure.INTERNAL_ERROR
        order.record.note_failure(order.decision, failure)
        self._close_latch(order, failure, str(error) if is_hosts else repr(error))

    def _close_latch(self, order: Order, failure: Failure, detail: str) -> None:
        """Hold back a repetition; what has changed is known when LVM has been read again."""
        record = order.record
        group = order.snapshot.volume_group(order.vg_name)
        record.latch = Latch.close(
            failure,
            quote(detail),
            circumstances(order.pool, group),
            now=self._clock(),
            last=record.latch,
        )
        record.is_latch_unsettled = True

    def _tell_stuck(self, order: Order) -> None:
        order.record.note_failure(order.decision, Failure.STUCK)
        self._log.error("lvextend_stuck", **plan(order.pool, order.decision))

    def _tell_start(self, order: Order) -> None:
        """Log that an lvextend has begun; while writers wait, it is tried again and again."""
        order.has_run = True
        if self._throttle.is_due(("try", order.pool.label), order.decision.extensions):
            self._log.info("extending", **plan(order.pool, order.decision))

    def _tell(self, order: Order, attempt: Attempt | None, error: Exception | None) -> None:
        """Log an attempt, unless it has failed just as the last one did; call the hook."""
        pool, decision, label = order.pool, order.decision, order.pool.label
        record = order.record
        if record.is_takeover_untold:
            record.is_takeover_untold = False
            after = self._judge.rules.takeover_after_seconds
            narrate_takeover(self._log, pool, self._collection.dmeventd_activity(), after)
        if attempt is None:
            event = "extend_failed" if error else "extend_superseded"
            if self._throttle.is_due(("end", label), (event, str(error))):
                self._log.warning(event, **plan(pool, decision))
            return
        failures = tuple(outcome.failure for outcome in attempt.outcomes)
        if not all(failures):
            self._throttle.forget(("try", label))
            self._throttle.forget(("end", label))
        elif not self._throttle.is_due(("end", label), (failures, attempt.message)):
            return
        narrate_attempt(self._log, pool, decision, attempt)
        if attempt.status and pool.kernel:
            pool = pool.with_kernel(structs.replace(pool.kernel, status=attempt.status))
        self.herald.tell_growth(pool, decision, attempt)

    def _read(self, vg_name: str) -> None:
        """Read a VG, or all of them, and once more if that was asked for meanwhile."""
        try:
            with self._bulkheads.contain(Stage.READ_VG, vg_name):
                if vg_name == ALL_GROUPS:
                    self._collection.refresh(Collector.LVM)
                else:
                    self._collection.refresh_group(vg_name)
                self._bulkheads.is_over(Stage.READ_VG, vg_name)
            with self._changed:
                self._reading.discard(vg_name)
                is_again = vg_name in self._to_read_again
                self._to_read_again.discard(vg_name)
            if is_again:
                self.reread(vg_name)
            else:
                self._estimated_since.pop(vg_name, None)
            self._on_end("")
        finally:
            self._end_one()

    def _end_one(self) -> None:
        with self._changed:
            self._outstanding -= 1
            self._changed.notify_all()
