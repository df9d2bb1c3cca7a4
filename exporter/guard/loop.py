"""The guard's loop: wakes, reads the pools' status, decides, and sets workers going.

It asks nothing but the kernel, which takes microseconds, and waits for nothing else: no
file, no lock that a collector holds, no log. Whatever can hang is a worker's business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from exporter.collection import Collection
from exporter.devmapper import Kernel
from exporter.errors import quote
from exporter.events import Log
from exporter.extend import Extender
from exporter.guard.backoff import NEVER, Backoff
from exporter.guard.herald import Herald
from exporter.guard.judge import Judge
from exporter.guard.latch import circumstances
from exporter.guard.ledger import PoolRecord
from exporter.guard.memory import MemoryFile
from exporter.guard.narrate import narrate_full, narrate_hand_back, narrate_state
from exporter.guard.pace import pause_seconds
from exporter.guard.rules import Clocks, Rules
from exporter.guard.sight import OvertakenError, SeenPool, Sight
from exporter.guard.view import View
from exporter.guard.worker import ALL_GROUPS, Workers
from exporter.hooks import Hooks
from exporter.model import (
    Decision,
    Device,
    GuardMode,
    PoolSource,
    Reason,
    Snapshot,
    Stage,
    ThinPool,
)
from exporter.snapshot import LivePools

# A pool passes through these while lvextend works on it.
WHILE_EXTENDING = frozenset({Reason.SUSPENDED, Reason.LAYOUT_DIFFERS})
# These end with a line of the worker's own.
TOLD_BY_WORKERS = frozenset(
    {Reason.EXTEND, Reason.EXTEND_CLAMPED, Reason.EXTEND_ANTICIPATED, Reason.BUSY}
)
# In these, space that comes free in the VG is good news.
WAITING_FOR_SPACE = frozenset({Reason.NO_SPACE, Reason.LATCHED_REFUSED})
# What an account that was worked out says only until LVM has been read again.
PROVISIONAL = WHILE_EXTENDING | {
    Reason.NO_SPACE,
    Reason.AT_METADATA_LIMIT,
    Reason.LAYOUT_UNKNOWN,
}
# How soon a VG is read again: while a pool differs from LVM's account, has writes that wait,
# after a device-mapper event if it waits for space, and while lvs serves for the kernel. All
# but the last are repeated ever more rarely while nothing changes; then the schedule serves.
DIFFERS_SECONDS, QUEUEING_SECONDS, NEWS_SECONDS = 1.0, 2.0, 5.0
LVS_SERVES_SECONDS = 5.0
LAST_REREAD_SECONDS = 60.0
SAY_FULL_SECONDS = 10.0
# A cycle takes milliseconds; on a host that is short of everything, seconds.
OVERDUE_SECONDS = 5.0
# A status takes microseconds, or waits for a disk.
MUTE_SECONDS, MUTE_AGAIN_SECONDS = 2.0, 0.25
# No more than a hundred cycles in a second, whatever wakes the loop; and no more than ten looks
# at all pools because of events, of which there may be hundreds.
SHORTEST_CYCLE_SECONDS, EVENT_LOOK_SECONDS = 0.01, 0.1
# The pause after a cycle that met an exception outside all other bulkheads.
FAILED_CYCLE_SECONDS = 0.1
# How long a pool is left alone whose decision met an exception: doubled each time.
FIRST_UNDECIDED_SECONDS, LAST_UNDECIDED_SECONDS = 1.0, 30.0


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
        self._bulkheads = collection.bulkheads
        self._judge = Judge(
            rules,
            clocks,
            no_space_timeout=lambda: collection.no_space_timeout_seconds,
            lvm_seconds=lambda: collection.lvm_seconds,
            bulkheads=self._bulkheads,
        )
        self._wanted_rules = rules
        self._sight = Sight(kernel, clocks.monotonic, bulkheads=self._bulkheads)
        self._view = View(self._bulkheads)
        self._workers = Workers(
            collection,
            extender,
            judge=self._judge,
            log=log,
            on_end=self._end_work,
        )
        # Set when there is something to save for the next guard.
        self.has_news = self._workers.has_news
        self._workers.supervise()
        self._herald = Herald()
        self._memory: Callable[[], MemoryFile | None] = lambda: None
        self._rereads: dict[str, _Reread] = {}
        self._undecided: dict[str, Backoff] = {}
        self._given: set[str] = set()  # VGs in which this cycle has had a pool extended
        self._whole_at = NEVER
        self._news_at = NEVER
        self._has_event = False  # one that no look at all pools has followed yet
        self._event_look_at = NEVER
        self._is_behind = False  # whether changes were seen that nobody has judged
        self._last_cycle_at: float | None = None
        self._cycled_at = NEVER
        self._told_mute: frozenset[str] = frozenset()

    def remember_in(self, memory: Callable[[], MemoryFile | None]) -> None:
        """Take up what the guard before this one left, and keep it for the next one.

        To be called again when this process may extend from now on: only then is there a
        memory. Not for the loop's thread.
        """
        had = self._memory()
        self._memory = memory
        if (file := memory()) and file is not had:
            with self._bulkheads.contain(Stage.STATE_FILE):
                self._judge.take_up(file.load())

    def follow(self, rules: Rules) -> None:
        """Go by these rules from the next cycle on, which comes at once; for any thread."""
        self._wanted_rules = rules
        self._kernel.wake()

    def call(self, hooks: Hooks) -> None:
        """Tell the user's hook from now on."""
        self._herald = self._workers.herald = Herald(hooks)

    def run(self, stop: threading.Event, on_cycle: Callable[[], None] = lambda: None) -> None:
        """Cycle until `stop` is set; nothing that a cycle meets ends the guard.

        Two cycles begin at least SHORTEST_CYCLE_SECONDS apart.
        It returns early if another thread has been started to run it: see `step_over`.
        """
        while not stop.is_set():
            began = self._clock()
            has_event = self._take_event(began)
            try:
                if not self._has_event:
                    # Armed before anything is read, so that no event is lost in between; not
                    # while one waits to be looked at, or the next would end the pause.
                    with self._bulkheads.contain(Stage.CYCLE, "arm"):
                        self._kernel.arm()
                with self._bulkheads.contain(Stage.CYCLE) as bulkhead:
                    self.cycle(has_event=has_event)
                    on_cycle()
                    self._bulkheads.is_over(Stage.CYCLE, "")
                    self._has_event |= self._kernel.wait(self._pause())
            except OvertakenError:
                return
            if bulkhead.error:
                self._is_behind = True
                stop.wait(FAILED_CYCLE_SECONDS)
            stop.wait(max(0.0, began + SHORTEST_CYCLE_SECONDS - self._clock()))

    def _take_event(self, now: float) -> bool:
        """Return whether to look at all pools because of an event; not too often."""
        if not self._has_event or now < self._event_look_at + EVENT_LOOK_SECONDS:
            return False
        self._has_event, self._event_look_at = False, now
        return True

    def step_over(self) -> bool:
        """Give up the thread that runs this if it waits in the kernel for a disk.

        Then another thread must run it: one pool must not keep the others from being guarded.
        """
        # Where one pool waits for a disk, more of them may.
        patience = MUTE_AGAIN_SECONDS if self._sight.mute else MUTE_SECONDS
        return self._sight.step_over(patience)

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
        self._sight.interval_seconds = self._judge.rules.interval_seconds
        if is_whole:
            # First: a cycle that fails must not be repeated at once.
            self._whole_at = now + self._judge.rules.interval_seconds
        self._say_mute()
        is_all = has_event or is_whole
        changed = self._sight.look(is_all=is_all)
        is_moved = is_all and self._sight.list_devices(has_event=has_event)
        # Before LVM's account is taken: who is free by now has left the account up to date.
        busy, reading = self._workers.busy(), self._workers.reading()
        self._given.clear()
        readings = self._collection.readings
        is_old = has_new_rules or self._view.is_stale(readings)
        is_ageing = is_whole and self._view.is_ageing
        is_rebuilt = is_moved or self._is_behind or is_old or is_ageing
        if is_rebuilt:
            oldest_lvm = now - self._collection.lvm_lasts_seconds
            self._view.rebuild(readings, self._sight, oldest_lvm=oldest_lvm)
            self._is_behind = False
        pools = self._view.update(changed)
        if is_rebuilt:
            pools = [*self._view.pools.values()]
        elif is_whole:
            pools = self._restless(pools)
        for pool in sorted(pools, key=self._seconds_until_full):
            self._consider_contained(pool, busy, reading)
        if is_rebuilt:
            self._forget_gone()
        self._last_cycle_at = self._judge.clocks.wall()
        self._cycled_at = self._clock()

    def _consider_contained(
        self, pool: ThinPool, busy: frozenset[str], reading: frozenset[str]
    ) -> None:
        """Decide for one pool; an exception costs no other pool anything."""
        backoff = self._undecided.get(pool.label)
        if backoff and not backoff.is_over(self._clock()):
            return
        with self._bulkheads.contain(Stage.DECIDE, pool.label) as bulkhead:
            self._consider(pool, busy, reading)
            if self._undecided.pop(pool.label, None):
                self._bulkheads.is_over(Stage.DECIDE, pool.label)
            return
        backoff = self._undecided.setdefault(
            pool.label, Backoff(FIRST_UNDECIDED_SECONDS, LAST_UNDECIDED_SECONDS)
        )
        backoff.note_failure(self._clock())
        record = self._judge.record(pool)
        record.reason, record.detail = Reason.INTERNAL_ERROR, quote(repr(bulkhead.error))
        if seen := self._seen(pool):
            self._sight.pace(seen, self._judge.rules.interval_seconds)

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
            snapshot,
            durations=self._workers.durations,
            last_cycle_at=self._last_cycle_at,
            is_cycling=self._last_cycle_at is None or self.is_cycling(),
        )

    def is_cycling(self) -> bool:
        """Return whether a cycle was completed lately."""
        longest = self._judge.rules.interval_seconds + OVERDUE_SECONDS
        return self._clock() <= self._cycled_at + longest

    def live_pools(self) -> LivePools | None:
        """Return every live pool as last seen; None before the first look."""
        reading = self._sight.reading()
        if reading is None:
            return None
        return LivePools(
            reading=reading,
            read_at=self._sight.read_times(),
            listed_at=self._sight.listed_at,
            lasts_seconds=self._sight.lasts_seconds,
        )

    def supervise(self) -> None:
        """Replace threads that hang; to be repeated, not by the loop's thread."""
        self._workers.supervise()

    def keep_ready(self) -> None:
        """Have an extension begin at once when one is needed; not for the loop's thread."""
        if self._judge.rules.may_extend:
            self._workers.keep_ready()

    def save(self) -> None:
        """Keep for the next guard what it must not forget; not for the loop's thread."""
        with self._bulkheads.contain(Stage.STATE_FILE):
            if file := self._memory():
                file.save(self._judge.records)

    def join_workers(self, timeout_seconds: float) -> bool:
        """Wait until no extension is under way; return false if one is after the timeout."""
        return self._workers.join(timeout_seconds)

    def _end_work(self, device: str) -> None:
        """Have the loop look at a device at once; for any thread."""
        self._sight.hurry(device)
        self._kernel.wake()

    def _pause(self) -> float:
        """Return the seconds until something is due: a pool of its own, or all."""
        due = [self._whole_at, *self._sight.due_times()]
        if self._has_event:
            due.append(self._event_look_at + EVENT_LOOK_SECONDS)
        return max(0.0, min(due) - self._clock())

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

    def _consider(self, pool: ThinPool, busy: frozenset[str], reading: frozenset[str]) -> None:
        record, seen = self._judge.recognise(pool), self._seen(pool)
        record.filling = seen.filling if seen else {}
        is_busy = pool.vg_name in busy
        is_late = self._workers.is_late(pool)
        is_read = not is_busy and pool.vg_name not in reading
        if record.is_latch_unsettled and is_read:
            group = self._view.snapshot.volume_group(pool.vg_name)
            record.settle_latch(circumstances(pool, group))
        self._watch_dmeventd(pool, record, is_busy=is_busy or is_late)
        decision = self._judge.judge(pool, self._view.snapshot, record.filling)
        is_mute = pool.device_name in self._sight.mute or is_late
        if is_mute and decision.extensions:
            # By lvs it should be extended; but lvextend would wait for the same disk.
            decision = Decision(reason=Reason.USAGE_UNKNOWN)
        if self._is_provisional(pool, record, decision, is_busy=is_busy):
            decision = Decision(reason=Reason.BUSY)
        is_first = record.reason is not decision.reason
        record.reason, record.detail = decision.reason, decision.detail
        self._tell(pool, record, decision)
        if decision.extensions:
            self._given.add(pool.vg_name)
            self._workers.extend(pool, decision, self._view.snapshot)
        elif is_read and not is_mute:
            self._reread_if_due(pool, record, is_first=is_first)
        if seen:
            interval, pools = self._judge.rules.interval_seconds, len(self._sight.pools)
            pause = pause_seconds(seen, decision.reason, interval, pools=pools)
            self._sight.pace(seen, pause)

    def _is_provisional(
        self, pool: ThinPool, record: PoolRecord, decision: Decision, *, is_busy: bool
    ) -> bool:
        """Return whether to wait: for the end of an extension, or of reading LVM again."""
        if is_busy:
            return bool(decision.extensions) or decision.reason in WHILE_EXTENDING
        if decision.extensions:
            # Also if another pool of the VG was given to a worker in this very cycle: what that
            # leaves is not known before the next one, even if it has ended by now.
            return pool.vg_name in self._given or self._clock() < record.wait_until
        return decision.reason in PROVISIONAL and self._workers.is_estimated(pool.vg_name)

    def _watch_dmeventd(self, pool: ThinPool, record: PoolRecord, *, is_busy: bool) -> None:
        """Hand a pool back when dmeventd proves alive: it extends, or it is a new one.

        One that extends has its whole time again before the next takeover.
        """
        dmeventd = self._view.snapshot.dmeventd
        has_grown = record.has_grown_by_others(pool, is_busy=is_busy)
        is_new = dmeventd.pid not in {None, record.taken_over_from}
        if has_grown and not record.is_taken_over:
            record.forget_threshold()
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

    def _reread_if_due(self, pool: ThinPool, record: PoolRecord, *, is_first: bool) -> None:
        """Have LVM read again about a pool, ever more rarely while that changes nothing."""
        pause = self._reread_pause(pool, record, is_first=is_first)
        if pause is None:
            return
        is_unlisted = record.reason is Reason.LAYOUT_UNKNOWN or pool.is_renamed
        name = ALL_GROUPS if is_unlisted else pool.vg_name
        group = self._view.snapshot.volume_group(pool.vg_name)
        why = f"{record.reason} {circumstances(pool, group)}"
        if not pool.is_by_kernel:
            why += f" {pool.data}"  # it fills, and lvs alone tells
        reread = self._rereads.setdefault(name, _Reread())
        if reread.is_due(self._clock(), pause, pool.label, why):
            self._workers.reread(name)

    def _reread_pause(
        self, pool: ThinPool, record: PoolRecord, *, is_first: bool
    ) -> float | None:
        """Return how soon LVM should be read again about a pool; None: by the schedule."""
        is_ours = pool.source is PoolSource.LVM and bool(pool.vg_name)
        if not is_ours or self._judge.rules.mode_of(pool) is GuardMode.OFF:
            return None
        if record.reason is Reason.LAYOUT_UNKNOWN:
            # Once: what LVM hides, an exported VG for one, it will go on hiding.
            return 0.0 if is_first and self._view.is_complete else None
        known = self._rereads.get(pool.vg_name)
        has_news = self._news_at > (known.at if known else NEVER)
        pauses = (
            (record.reason is Reason.LAYOUT_DIFFERS, DIFFERS_SECONDS),
            (record.is_queueing, QUEUEING_SECONDS),
            (has_news and record.reason in WAITING_FOR_SPACE, NEWS_SECONDS),
            (pool.status is not None and not pool.is_by_kernel, LVS_SERVES_SECONDS),
        )
        return next((pause for applies, pause in pauses if applies), None)

    def _forget_gone(self) -> None:
        if not self._view.is_complete:
            return  # what is remembered from before the start is still to be found
        for label in self._judge.forget_all_but(set(self._view.pools)):
            self._log.info("pool_gone", pool=label)
            self._herald.forget(label)
            self._undecided.pop(label, None)
        vg_names = {pool.vg_name for pool in self._view.pools.values()}
        for name in self._rereads.keys() - vg_names - {ALL_GROUPS}:
            del self._rereads[name]
        self._workers.forget_all_but(vg_names)


FIRST_FACTOR = 0.5  # so that the first repetition comes after the whole pause


class _Reread:
    """When a VG was last read again, and how often in vain for each of its pools."""

    def __init__(self) -> None:
        self.at = NEVER
        self._tried: dict[str, tuple[str, float]] = {}  # by pool: why, and the next factor

    def is_due(self, now: float, pause_seconds: float, label: str, why: str) -> bool:
        """Return whether to read now; while `why` stays the same, the pause doubles."""
        known, factor = self._tried.get(label, ("", FIRST_FACTOR))
        factor = factor if known == why else FIRST_FACTOR
        if now < self.at + min(pause_seconds * factor, LAST_REREAD_SECONDS):
            self._tried[label] = (why, factor)
            return False
        self.at = now
        self._tried[label] = (why, min(2 * factor, LAST_REREAD_SECONDS))
        return True
