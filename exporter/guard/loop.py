"""The guard's loop: wakes, reads the pools' status, decides, and sets workers going.

It asks nothing but the kernel, which takes microseconds, and waits for nothing else: no
file, no lock that a collector holds, no log. Whatever can hang is a worker's business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from exporter.collection import Collection, LivePools
from exporter.devmapper import Kernel
from exporter.errors import HostError
from exporter.events import Log
from exporter.extend import Extender
from exporter.guard.herald import Herald
from exporter.guard.judge import Judge
from exporter.guard.ledger import PoolRecord
from exporter.guard.memory import MemoryFile
from exporter.guard.narrate import narrate_full, narrate_hand_back, narrate_state
from exporter.guard.pace import pause_seconds
from exporter.guard.rules import Clocks, Rules
from exporter.guard.sight import OvertakenError, SeenPool, Sight
from exporter.guard.view import View
from exporter.guard.worker import Workers
from exporter.hooks import Hooks
from exporter.model import Decision, Device, Reason, Snapshot, ThinPool

NEVER = float("-inf")
# What a pool goes through while lvextend works on it.
WHILE_EXTENDING = frozenset({Reason.SUSPENDED, Reason.LAYOUT_DIFFERS})
# These end with a line of the worker's own.
TOLD_BY_WORKERS = frozenset(
    {Reason.EXTEND, Reason.EXTEND_CLAMPED, Reason.EXTEND_ANTICIPATED, Reason.BUSY}
)
# In these, space that comes free in the VG is good news.
WAITING_FOR_SPACE = frozenset({Reason.NO_SPACE, Reason.LATCHED_REFUSED})
# How often LVM is asked about the VG of a pool: that somebody else has extended, whose
# writes wait, or in whose VG something may have come free.
DIFFERS_SECONDS, QUEUEING_SECONDS, NEWS_SECONDS = 1.0, 2.0, 5.0
SAY_FULL_SECONDS = 10.0
# A cycle takes milliseconds; on a host that is short of everything, seconds.
OVERDUE_SECONDS = 5.0
# A status takes microseconds, or waits for a disk.
MUTE_SECONDS = 2.0


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
        self._clock = clocks.monotonic
        self._judge = Judge(
            rules, clocks, no_space_timeout=lambda: collection.no_space_timeout_seconds
        )
        self._wanted_rules = rules
        self._sight = Sight(kernel, clocks.monotonic)
        self._view = View()
        self._workers = Workers(
            collection, extender, judge=self._judge, log=log, on_end=self._end_work
        )
        self._herald = Herald()
        self._memory: Callable[[], MemoryFile | None] = lambda: None
        self._reread_at: dict[str, float] = {}
        self._whole_at = NEVER
        self._news_at = NEVER
        self._is_behind = False  # whether changes were seen that nobody has judged
        self._last_cycle_at: float | None = None
        self._cycled_at = NEVER
        self._is_kernel_readable = True
        self._told_mute: frozenset[str] = frozenset()

    def remember_in(self, memory: Callable[[], MemoryFile | None]) -> None:
        """Take up what the guard before this one knew, and keep it for the next one.

        There is a memory as soon as this one may extend.
        """
        self._memory = memory
        if file := memory():
            self._judge.records.update(file.load())

    def follow(self, rules: Rules) -> None:
        """Go by these rules from the next cycle on, which comes at once; for any thread."""
        self._wanted_rules = rules
        self._kernel.wake()

    def call(self, hooks: Hooks) -> None:
        """Tell the user's hook from now on."""
        self._herald = self._workers.herald = Herald(hooks)

    def run(self, stop: threading.Event, on_cycle: Callable[[], None] = lambda: None) -> None:
        """Cycle until `stop` is set; nothing that a cycle meets ends the guard.

        It returns early where another thread has been told to run it: see `step_over`.
        """
        has_event = False
        while not stop.is_set():
            try:
                # Armed before anything is read, so that no event is lost in between.
                self._kernel.arm()
                self.cycle(has_event=has_event)
                on_cycle()
            except OvertakenError:
                return
            except Exception:  # noqa: BLE001 - the cycle boundary: log it, and guard on
                self._log.exception("guard_cycle_failed")
                self._is_behind = True
            has_event = self._kernel.wait(self._pause())

    def step_over(self) -> bool:
        """Leave the thread that runs this to wait for the disk that it waits for, if it does.

        Then another one is to run it: one pool must not keep the others from being guarded.
        """
        return self._sight.step_over(MUTE_SECONDS)

    def cycle(self, *, has_event: bool = False) -> None:
        """Look at what is due, decide, and set workers going where needed.

        After an event every pool is read; otherwise those that may fill fast more often
        than the rest. Once an interval latches and takeovers fall due.
        """
        now = self._clock()
        self._news_at = now if has_event else self._news_at
        is_whole = now >= self._whole_at
        has_new_rules = self._judge.rules is not self._wanted_rules
        self._judge.rules = self._wanted_rules
        self._say_mute()
        changed, is_moved = self._look(has_event=has_event, is_whole=is_whole)
        readings = self._collection.readings
        is_stale = has_new_rules or self._view.is_stale(readings)
        is_rebuilt = is_moved or self._is_behind or is_stale
        if is_rebuilt:
            self._view.rebuild(readings, self._sight)
            self._is_behind = False
        pools = self._view.update(changed)
        if is_rebuilt:
            pools = [*self._view.pools.values()]
        elif is_whole:
            pools = self._restless(pools)
        for pool in sorted(pools, key=self._seconds_until_full):
            self._consider(pool)
        if is_rebuilt:
            self._forget_gone()
        if is_whole:
            self._whole_at = now + self._judge.rules.interval_seconds
        self._last_cycle_at = self._judge.clocks.wall()
        self._cycled_at = self._clock()

    def _restless(self, changed: list[ThinPool]) -> list[ThinPool]:
        """Add the pools whose verdict may change by time alone; most never do."""
        labels = {pool.label for pool in changed}
        others = (pool for label, pool in self._view.pools.items() if label not in labels)
        return [*changed, *(pool for pool in others if not self._is_settled(pool))]

    def _is_settled(self, pool: ThinPool) -> bool:
        record, seen = self._judge.records.get(pool.label), self._seen(pool)
        is_filling = seen is not None and bool(seen.filling)
        return record is not None and record.is_at_rest and not is_filling

    def report(self, snapshot: Snapshot) -> Snapshot:
        """Add the guard's own account to a Snapshot."""
        return self._judge.report(
            snapshot, durations=self._workers.durations, last_cycle_at=self._last_cycle_at
        )

    def is_cycling(self) -> bool:
        """Whether a cycle was completed lately, or none is due yet."""
        longest = self._judge.rules.interval_seconds + OVERDUE_SECONDS
        return self._clock() <= self._cycled_at + longest

    def live_pools(self) -> LivePools | None:
        """Every live pool as last seen; None before the first look."""
        if not self._sight.is_complete:
            return None
        return LivePools(pools=self._sight.kernel_pools(), read_at=self._sight.looked_at)

    def keep_ready(self) -> None:
        """Have an extension begin at once when one is needed; not for the loop's thread."""
        if self._judge.rules.may_extend:
            self._workers.keep_ready()

    def save(self) -> None:
        """Keep for the next guard what it must not forget; not for the loop's thread."""
        if file := self._memory():
            file.save(self._judge.records)

    def join_workers(self, timeout_seconds: float) -> bool:
        """Wait until no extension is under way; false if one is after the timeout."""
        return self._workers.join(timeout_seconds)

    def _end_work(self) -> None:
        self._kernel.wake()
        self.save()

    def _pause(self) -> float:
        """Seconds until something is due: a pool of its own, or all."""
        now = self._clock()
        if self._whole_at == NEVER:
            return self._judge.rules.interval_seconds  # the first cycle has failed
        return min((self._whole_at, *self._sight.due_times())) - now

    def _look(self, *, has_event: bool, is_whole: bool) -> tuple[list[SeenPool], bool]:
        """Read statuses; the pools that changed, and whether others came or went."""
        try:
            is_all = has_event or is_whole
            changed = self._sight.look(is_all=is_all)
            is_moved = is_all and self._sight.list_devices(has_event=has_event)
        except HostError as error:
            self._is_behind = True
            self._sight.postpone(self._judge.rules.interval_seconds)
            self._say_readable(error)
            return [], False
        self._say_readable(None)
        return changed, is_moved

    def _say_readable(self, error: HostError | None) -> None:
        if (error is None) != self._is_kernel_readable:
            self._is_kernel_readable = error is None
            self._log.warning("kernel_status", error=str(error) if error else None)

    def _say_mute(self) -> None:
        mute = frozenset(self._sight.mute)
        if mute == self._told_mute:
            return
        self._is_behind = True  # what is known of them has changed
        for name in mute - self._told_mute:
            self._log.error(
                "pool_status_waits",
                dm_name=name,
                next_step="journalctl -k: its metadata lies on a disk that does not answer",
            )
        for name in self._told_mute - mute:
            self._log.info("pool_status_answers", dm_name=name)
        self._told_mute = mute

    def _seen(self, pool: ThinPool) -> SeenPool | None:
        return self._sight.pools.get(pool.kernel.dm_name) if pool.kernel else None

    def _seconds_until_full(self, pool: ThinPool) -> float:
        seen = self._seen(pool)
        return min(map(seen.seconds_until_full, Device)) if seen else float("inf")

    def _consider(self, pool: ThinPool) -> None:
        record, seen = self._judge.record(pool), self._seen(pool)
        record.filling = seen.filling if seen else {}
        is_busy = self._workers.is_busy(pool.vg_name)
        self._watch_dmeventd(pool, record, is_busy=is_busy)
        decision = self._judge.judge(pool, self._view.snapshot, record.filling)
        if is_busy and (decision.extensions or decision.reason in WHILE_EXTENDING):
            decision = Decision(reason=Reason.BUSY)
        is_first = record.reason is not decision.reason
        record.reason, record.detail = decision.reason, decision.detail
        self._tell(pool, record, decision)
        if not is_busy and decision.extensions:
            self._workers.extend(pool, decision, self._view.snapshot)
        elif not is_busy and self._is_reread_due(pool, record, is_first=is_first):
            self._reread_at[pool.vg_name] = self._clock()
            is_unlisted = decision.reason is Reason.LAYOUT_UNKNOWN or pool.is_renamed
            self._workers.reread(pool.vg_name, is_unlisted=is_unlisted)
        if seen:
            self._sight.pace(seen, self._pace(seen, decision.reason))

    def _pace(self, seen: SeenPool, reason: Reason) -> float:
        interval = self._judge.rules.interval_seconds
        return pause_seconds(seen, reason, interval, pools=len(self._sight.pools))

    def _watch_dmeventd(self, pool: ThinPool, record: PoolRecord, *, is_busy: bool) -> None:
        """Hand a pool back when dmeventd proves alive: it extends, or it is a new one."""
        dmeventd = self._view.snapshot.dmeventd
        has_grown = record.has_grown_by_others(pool, is_busy=is_busy)
        is_new = dmeventd.pid not in {None, record.taken_over_from}
        if not record.is_taken_over or not (has_grown or is_new):
            return
        record.hand_back()
        why = "somebody else has extended the pool" if has_grown else "dmeventd is a new one"
        narrate_hand_back(self._log, pool, why)

    def _tell(self, pool: ThinPool, record: PoolRecord, decision: Decision) -> None:
        if decision.reason not in TOLD_BY_WORKERS and decision.reason is not record.told:
            narrate_state(self._log, pool, decision, record.told)
            record.told = decision.reason
        now = self._clock()
        if record.full_since is None:
            record.told_full_at = NEVER
        elif record.is_queueing and now >= record.told_full_at + SAY_FULL_SECONDS:
            record.told_full_at = now
            narrate_full(self._log, pool, self._judge.queue_seconds_left(record))
        mode, left = self._judge.rules.mode_of(pool), self._judge.queue_seconds_left(record)
        self._herald.tell_state(pool, record, mode, seconds_left=left)

    def _is_reread_due(self, pool: ThinPool, record: PoolRecord, *, is_first: bool) -> bool:
        """Whether LVM should be asked anew about the VG of a pool."""
        if record.reason is Reason.LAYOUT_UNKNOWN:
            # Once: what LVM hides, an exported VG for one, it will go on hiding.
            return is_first and self._view.is_complete
        last = self._reread_at.get(pool.vg_name, NEVER)
        if record.reason is Reason.LAYOUT_DIFFERS:
            every = DIFFERS_SECONDS
        elif record.is_queueing:
            every = QUEUEING_SECONDS
        elif self._news_at > last and record.reason in WAITING_FOR_SPACE:
            every = NEWS_SECONDS
        else:
            return False
        return self._clock() >= last + every

    def _forget_gone(self) -> None:
        if not self._view.is_complete:
            return  # what is remembered from before the start is still to be found
        for label in self._judge.forget_all_but(set(self._view.pools)):
            self._log.info("pool_gone", pool=label)
            self._herald.forget(label)
