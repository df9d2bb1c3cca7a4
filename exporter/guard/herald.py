"""Tells the user's hook what the guard has done, or cannot do."""

from __future__ import annotations

from exporter.guard.ledger import PoolRecord
from exporter.hooks import HookEvent, Hooks
from exporter.model import Attempt, Decision, GuardMode, PoolMode, Reason, ThinPool

IMPOSSIBLE = frozenset(
    {
        Reason.NO_SPACE,
        Reason.AT_MAX_SIZE,
        Reason.AT_METADATA_LIMIT,
        Reason.LATCHED_REFUSED,
        Reason.LATCHED_INEFFECTIVE,
        Reason.INTERNAL_ERROR,
    }
)
# The next cycles, or lvextend, will tell what becomes of these.
PASSING = frozenset(
    {
        Reason.EXTEND,
        Reason.EXTEND_CLAMPED,
        Reason.EXTEND_ANTICIPATED,
        Reason.BUSY,
        Reason.LAYOUT_UNKNOWN,
        Reason.LAYOUT_DIFFERS,
        Reason.SUSPENDED,
    }
)


class Herald:
    """Turns verdicts and outcomes into calls of the hook, where there is one."""

    def __init__(self, hooks: Hooks | None = None) -> None:
        self._hooks = hooks

    def tell_state(
        self,
        pool: ThinPool,
        record: PoolRecord,
        mode: GuardMode,
        *,
        seconds_left: float | None,
    ) -> None:
        """Call for a state that lasts, or settle it; one that is about to change is none."""
        if self._hooks is None or record.reason in PASSING or mode is GuardMode.OFF:
            return
        reason = str(record.reason)
        if record.reason in IMPOSSIBLE:
            self._hooks.call(pool, HookEvent.IMPOSSIBLE, reason, seconds_left=seconds_left)
        else:
            self._hooks.settle(pool.label, HookEvent.IMPOSSIBLE)
        if record.full_since is not None:
            self._hooks.call(pool, HookEvent.FULL, reason, seconds_left=seconds_left)
        elif pool.mode is not PoolMode.UNKNOWN:
            self._hooks.settle(pool.label, HookEvent.FULL)

    def tell_growth(self, pool: ThinPool, decision: Decision, attempt: Attempt) -> None:
        """Call for what has grown."""
        added = {
            outcome.extension.device: outcome.after_bytes - outcome.before_bytes
            for outcome in attempt.outcomes
            if outcome.after_bytes > outcome.before_bytes
        }
        if self._hooks and added:
            reason = str(decision.reason)
            self._hooks.call(pool, HookEvent.EXTENDED, reason, added_bytes=added)

    def forget(self, pool_label: str) -> None:
        """Call no more for a pool that is gone."""
        if self._hooks:
            self._hooks.settle(pool_label, *HookEvent)
