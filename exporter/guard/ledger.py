"""What the guard remembers of each pool: its state, its latch, its clocks, its counters."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import structs

from exporter.guard.latch import Latch
from exporter.model import (
    Attempt,
    Decision,
    Device,
    DeviceCounters,
    Failure,
    Filling,
    GuardMode,
    Histogram,
    NextStep,
    Outcome,
    PastExtension,
    PoolGuard,
    PoolMode,
    PoolStatus,
    Reason,
    ThinPool,
)

# lvextend takes 0.1 s on a quiet host, and as long as it likes behind a lock
DURATION_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

EXTENSIONS_KEPT = 5
# Between two looks that both saw a pool above its threshold, or three intervals if that is
# more. What happened in a longer gap (a restart, a hung kernel) nobody saw.
LONGEST_GAP_SECONDS = 10.0

# While one of these holds, the guard is what stands between the pool and its end.
RESPONSIBLE = frozenset(
    {
        Reason.BELOW_THRESHOLD,
        Reason.EXTEND,
        Reason.EXTEND_CLAMPED,
        Reason.EXTEND_ANTICIPATED,
        Reason.BUSY,
        Reason.NO_SPACE,
        Reason.AT_MAX_SIZE,
        Reason.AT_METADATA_LIMIT,
        Reason.LATCHED_REFUSED,
        Reason.LATCHED_INEFFECTIVE,
    }
)

# These last until the kernel or LVM says something new.
RESTING = frozenset(
    {
        Reason.BELOW_THRESHOLD,
        Reason.DMEVENTD_MONITORS,
        Reason.OBSERVE_ONLY,
        Reason.GUARD_OFF,
        Reason.POLICY_OFF,
        Reason.PROFILE_MISSING,
        Reason.NOT_LVM,
        Reason.INACTIVE,
        Reason.FAILED,
        Reason.NEEDS_CHECK,
    }
)

NO_DURATIONS = Histogram(bounds=DURATION_BOUNDS, counts=(0,) * (len(DURATION_BOUNDS) + 1))


# What outlives a restart of the guard.
REMEMBERED_FIELDS = (
    *("lv_uuid", "latch", "was_outdated", "above_since", "above_seen_at", "full_since"),
    *("is_taken_over", "taken_over_from", "last_extensions"),
)


@dataclass(slots=True)
class PoolRecord:
    """One pool's memory; times are on the monotonic clock unless named otherwise."""

    lv_uuid: str = ""  # of the pool that it is about, once LVM has told
    reason: Reason | None = None
    detail: str = ""
    told: Reason | None = None  # the last reason that was logged
    told_full_at: float = float("-inf")
    latch: Latch | None = None
    was_outdated: bool = False  # whether the last extension was refused for an old account
    is_latch_unsettled: bool = False  # until LVM has been read again after a failure
    above_since: float | None = None  # seen above its threshold at every look since
    above_seen_at: float | None = None
    full_since: float | None = None
    is_queueing: bool = False
    is_taken_over: bool = False
    taken_over_from: int | None = None  # dmeventd's process
    is_takeover_untold: bool = False
    wait_until: float = float("-inf")  # nothing is decided for this pool before
    totals: dict[Device, int] = field(default_factory=dict)  # bytes, as last seen
    own_totals: dict[Device, int] = field(default_factory=dict)  # as we have made them
    filling: dict[Device, Filling] = field(default_factory=dict)
    counters: dict[Device, DeviceCounters] = field(
        default_factory=lambda: {device: DeviceCounters() for device in Device}
    )
    clamped_extends: int = 0
    anticipated_extends: int = 0
    takeovers: int = 0
    unarchived_extends: int = 0
    last_extend_at: float | None = None  # seconds since the epoch
    last_extensions: tuple[PastExtension, ...] = ()  # the newest first

    def take_up(self, remembered: PoolRecord) -> None:
        """Know what the guard before this one remembered of the pool."""
        for name in REMEMBERED_FIELDS:
            setattr(self, name, getattr(remembered, name))

    def successor(self) -> PoolRecord:
        """Return a record of another pool under this one's name: its counters go on."""
        return PoolRecord(
            counters=self.counters,
            clamped_extends=self.clamped_extends,
            anticipated_extends=self.anticipated_extends,
            takeovers=self.takeovers,
            unarchived_extends=self.unarchived_extends,
        )

    @property
    def is_at_rest(self) -> bool:
        """Whether time alone changes nothing for this pool."""
        is_waiting = self.above_since is not None or self.full_since is not None
        return self.reason in RESTING and not is_waiting and not self.filling

    def hold_back(self, decision: Decision, now_in: str, *, now: float) -> Decision:
        """Replace an extension that would fail as before by the latch's reason.

        Until LVM has been read again it is not known what has changed: time alone counts.
        """
        latch = self.latch
        if latch is None or not decision.extensions:
            return decision
        present = latch.circumstances if self.is_latch_unsettled else now_in
        if not latch.holds(present, now=now, is_urgent=self.full_since is not None):
            return decision
        return Decision(reason=latch.reason, detail=latch.detail)

    def settle_latch(self, now_in: str) -> None:
        """Compare what failed with what LVM says since.

        What was refused because LVM's account was old is tried once more.
        """
        self.is_latch_unsettled = False
        if self.latch is None:
            return
        is_outdated = (
            self.latch.failure is Failure.REFUSED and self.latch.circumstances != now_in
        )
        is_to_be_repeated = is_outdated and not self.was_outdated
        self.latch = None if is_to_be_repeated else self.latch.renewed(now_in)
        self.was_outdated = is_outdated

    def watch(
        self, pool: ThinPool, decision: Decision, *, now: float, interval_seconds: float
    ) -> None:
        """Remember since when the pool has been full, and above its threshold.

        The pool is looked at once in `interval_seconds` at least.
        """
        is_full = pool.mode is PoolMode.OUT_OF_DATA_SPACE
        if not is_full:
            self.full_since = None
        elif self.full_since is None:
            self.full_since = now
        status = pool.status
        self.is_queueing = bool(is_full and status and status.queue_if_no_space)
        longest_gap = max(LONGEST_GAP_SECONDS, 3 * interval_seconds)
        if decision.is_over_threshold:
            seen_at = self.above_seen_at
            if self.above_since is None or seen_at is None or now > seen_at + longest_gap:
                self.above_since = now
            self.above_seen_at = now
        elif decision.extensions or decision.reason is Reason.BELOW_THRESHOLD:
            self.forget_threshold()

    def forget_threshold(self) -> None:
        """Give dmeventd its whole time again: the pool is not above its threshold."""
        self.above_since = self.above_seen_at = None

    def has_grown_by_others(self, pool: ThinPool, *, is_busy: bool) -> bool:
        """Whether somebody else has extended the pool since this was last asked."""
        totals = _totals(pool.status)
        grown = [
            device
            for device, total in totals.items()
            if total > self.totals.get(device, total) and total != self.own_totals.get(device)
        ]
        self.totals = totals
        return bool(grown) and not is_busy

    def note_own_sizes(self, status: PoolStatus) -> None:
        """Know the sizes after an extension of ours, which may raise metadata with data."""
        self.own_totals = _totals(status)

    def hand_back(self) -> bool:
        """Leave the pool to dmeventd again; whether it had been taken over."""
        was_taken_over, self.is_taken_over = self.is_taken_over, False
        self.forget_threshold()
        return was_taken_over

    def count(self, attempt: Attempt, *, wall: float) -> None:
        """Count what an extension achieved, and what it did not."""
        for outcome in attempt.outcomes:
            self._count(outcome, wall)
        self.unarchived_extends += not attempt.is_archived

    def note_failure(self, decision: Decision, failure: Failure) -> None:
        """Count an extension that could not be started, watched or verified."""
        for extension in decision.extensions:
            device = extension.device
            self.counters[device] = _with_failure(self.counters[device], failure)

    def _count(self, outcome: Outcome, wall: float) -> None:
        device = outcome.extension.device
        counters = self.counters[device]
        if outcome.failure:
            self.counters[device] = _with_failure(counters, outcome.failure)
            return
        added = outcome.after_bytes - outcome.before_bytes
        if added <= 0:
            return  # somebody else had made it that large already
        self.counters[device] = structs.replace(
            counters,
            extends=counters.extends + 1,
            extended_bytes=counters.extended_bytes + added,
        )
        self.clamped_extends += outcome.extension.is_clamped
        self.anticipated_extends += outcome.extension.is_anticipated
        self.last_extend_at = wall
        past = PastExtension(
            at=wall,
            device=device,
            before_bytes=outcome.before_bytes,
            after_bytes=outcome.after_bytes,
            is_clamped=outcome.extension.is_clamped,
            is_anticipated=outcome.extension.is_anticipated,
        )
        self.last_extensions = (past, *self.last_extensions)[:EXTENSIONS_KEPT]

    def queue_seconds_left(self, timeout_seconds: float, *, now: float) -> float | None:
        """Time until the kernel fails the waiting writes of a full pool; None: it does not.

        At most: a pool that was full when the guard first saw it has been so for longer.
        """
        if self.full_since is None or not self.is_queueing or not timeout_seconds:
            return None
        return max(0.0, self.full_since + timeout_seconds - now)

    def report(
        self, mode: GuardMode, steps: tuple[NextStep, ...], *, is_left_to_dmeventd: bool
    ) -> PoolGuard:
        """Freeze the record for the Snapshot."""
        is_acting = mode in {GuardMode.AUTO, GuardMode.ALWAYS}
        is_dmeventds = is_left_to_dmeventd and not self.is_taken_over
        return PoolGuard(
            mode=mode,
            is_responsible=is_acting and not is_dmeventds and self.reason in RESPONSIBLE,
            reason=self.reason or Reason.USAGE_UNKNOWN,
            detail=self.detail,
            steps=steps,
            counters=dict(self.counters),
            clamped_extends=self.clamped_extends,
            anticipated_extends=self.anticipated_extends,
            takeovers=self.takeovers,
            is_taken_over=self.is_taken_over,
            unarchived_extends=self.unarchived_extends,
            last_extend_at=self.last_extend_at,
            last_extensions=self.last_extensions,
            filling=dict(self.filling),
        )


def _totals(status: PoolStatus | None) -> dict[Device, int]:
    """Bytes of the devices whose size is known."""
    if status is None:
        return {}
    usages = {Device.DATA: status.data, Device.METADATA: status.metadata}
    return {device: usage.total_bytes for device, usage in usages.items() if usage is not None}


def _with_failure(counters: DeviceCounters, failure: Failure) -> DeviceCounters:
    failures = counters.failures
    return structs.replace(
        counters, failures={**failures, failure: failures.get(failure, 0) + 1}
    )


def add(histogram: Histogram, seconds: float) -> Histogram:
    """Count one more duration."""
    bucket = sum(seconds > bound for bound in histogram.bounds)
    counts = list(histogram.counts)
    counts[bucket] += 1
    return structs.replace(
        histogram, counts=tuple(counts), total_seconds=histogram.total_seconds + seconds
    )
