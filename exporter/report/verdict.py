"""One plain verdict for a pool: what protects it from filling up, or why nothing does."""

from __future__ import annotations

from msgspec import Struct

from exporter.model import Device, GuardMode, PoolMode, Reason
from exporter.report.case import Case
from exporter.report.finding import Line, Remedy, Severity, run, say
from exporter.report.reasons import WORDS
from exporter.report.room import grow_by_hand
from exporter.report.text import no_look_words, operand, shown

UNKNOWN = frozenset({Reason.USAGE_UNKNOWN, Reason.LAYOUT_UNKNOWN, Reason.POLICY_UNKNOWN})
# With one of these it is a matter of who extends the pool; else nobody can.
OPEN = frozenset(
    {
        Reason.BELOW_THRESHOLD,
        Reason.EXTEND,
        Reason.EXTEND_CLAMPED,
        Reason.EXTEND_ANTICIPATED,
        Reason.NO_SPACE,
        Reason.AT_METADATA_LIMIT,
    }
)
# lvmlockd lets dmeventd extend a pool of a shared VG; the guard keeps away from it.
DMEVENTD_CAN = frozenset({Reason.BELOW_THRESHOLD, Reason.EXTEND, Reason.VG_SHARED})
GUARD_CAN = frozenset(
    {
        Reason.BELOW_THRESHOLD,
        Reason.EXTEND,
        Reason.EXTEND_CLAMPED,
        Reason.EXTEND_ANTICIPATED,
        Reason.BUSY,
    }
)
IDLE = {GuardMode.OFF: "is switched off for it", GuardMode.OBSERVE: "only observes"}


class Verdict(Struct, frozen=True, kw_only=True):
    """The verdict as a sentence, its part in the first line, and what to do about it."""

    severity: Severity
    text: str
    brief: str
    remedy: Remedy = ()


def verdict(case: Case) -> Verdict:
    """Tell what protects a pool."""
    reason = case.decision.reason
    if case.pool.is_stratis:
        text = "stratisd made this pool and extends it"
        return Verdict(severity=Severity.OK, text=text, brief="extended by stratisd")
    if reason in UNKNOWN and not case.namesakes:
        text = f"cannot tell what protects it: {WORDS[reason]}"
        return Verdict(severity=Severity.UNKNOWN, text=text, brief="protection unknown")
    protectors = [name for name in (_dmeventd(case), _guard(case)) if name]
    if protectors:
        text = "protected by " + " and by ".join(protectors)
        return Verdict(severity=Severity.OK, text=text, brief=text)
    return Verdict(
        severity=_severity(case),
        text=f"not protected: {_why(case)}",
        brief="not protected",
        remedy=_remedy(case),
    )


def _dmeventd(case: Case) -> str | None:
    extends = case.settings.replaced_thin_command is None
    is_there = case.pool.is_monitored and case.dmeventd.is_answering and extends
    can = case.decision.reason in DMEVENTD_CAN and _has_step(case) and case.fits
    return "dmeventd" if is_there and can else None


def _guard(case: Case) -> str | None:
    is_there = case.is_guard_at_work and case.judged and case.judged.is_responsible
    return case.guard_name if is_there and _guard_hindrance(case) is None else None


def _has_step(case: Case) -> bool:
    policy = case.pool.policy
    return policy is not None and not policy.is_off and policy.step_percent > 0


def _guard_hindrance(case: Case) -> str | None:
    """Find why a guard that is responsible could not help after all."""
    judged = case.judged
    if judged is None:
        return "it does not know the pool yet"
    if judged.reason not in GUARD_CAN:
        return f"{WORDS[judged.reason]}{_detail(judged.detail)}"
    if not _has_step(case):
        return WORDS[Reason.POLICY_STEP_ZERO]
    empty = [s.device for s in judged.steps if s.wanted_bytes and not s.possible_bytes]
    if empty:
        what = " and ".join(str(device) for device in empty)
        return f"the VG, or a limit of the configuration, leaves nothing for its {what}"
    return None if judged.steps else "nobody can tell what the VG could give"


def _detail(detail: str) -> str:
    return f" ({shown(detail)})" if detail else ""


def _severity(case: Case) -> Severity:
    """Over the threshold with nobody to extend it is critical; below there is still time."""
    is_taken_over = (
        bool(case.pool.is_monitored) and case.is_takeover_likely and case.decision.extensions
    )
    return Severity.CRITICAL if case.devices_over and not is_taken_over else Severity.WARNING


def _why(case: Case) -> str:
    reason = case.decision.reason
    if case.namesakes:
        return f"{namesake_words(case)}: LVM changes none of them"
    if reason not in OPEN and not (reason is Reason.VG_SHARED and case.pool.is_monitored):
        return WORDS[reason]
    if not _has_step(case):
        return WORDS[Reason.POLICY_STEP_ZERO]
    if case.is_guard_at_work and case.judged and case.judged.is_responsible:
        hindrance = _guard_hindrance(case)
        return f"{case.guard_name} is responsible, but cannot help: {hindrance}"
    return f"{_why_not_dmeventd(case)}; {_why_not_guard(case)}"


def _why_not_dmeventd(case: Case) -> str:
    if case.dmeventd.is_alive is False:
        return "dmeventd is not running"
    if case.dmeventd.is_alive and not case.dmeventd.is_answering:
        return f"dmeventd (pid {case.dmeventd.pid}) is stopped and does not answer"
    if case.pool.is_monitored is None:
        return "nobody can tell whether dmeventd monitors it"
    if not case.pool.is_monitored:
        return "dmeventd does not monitor it"
    if other := case.settings.replaced_thin_command:
        return f"dmeventd monitors it, but runs {shown(other)} instead of extending it"
    return (
        "dmeventd monitors it, but the next extension does not fit: "
        "LVM extends by all or nothing"
    )


def _why_not_guard(case: Case) -> str:
    if case.note is None:
        return "no guard is running"
    if case.silence_seconds is not None:
        return f"{case.guard_name} {no_look_words(case.silence_seconds)}"
    if case.judged is None:
        return f"{case.guard_name} does not know it yet"
    if case.judged.mode in IDLE:
        return f"{case.guard_name} {IDLE[case.judged.mode]}"
    if case.pool.is_monitored is not False and case.judged.mode is GuardMode.AUTO:
        return f"{case.guard_name} leaves it to dmeventd, and takes over if it stays over"
    return f"{case.guard_name}: {WORDS[case.judged.reason]}{_detail(case.judged.detail)}"


def _remedy(case: Case) -> Remedy:
    """Name who could protect the pool, where it is a matter of that alone."""
    if case.decision.reason not in OPEN or not _has_step(case):
        return ()
    # In any other mode the finding about it says how to extend the pool.
    over = case.devices_over if case.pool.mode is PoolMode.RW else ()
    now = [line for device in over for line in grow_by_hand(case, device)]
    return (*now, *_start_guard(case), *_start_dmeventd(case))


def _start_guard(case: Case) -> tuple[Line, ...]:
    if case.note is None:
        return (
            say("Let the guard protect it; it gives what there is (the configuration must not"),
            say("say otherwise):"),
            run("systemctl", "enable", "--now", "thinpool-guard.service"),
            say("Or without its units, for as long as it runs:"),
            run("thinpool-exporter", "run"),
        )
    if case.silence_seconds is not None:
        return restart_guard()
    if case.judged and case.judged.reason is Reason.INTERNAL_ERROR:
        return (
            say("An internal error is a bug: please report it, with the lines of the log that"),
            say("name the pool and the stage. The guard goes on trying:"),
            run("journalctl", "--no-pager", "-u", "thinpool-guard", "-n", "50"),
            say("Meanwhile nothing extends the pool when it fills. By hand:"),
            *grow_by_hand(case, Device.DATA),
        )
    if case.judged and case.judged.mode in IDLE:
        return (
            say(f"Let {case.guard_name} act: set guard.mode, or the mode of this pool under"),
            say("pools, to auto in its configuration, and have it read again:"),
            run("systemctl", "reload", "thinpool-guard.service"),
        )
    return ()


def restart_guard() -> Remedy:
    """Find out what became of a guard that runs and does nothing."""
    return (
        say("See what became of the guard, and start it again:"),
        run("systemctl", "--no-pager", "status", "thinpool-guard.service"),
        run("systemctl", "restart", "thinpool-guard.service"),
    )


def _start_dmeventd(case: Case) -> tuple[Line, ...]:
    if case.dmeventd.is_alive and not case.dmeventd.is_answering:
        pid = str(case.dmeventd.pid)
        return (
            say("Find out who stopped dmeventd, and let it go on:"),
            run("ps", "-o", "pid,stat,lstart,args", "-p", pid),
            run("kill", "-CONT", pid),
        )
    if not case.fits:
        return ()
    restore = _restore_thin_command(case) if case.settings.replaced_thin_command else ()
    if case.pool.is_monitored:
        return restore
    return (
        *restore,
        say("Or let dmeventd protect it; LVM starts it where it is installed:"),
        run("lvchange", "--monitor", "y", *operand(case.pool.label)),
        *_keep_monitoring(case),
    )


def _restore_thin_command(case: Case) -> tuple[Line, ...]:
    is_left = case.note is not None and case.judged and case.judged.mode is GuardMode.AUTO
    at_once = say("Let the guard act at once: set this pool's mode to always, or do this:")
    return (
        *((at_once,) if is_left else ()),
        say("Let dmeventd extend pools again: in lvm.conf, section dmeventd, set"),
        say('  thin_command = "lvm lvextend --use-policies"'),
        say("and have dmeventd read it:"),
        run("dmeventd", "-R"),
    )


def _keep_monitoring(case: Case) -> tuple[Line, ...]:
    policy = case.pool.policy
    if policy is None or policy.is_monitoring_enabled is not False:
        return ()
    return (
        say("lvm.conf has activation/monitoring=0: set it to 1, or the next activation"),
        say("of the pool forgets it again."),
    )


def namesake_words(case: Case) -> str:
    """Say that several VGs have the name of the pool's."""
    return f"{len(case.namesakes)} VGs are named {shown(case.pool.vg_name)}"


def over_words(case: Case, device: Device) -> str:
    """Mark a device that is above its threshold."""
    return ", over its threshold" if case.is_over(device) else ""
