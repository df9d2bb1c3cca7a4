"""Findings about the state a pool is in: full, failed, to be checked, suspended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exporter.model import UNKNOWN_STATUS, Device, PoolMode, PoolStatus, Reason, Usage
from exporter.policy import is_recoverable
from exporter.report.case import Case
from exporter.report.finding import Finding, Line, Remedy, Severity, run, say
from exporter.report.room import grow_by_hand
from exporter.report.text import operand, percent, shown, whole_percent

NEARLY_FULL_PERCENT = 95
CLEAR_NEEDS_CHECK = 'global/thin_check_options=["-q","--clear-needs-check-flag"]'


def state_findings(case: Case) -> Iterator[Finding]:
    """Find what is wrong with a pool's state."""
    status = case.pool.status or UNKNOWN_STATUS
    yield from _mode_findings(case, status)
    if status.is_suspended:
        yield _suspended(case)
    if case.decision.reason is Reason.LAYOUT_DIFFERS:
        yield _differs(case)
    if case.pool.mode is PoolMode.INACTIVE:
        yield _inactive(case)
    yield from (finding for device in Device for finding in _nearly_full(case, device))
    yield from _docker_refuses(case)


def _mode_findings(case: Case, status: PoolStatus) -> Iterator[Finding]:
    """Find at most one: each of these hides the others."""
    needs_check = bool(status.needs_check or (case.pool.lvm and case.pool.lvm.needs_check))
    if status.mode is PoolMode.FAILED:
        yield _failed(case)
    elif needs_check:
        yield _needs_check(case)
    elif status.mode is PoolMode.RO:
        yield _read_only(case, status)
    elif status.mode is PoolMode.OUT_OF_DATA_SPACE:
        yield _out_of_data_space(case, status)


def _failed(case: Case) -> Finding:
    return Finding(
        severity=Severity.CRITICAL,
        brief="failed",
        text="the pool has failed: the kernel refuses every read and write of its volumes",
        remedy=(
            say("Find out why first: a disk that is gone, or metadata that cannot be read."),
            *_look_at_kernel_log(),
            say("When the disks are there again:"),
            *repair(case),
        ),
    )


def _needs_check(case: Case) -> Finding:
    return Finding(
        severity=Severity.CRITICAL,
        brief="needs check",
        text=(
            "the kernel has marked the metadata as needs_check: until it is repaired nothing "
            "extends the pool (lvextend says that it did, and the kernel ignores it)"
        ),
        remedy=repair(case),
    )


def _read_only(case: Case, status: PoolStatus) -> Finding:
    if is_recoverable(status):
        return Finding(
            severity=Severity.CRITICAL,
            brief="out of metadata space",
            text="the metadata is full, and the pool is read-only until it is extended",
            remedy=grow_by_hand(case, Device.METADATA),
        )
    return Finding(
        severity=Severity.CRITICAL,
        brief="read-only",
        text="the pool is read-only, and more metadata alone may not mend that: a write of its "
        "metadata has failed",
        remedy=(say("Find out why first:"), *_look_at_kernel_log(), *repair(case)),
    )


def _out_of_data_space(case: Case, status: PoolStatus) -> Finding:
    return Finding(
        severity=Severity.CRITICAL,
        brief="out of data space",
        text=f"the pool is out of data space: {_what_becomes_of_writes(case, status)}",
        remedy=(
            *grow_by_hand(case, Device.DATA),
            say("Then look for file systems with errors, which want fsck or a new mount:"),
            *_look_at_kernel_log(),
        ),
    )


def _what_becomes_of_writes(case: Case, status: PoolStatus) -> str:
    timeout = case.no_space_timeout_seconds
    known = "some time (60 s by default)" if timeout is None else f"{timeout:g} s"
    if status.queue_if_no_space is None:
        return "the kernel does not tell whether writes wait or fail"
    if status.queue_if_no_space and timeout == 0:
        return "writes wait until it is extended (no_space_timeout of dm_thin_pool is 0)"
    if status.queue_if_no_space:
        return (
            f"writes wait. The kernel fails them all {known} after the pool became full "
            "(no_space_timeout of dm_thin_pool), and file systems take damage"
        )
    waited = "" if timeout == 0 else f", or writes had already waited for {known}"
    return f"writes fail at once (error_if_no_space: set so{waited}); an extension ends that"


def _suspended(case: Case) -> Finding:
    name = operand(case.dm_name)
    return Finding(
        severity=Severity.WARNING,
        brief="suspended",
        text="the pool is suspended: every read and write of its volumes waits",
        remedy=(
            say("An LVM command at work suspends a pool for a moment. Look, and look again:"),
            run("pgrep", "-a", "^[lvp][vg]"),
            run("dmsetup", "info", *name),
            say("Only if none is at work, and you know what left it so:"),
            run("dmsetup", "resume", *name),
        ),
    )


def _differs(case: Case) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        brief="layout differs",
        text="the kernel uses another size of the pool than LVM has recorded: an extension "
        "has not arrived, or is under way",
        remedy=(
            say("If it is still so a minute later, let LVM load its layout anew:"),
            run("lvchange", "--refresh", *operand(case.pool.label)),
        ),
    )


def _inactive(case: Case) -> Finding:
    program = case.settings.missing_thin_check
    components = case.pool.lvm.active_components if case.pool.lvm else ()
    activate = run("lvchange", "-ay", *operand(case.pool.label))
    text = "the pool is not active: nobody can use its volumes"
    brief = "inactive"
    mending: Remedy = ()
    if program:
        text += f". LVM cannot check its metadata: {shown(program)} is not installed"
        brief += ", thin_check missing"
        mending += _install_thin_check()
    if components:
        names = ", ".join(shown(name) for name in components)
        text += f". LVM cannot activate it while these hidden LVs are active: {names}"
        brief += ", components active"
        mending += _deactivate(case, components)
    if mending:
        remedy = (*mending, say("Then activate the pool:"), activate)
    else:
        remedy = (say("If it should be:"), activate, *_if_activation_fails(case))
    return Finding(severity=Severity.WARNING, brief=brief, text=text, remedy=remedy)


def _deactivate(case: Case, components: Iterable[str]) -> Remedy:
    names = [operand(f"{case.pool.vg_name}/{name}") for name in components]
    return (
        say("Deactivate what a failed activation or a repair has left:"),
        *(run("lvchange", "-an", *name) for name in names),
    )


def _install_thin_check() -> Remedy:
    return (
        say(
            "Install it: the first command is for Debian and Ubuntu, the second for Fedora and"
        ),
        say("RHEL. Then rebuild the initramfs, if that activates the pool."),
        run("apt-get", "install", "thin-provisioning-tools"),
        run("dnf", "install", "device-mapper-persistent-data"),
    )


def _if_activation_fails(case: Case) -> Remedy:
    """Mend what activation reports: LVM tells only then.

    Source of the second: jthornber/thin-provisioning-tools#226.
    """
    group, file = operand(case.pool.vg_name), "/root/before.vg"
    return (
        say('If LVM says "Manual repair required", repair its metadata:'),
        run("lvconvert", "--repair", *operand(case.pool.label)),
        *_after_repair(case),
        say('If LVM says "transaction_id is A, while expected B", set transaction_id of the'),
        say(
            "pool from B to A in a copy of LVM's metadata, restore that, and activate the pool."
        ),
        say("Volumes made between the two may be lost:"),
        run("vgcfgbackup", "-f", file, *group),
        run("cp", file, "/root/after.vg"),
        run("editor", "/root/after.vg"),
        run("vgcfgrestore", "--force", "-f", "/root/after.vg", *group),
    )


def _nearly_full(case: Case, device: Device) -> Iterator[Finding]:
    if case.pool.mode not in {PoolMode.RW, PoolMode.UNKNOWN}:
        return  # the finding about its mode says what to do
    usage = case.usage(device)
    if usage is None or whole_percent(usage) < NEARLY_FULL_PERCENT:
        return
    yield Finding(
        severity=Severity.CRITICAL,
        brief=f"{device} nearly full",
        text=f"the {device} is {percent(usage)} full",
        remedy=grow_by_hand(case, device),
    )


def _docker_refuses(case: Case) -> Iterator[Finding]:
    """Report that Docker refuses to make new devices, by its rule and the exact figures.

    Docker prints the minimum of data only, and applies the same percentage to metadata.
    Source: moby daemon/graphdriver/devmapper/deviceset.go, poolHasFreeSpace.
    """
    docker = case.docker
    if docker is None or not case.pool.is_called(docker.pool_name):
        return
    if case.pool.mode is not PoolMode.RW:
        return  # the finding about its mode says more
    if not docker.min_free_space_bytes or not docker.data_size_bytes:
        return
    minimum = round(100 * docker.min_free_space_bytes / docker.data_size_bytes)
    short = [device for device in Device if _has_less_free(case.usage(device), minimum)]
    if short:
        yield Finding(
            severity=Severity.WARNING,
            brief="Docker makes no new containers",
            text="Docker makes no new containers and pulls no images: less than "
            f"{minimum} % of the {' and of the '.join(short)} is free (dm.min_free_space)",
            remedy=tuple(line for device in short for line in grow_by_hand(case, device)),
        )


def _has_less_free(usage: Usage | None, minimum_percent: int) -> bool:
    if usage is None:
        return False
    free = usage.total_blocks - usage.used_blocks
    return free < max(1, usage.total_blocks * minimum_percent // 100)


def _look_at_kernel_log() -> tuple[Line, ...]:
    return (run("journalctl", "-k", "--since", "-2h"),)


def repair(case: Case) -> Remedy:
    """Repair a pool's metadata, in the order that LVM demands: inactive, and not in use."""
    if not case.is_lvm:
        return (say("LVM does not know this pool: who made it must repair it (thin_repair)."),)
    label = operand(case.pool.label)
    return (
        say("Stop Docker and whatever else uses the pool's volumes:"),
        run("systemctl", "stop", "docker"),
        say("Unmount every volume of the pool (the first command shows them). Remove those"),
        say("that Docker leaves behind: their content stays in the pool."),
        run("dmsetup", "ls", "--tree"),
        run("umount", "/dev/mapper/VOLUME"),
        run("dmsetup", "remove", "VOLUME"),
        say("Deactivate the pool, repair its metadata, activate it. The repair writes to the"),
        say("VG's metadata spare, or needs as much free space as the metadata is large:"),
        run("lvchange", "-an", *label),
        run("lvconvert", "--repair", *label),
        *_after_repair(case),
    )


def _after_repair(case: Case) -> tuple[Line, ...]:
    label = operand(case.pool.label)
    full = grow_by_hand(case, Device.METADATA) if case.is_over(Device.METADATA) else ()
    return (
        # Neither a repair nor LVM's own options clear the mark of needs_check.
        run("lvchange", "-ay", "--config", CLEAR_NEEDS_CHECK, *label),
        *full,
        say("Check the file systems (fsck), then start Docker:"),
        run("systemctl", "start", "docker"),
        say(
            "LVM keeps the old metadata as an LV named after the pool with _meta0 (or the next"
        ),
        say("number). Remove it only when everything is back. If the repair fails, keep it."),
    )
