"""Latches: they hold back a repetition that would end as before.

A latch opens when something that could change the outcome has changed. What may pass by
itself (a lock, a busy VG, a program that could not be started) is tried again, ever more
rarely, and soon while the pool is full; an extension without effect is not.
"""

from __future__ import annotations

from msgspec import Struct, structs

from exporter.model import Failure, Reason, ThinPool, VolumeGroup

FIRST_RETRY_SECONDS = 10.0
LAST_RETRY_SECONDS = 600.0
# The kernel fails the writes to a full pool after a minute.
URGENT_RETRY_SECONDS = 2.0

_REASONS = {
    Failure.INEFFECTIVE: Reason.LATCHED_INEFFECTIVE,
    Failure.INTERNAL_ERROR: Reason.INTERNAL_ERROR,
}


def circumstances(pool: ThinPool, group: VolumeGroup | None) -> str:
    """Everything whose change could make a failed extension succeed, as text.

    Text, because it outlives this process: a guard that is restarted reads it again.
    """
    status = pool.status
    data, metadata = (status.data, status.metadata) if status else (None, None)
    lvm = pool.lvm
    return repr(
        (
            lvm and (lvm.lv_uuid, lvm.size_bytes, lvm.metadata_size_bytes, lvm.is_locked),
            group and (group.uuid, group.seqno, group.usable_free_extents),
            pool.profile,
            pool.policy,
            status and (str(status.mode), status.needs_check, status.is_suspended),
            data and data.total_blocks,
            metadata and metadata.total_blocks,
        )
    )


class Latch(Struct, frozen=True, kw_only=True):
    """Why, when and under which circumstances an extension failed.

    Times are monotonic seconds; `retry_seconds` is None for what only a change can mend.
    """

    failure: Failure
    detail: str
    circumstances: str
    closed_at: float
    retry_seconds: float | None

    @classmethod
    def close(
        cls, failure: Failure, detail: str, now_in: str, *, now: float, last: Latch | None
    ) -> Latch:
        """Close it, or close it again for longer if nothing has changed since the last."""
        seconds: float | None = FIRST_RETRY_SECONDS
        if last and last.circumstances == now_in and last.retry_seconds:
            seconds = min(2 * last.retry_seconds, LAST_RETRY_SECONDS)
        if failure is Failure.INEFFECTIVE:
            seconds = None
        return cls(
            failure=failure,
            detail=detail,
            circumstances=now_in,
            closed_at=now,
            retry_seconds=seconds,
        )

    def renewed(self, now_in: str) -> Latch:
        """Return it for other circumstances, known only since it was closed."""
        return structs.replace(self, circumstances=now_in)

    @property
    def reason(self) -> Reason:
        """What the guard's state says while this holds."""
        return _REASONS.get(self.failure, Reason.LATCHED_REFUSED)

    def holds(self, now_in: str, *, now: float, is_urgent: bool) -> bool:
        """Whether an extension would still end as the last one did."""
        if self.circumstances != now_in:
            return False
        if self.retry_seconds is None:
            return True
        wait = (
            min(self.retry_seconds, URGENT_RETRY_SECONDS) if is_urgent else self.retry_seconds
        )
        return now < self.closed_at + wait
