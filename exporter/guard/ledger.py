"""What the guard remembers of each pool: its state, its latch, its counters.

A latch holds back a repetition that would end as before. It opens when something that
could change the outcome has changed; a refusal may also pass by itself (a lock, a busy
VG), so it is tried again, ever more rarely; an extension without effect is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import structs

from exporter.model import (
    Attempt,
    Decision,
    Device,
    DeviceCounters,
    Failure,
    GuardMode,
    Histogram,
    NextStep,
    Outcome,
    PoolGuard,
    Reason,
    ThinPool,
    VolumeGroup,
)

FIRST_RETRY_SECONDS = 10.0
LAST_RETRY_SECONDS = 600.0
# lvextend takes 0.1 s on a quiet host, and as long as it likes behind a lock
DURATION_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# While one of these holds, the guard is what stands between the pool and its end.
RESPONSIBLE = frozenset(
    {
        Reason.BELOW_THRESHOLD,
        Reason.EXTEND,
        Reason.EXTEND_CLAMPED,
        Reason.BUSY,
        Reason.NO_SPACE,
        Reason.AT_MAX_SIZE,
        Reason.AT_METADATA_LIMIT,
        Reason.LATCHED_REFUSED,
        Reason.LATCHED_INEFFECTIVE,
    }
)

NO_DURATIONS = Histogram(bounds=DURATION_BOUNDS, counts=(0,) * (len(DURATION_BOUNDS) + 1))

Circumstances = tuple[object, ...]


def circumstances(pool: ThinPool, group: VolumeGroup | None) -> Circumstances:
    """Everything whose change could make a failed extension succeed."""
    status = pool.kernel.status if pool.kernel else None
    return (
        pool.lvm and (pool.lvm.size_bytes, pool.lvm.metadata_size_bytes),
        group and (group.seqno, group.usable_free_extents),
        pool.profile,
        pool.policy,
        status and (status.mode, status.needs_check),
        status and status.data and status.data.total_blocks,
        status and status.metadata and status.metadata.total_blocks,
    )


@dataclass(slots=True)
class Latch:
    """Why and under which circumstances an extension failed."""

    reason: Reason
    detail: str
    circumstances: Circumstances
    retry_at: float | None
    retry_seconds: float


@dataclass(slots=True)
class PoolRecord:
    """One pool's memory; times are on the monotonic clock unless named otherwise."""

    reason: Reason | None = None
    detail: str = ""
    told: Reason | None = None  # the last reason that was logged
    latch: Latch | None = None
    above_since: float | None = None
    is_taken_over: bool = False
    counters: dict[Device, DeviceCounters] = field(
        default_factory=lambda: {device: DeviceCounters() for device in Device}
    )
    clamped_extends: int = 0
    anticipated_extends: int = 0
    takeovers: int = 0
    last_extend_at: float | None = None  # seconds since the epoch

    def hold_back(self, decision: Decision, now_in: Circumstances, *, now: float) -> Decision:
        """Replace an extension that would fail as before by the latch's reason."""
        latch = self.latch
        if latch is None or not decision.extensions:
            return decision
        if latch.circumstances != now_in or (
            latch.retry_at is not None and now >= latch.retry_at
        ):
            return decision
        return Decision(reason=latch.reason, detail=latch.detail)

    def watch_threshold(self, decision: Decision, *, now: float) -> None:
        """Remember since when the pool has been in need of an extension."""
        if decision.reason is Reason.BELOW_THRESHOLD:
            self.above_since, self.is_taken_over = None, False
        elif decision.extensions and self.above_since is None:
            self.above_since = now

    def note_attempt(
        self, attempt: Attempt, now_in: Circumstances, *, now: float, wall_now: float
    ) -> None:
        """Count what an extension achieved, and latch what it did not."""
        for outcome in attempt.outcomes:
            self._count(outcome, wall_now)
        if not attempt.failures:
            self.latch = None
            return
        failure = attempt.failures[0].failure or Failure.REFUSED
        self._close_latch(failure, attempt.message, now_in, now)

    def note_failure(self, decision: Decision, failure: Failure) -> None:
        """Count an extension that could not be started, watched or verified."""
        for extension in decision.extensions:
            device = extension.device
            self.counters[device] = _with_failure(self.counters[device], failure)

    def _count(self, outcome: Outcome, wall_now: float) -> None:
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
        self.last_extend_at = wall_now

    def _close_latch(
        self, failure: Failure, detail: str, now_in: Circumstances, now: float
    ) -> None:
        is_refused = failure is Failure.REFUSED
        seconds = FIRST_RETRY_SECONDS
        if self.latch and self.latch.circumstances == now_in:
            seconds = min(2 * self.latch.retry_seconds, LAST_RETRY_SECONDS)
        self.latch = Latch(
            reason=Reason.LATCHED_REFUSED if is_refused else Reason.LATCHED_INEFFECTIVE,
            detail=detail,
            circumstances=now_in,
            retry_at=now + seconds if is_refused else None,
            retry_seconds=seconds,
        )

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
            last_extend_at=self.last_extend_at,
        )


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
