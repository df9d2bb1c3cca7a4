"""The guard's loop: wakes, reads the pools' status, decides, and sets workers going.

It asks nothing but the kernel, which takes microseconds; whatever can hang is a
worker's business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from exporter.collection import Collection
from exporter.devmapper import Kernel
from exporter.errors import HostError
from exporter.extend import Extender
from exporter.guard.judge import Judge
from exporter.guard.narrate import Log, narrate_state
from exporter.guard.rules import Clocks, Rules
from exporter.guard.worker import Workers
from exporter.model import Collector, Decision, Reason, Snapshot, ThinPool

# An admin or dmeventd may have extended a pool: LVM is asked, but not in every cycle.
REREAD_SECONDS = 5.0
RESCAN_SECONDS = 1.0
NEVER = float("-inf")
# What a pool goes through while lvextend works on it.
WHILE_EXTENDING = frozenset({Reason.SUSPENDED, Reason.LAYOUT_DIFFERS})
# These end with a line of the worker's own.
TOLD_BY_WORKERS = frozenset({Reason.EXTEND, Reason.EXTEND_CLAMPED, Reason.BUSY})


class Guard:
    """Protects the pools of one host."""

    def __init__(
        self,
        collection: Collection,
        extender: Extender,
        *,
        kernel: Kernel,
        rules: Rules,
        clocks: Clocks,
        log: Log,
    ) -> None:
        self._collection = collection
        self._kernel = kernel
        self._log = log
        self._judge = Judge(rules, clocks)
        self._workers = Workers(collection, extender, judge=self._judge, log=log)
        self._reread_at: dict[str, float] = {}
        self._rescanned_at = NEVER
        self._last_cycle_at: float | None = None
        self._is_kernel_readable = True

    def run(self, stop: threading.Event, on_cycle: Callable[[], None] = lambda: None) -> None:
        """Cycle until `stop` is set; nothing that a cycle meets ends the guard."""
        has_event = False
        while not stop.is_set():
            try:
                # Armed before anything is read, so that no event is lost in between.
                self._kernel.arm()
                self.cycle(has_event=has_event)
                on_cycle()
            except Exception:  # noqa: BLE001 - the cycle boundary: log it, and guard on
                self._log.exception("guard_cycle_failed")
            has_event = self._kernel.wait(self._judge.rules.interval_seconds)

    def cycle(self, *, has_event: bool = False) -> None:
        """Read every known pool once, decide, and set workers going where needed."""
        self._read(has_event=has_event)
        snapshot = self._collection.snapshot()
        for pool in snapshot.pools:
            self._consider(pool, snapshot)
        for label in self._judge.forget_all_but({pool.label for pool in snapshot.pools}):
            self._log.info("pool_gone", pool=label)
        self._last_cycle_at = self._judge.clocks.wall()

    def report(self, snapshot: Snapshot) -> Snapshot:
        """Add the guard's own account to a Snapshot."""
        return self._judge.report(
            snapshot, durations=self._workers.durations, last_cycle_at=self._last_cycle_at
        )

    def join_workers(self, timeout_seconds: float) -> bool:
        """Wait until no extension is under way; false if one is after the timeout."""
        return self._workers.join(timeout_seconds)

    def _read(self, *, has_event: bool) -> None:
        now = self._judge.clocks.monotonic()
        if has_event and now >= self._rescanned_at + RESCAN_SECONDS:
            # Something was made, removed or renamed, or a pool changed its mode.
            self._rescanned_at = now
            self._collection.refresh(Collector.DEVICE_MAPPER)
        try:
            self._collection.refresh_status()
        except HostError as error:
            self._say_readable(error)
        else:
            self._say_readable(None)

    def _say_readable(self, error: HostError | None) -> None:
        if (error is None) != self._is_kernel_readable:
            self._is_kernel_readable = error is None
            self._log.warning("kernel_status", error=str(error) if error else None)

    def _consider(self, pool: ThinPool, snapshot: Snapshot) -> None:
        record = self._judge.record(pool)
        is_busy = self._workers.is_busy(pool.vg_name)
        decision = self._judge.judge(pool, snapshot)
        if is_busy and (decision.extensions or decision.reason in WHILE_EXTENDING):
            decision = Decision(reason=Reason.BUSY)
        record.reason, record.detail = decision.reason, decision.detail
        if decision.reason not in TOLD_BY_WORKERS and decision.reason is not record.told:
            narrate_state(self._log, pool, decision, record.told)
            record.told = decision.reason
        if not is_busy and (decision.extensions or self._is_reread_due(pool, decision)):
            self._workers.start(pool.vg_name)

    def _is_reread_due(self, pool: ThinPool, decision: Decision) -> bool:
        """Whether LVM should be asked what it has done to this pool."""
        now = self._judge.clocks.monotonic()
        if decision.reason is not Reason.LAYOUT_DIFFERS:
            return False
        if now < self._reread_at.get(pool.vg_name, NEVER) + REREAD_SECONDS:
            return False
        self._reread_at[pool.vg_name] = now
        return True
