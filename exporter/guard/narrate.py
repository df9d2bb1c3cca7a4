"""The guard's log lines: one for each transition and action, with names and sizes."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.events import Log
from exporter.model import Attempt, Decision, ThinPool


def narrate_state(log: Log, pool: ThinPool, decision: Decision, was: object) -> None:
    """Tell that the reason why the guard acts, or does not, has changed."""
    fields = {"was": str(was) if was else "", "detail": decision.detail, **_figures(pool)}
    log.info(
        "pool_state",
        vg=pool.vg_name,
        pool=pool.name,
        reason=str(decision.reason),
        **{name: value for name, value in fields.items() if value != ""},
    )


def narrate_attempt(log: Log, pool: ThinPool, decision: Decision, attempt: Attempt) -> None:
    """Tell what an lvextend achieved, for each LV that was to grow."""
    if not attempt.is_archived:
        step = "make room in LVM's archive_dir, then run vgcfgbackup"
        log.warning("vg_not_archived", vg=pool.vg_name, pool=pool.name, next_step=step)
    for outcome in attempt.outcomes:
        say = log.error if outcome.failure else log.info
        say(
            "extend_failed" if outcome.failure else "pool_extended",
            vg=pool.vg_name,
            pool=pool.name,
            device=str(outcome.extension.device),
            reason=str(outcome.failure or decision.reason),
            size_before_bytes=outcome.before_bytes,
            size_after_bytes=outcome.after_bytes,
            wanted_bytes=outcome.extension.wanted_bytes,
            seconds=round(attempt.duration_seconds, 3),
            exit_status=attempt.exit_status,
            **({"message": attempt.message} if outcome.failure else {}),
        )


def _figures(pool: ThinPool) -> dict[str, object]:
    """Show what a reader of the log needs to judge a transition, as far as it is known."""
    usages = {"data": pool.data, "metadata": pool.metadata}
    figures: dict[str, object] = {}
    for device, usage in usages.items():
        if usage is not None:
            figures[f"{device}_used_bytes"] = usage.used_bytes
            figures[f"{device}_size_bytes"] = usage.total_bytes
    return figures


def narrate_takeover(
    log: Log, pool: ThinPool, activity: Mapping[str, object], above_threshold_seconds: float
) -> None:
    """Tell that the guard does dmeventd's work, and what dmeventd was doing meanwhile."""
    log.warning(
        "takeover",
        vg=pool.vg_name,
        pool=pool.name,
        above_threshold_seconds=above_threshold_seconds,
        **{f"dmeventd_{name}": value for name, value in activity.items()},
        **_figures(pool),
    )


def narrate_hand_back(log: Log, pool: ThinPool, why: str) -> None:
    """Tell that the pool is dmeventd's again."""
    log.info("handed_back", vg=pool.vg_name, pool=pool.name, because=why)


def narrate_full(log: Log, pool: ThinPool, seconds_left: float | None) -> None:
    """Tell that a pool is full, and for how long its writes will wait."""
    say = {} if seconds_left is None else {"writes_fail_in_seconds": round(seconds_left)}
    log.error("pool_full", vg=pool.vg_name, pool=pool.name, **say, **_figures(pool))


def plan(pool: ThinPool, decision: Decision) -> dict[str, object]:
    """Show what is about to be done."""
    sizes = {
        f"{extension.device}_to_bytes": extension.size_bytes
        for extension in decision.extensions
    }
    return {
        "vg": pool.vg_name,
        "pool": pool.name,
        "reason": str(decision.reason),
        **sizes,
        **_figures(pool),
    }
