"""Findings about what LVM makes of a pool's policy: its profile, threshold and step."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.autoextend import MIN_THRESHOLD_PERCENT
from exporter.report.case import Case
from exporter.report.finding import Finding, Line, Remedy, Severity, run, say, write_file
from exporter.report.text import operand, shown, whole_percent

PROFILE_DIRECTORY = "/etc/lvm/profile"
THRESHOLD_PERCENT, STEP_PERCENT = 80, 20
SETTINGS = (
    f"thin_pool_autoextend_threshold={THRESHOLD_PERCENT}",
    f"thin_pool_autoextend_percent={STEP_PERCENT}",
)


def policy_findings(case: Case) -> Iterator[Finding]:
    """Find what keeps LVM's policy from extending a pool."""
    policy = case.pool.policy
    if case.pool.is_profile_missing:
        yield _missing(case)
    elif policy and policy.is_off:
        yield _off(case)
    if policy and not policy.is_off and policy.step_percent == 0:
        yield _no_step(case)
    if policy and policy.threshold_percent < MIN_THRESHOLD_PERCENT:
        yield Finding(
            severity=Severity.OK,
            text=f"LVM does not go below a threshold of 50 %: it uses 50 instead of "
            f"{policy.threshold_percent}",
        )


def _missing(case: Case) -> Finding:
    policy = case.pool.policy
    falls_back = "lvm.conf alone"
    if policy:
        off = "it never extends" if policy.is_off else f"threshold {policy.threshold_percent} %"
        falls_back = f"lvm.conf alone: {off}"
    return Finding(
        severity=Severity.WARNING,
        brief="profile missing",
        text=f"LVM cannot read the profile {shown(case.pool.profile or '')} that the pool "
        f"names, and goes by {falls_back}",
        remedy=_missing_profile(case),
    )


def _off(case: Case) -> Finding:
    profile = case.pool.profile
    where = f"profile {shown(profile)}" if profile else "lvm.conf: the pool has no profile"
    return Finding(
        severity=Severity.WARNING,
        brief="policy off",
        text=f"LVM's policy never extends the pool: threshold 100 means never ({where})",
        remedy=_set_in_force(case),
    )


def _no_step(case: Case) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        brief="step is 0 %",
        text="thin_pool_autoextend_percent is 0: LVM fails every extension by policy",
        remedy=_set_in_force(case),
    )


def _set_in_force(case: Case) -> Remedy:
    """Change the policy where it is set: in the pool's profile, or in a new one."""
    if not case.pool.profile:
        return _new_profile(case)
    path = shown(f"{PROFILE_DIRECTORY}/{case.pool.profile}.profile")
    return (
        say(f"Set in the section activation of {path}:"),
        *(say(f"  {setting}") for setting in SETTINGS),
        *_apply(case),
    )


def _missing_profile(case: Case) -> Remedy:
    name = case.pool.profile or ""
    # LVM takes no such name; in a path to write to it could lead anywhere.
    if not name or "/" in name or not name.isprintable():
        return _new_profile(case)
    return (*profile_file(name), *_apply(case))


def _new_profile(case: Case) -> Remedy:
    name = f"{case.pool.vg_name}-{case.pool.name}"
    attach = run("lvchange", "--metadataprofile", name, *operand(case.pool.label))
    return (*profile_file(name), attach, *_apply(case))


def _apply(case: Case) -> tuple[Line, ...]:
    """Extend at once: dmeventd looks at a policy again when usage has grown by 5 %."""
    used = [whole_percent(usage) for usage in (case.pool.data, case.pool.metadata) if usage]
    if max(used, default=0) < MIN_THRESHOLD_PERCENT:
        return ()
    return (
        say("Apply it now: dmeventd would wait until the pool is fuller by 5 %."),
        run("lvextend", "--use-policies", *operand(case.pool.label)),
    )


def profile_file(name: str) -> Remedy:
    """Write a profile with the usual policy."""
    path = f"{PROFILE_DIRECTORY}/{name}.profile"
    lines = ("activation {", *(f"  {setting}" for setting in SETTINGS), "}")
    return (
        say("Write the profile (lvmconfig config/profile_dir names its directory):"),
        write_file(path, lines),
    )
