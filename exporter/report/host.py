"""What is to be said of the host: dmeventd, the guard, Docker, and the sources."""

from __future__ import annotations

import time
from collections.abc import Iterator

from exporter.model import (
    Collector,
    CollectorState,
    GuardNote,
    Maintenance,
    Problem,
    Snapshot,
)
from exporter.report.figures import Figure
from exporter.report.finding import Finding, Remedy, Severity, run, say
from exporter.report.storage import storage_figures
from exporter.report.text import no_look_words, shown
from exporter.report.verdict import restart_guard
from exporter.units import format_duration

SOURCES = {
    Collector.DEVICE_MAPPER: "device-mapper",
    Collector.LVM: "LVM",
    Collector.POLICY: "LVM's policy",
    Collector.DOCKER: "Docker",
}
NO_ANSWER = "no answer within "  # as errors.CommandStuckError and cli/deadline.py put it
STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "waits for a disk",
    "T": "stopped",
    "t": "stopped by a debugger",
    "Z": "dead",
}


def host_figures(snapshot: Snapshot, note: GuardNote | None) -> tuple[Figure, ...]:
    """Write what runs on the host."""
    return (
        Figure("dmeventd", _dmeventd(snapshot)),
        Figure("guard", _guard(note)),
        Figure("Docker", _docker(snapshot)),
        *storage_figures(snapshot),
        *_maintenance(snapshot),
    )


def _maintenance(snapshot: Snapshot) -> Iterator[Figure]:
    found = snapshot.maintenance
    if found and found.until > snapshot.taken_at:
        yield Figure("maintenance", maintenance_words(found, snapshot.taken_at))


def maintenance_words(maintenance: Maintenance | None, now: float) -> str:
    """Write until when there is maintenance, and why; `now` in seconds since the epoch."""
    if maintenance is None or maintenance.until <= now:
        return "none"
    end = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(maintenance.until))
    left = format_duration(maintenance.until - now)
    reason = f": {shown(maintenance.reason)}" if maintenance.reason else ""
    return f"until {end}, for another {left}{reason}"


def _dmeventd(snapshot: Snapshot) -> str:
    dmeventd, other = snapshot.dmeventd, snapshot.lvm_settings.replaced_thin_command
    if dmeventd.is_alive is None:
        return "unknown"
    if not dmeventd.is_alive:
        return "not running (this program never starts it)"
    state = STATES.get(dmeventd.state or "", "state unknown")
    runs = f"; runs {shown(other)} when a pool fills (lvm.conf)" if other else ""
    return f"running, pid {dmeventd.pid}, {state}{runs}"


def _guard(note: GuardNote | None) -> str:
    if note is None:
        return "not running"
    others = (f"; {shown(label)}: {mode}" for label, mode in sorted(note.pools.items()))
    return f"running, pid {note.pid}, mode {note.mode}{''.join(others)}"


def _docker(snapshot: Snapshot) -> str:
    docker = snapshot.docker
    state = snapshot.collectors.get(Collector.DOCKER, CollectorState())
    if docker is None:
        return str(state.absence) if state.absence else "unknown"
    words = [str(state.absence)] if state.absence else []
    words.append(shown(docker.server_version or "of unknown version"))
    if docker.storage_driver:
        words.append(f"storage driver {shown(docker.storage_driver)}")
    if docker.pool_name:
        words.append(f"pool {shown(docker.pool_name)}")
    if not state.is_ok:
        words.append(f"as of {_age(state, snapshot)}")
    return ", ".join(words)


def _age(state: CollectorState, snapshot: Snapshot) -> str:
    if state.succeeded_at is None:
        return "never"
    return f"{format_duration(max(0.0, snapshot.taken_at - state.succeeded_at))} ago"


def host_findings(
    snapshot: Snapshot, note: GuardNote | None, silence_seconds: float | None
) -> Iterator[Finding]:
    """Find whether the guard works, what could not be read, and what Docker says of itself."""
    if note and silence_seconds is not None:
        yield _silent_guard(note, silence_seconds)
    for name in Collector:
        state = snapshot.collectors.get(name, CollectorState())
        if state.is_ok or (state.absence and not state.is_required):
            continue
        yield (
            _docker_mute(state, snapshot)
            if name is Collector.DOCKER
            else _unreadable(name, state, snapshot)
        )
    yield from _docker_loopback(snapshot)
    yield from (_problem(problem) for problem in _other_problems(snapshot))


def missing_pool(label: str) -> Finding:
    """Report that a pool which was asked for is not there."""
    text = f"no thin pool {shown(label)}"
    return Finding(severity=Severity.UNKNOWN, brief=text, text=f"{text} on this host")


def _silent_guard(note: GuardNote, silence_seconds: float) -> Finding:
    return Finding(
        severity=Severity.CRITICAL,
        brief="the guard does not work",
        text=f"the guard (pid {note.pid}) {no_look_words(silence_seconds)}, and extends none",
        remedy=restart_guard(),
    )


def _unreadable(name: Collector, state: CollectorState, snapshot: Snapshot) -> Finding:
    _, mark, seconds = (state.error or "").rpartition(NO_ANSWER)
    late = shown(mark + seconds) if mark else ""
    return Finding(
        severity=Severity.UNKNOWN,
        brief=f"{SOURCES[name]}: {late}" if late else f"{SOURCES[name]} cannot be read",
        text=f"{SOURCES[name]} cannot be read: {_error(state)}; last read "
        f"{_age(state, snapshot)}",
        remedy=_look_what_it_waits_for() if late else _next_step(name),
    )


def _look_what_it_waits_for() -> Remedy:
    return (
        say(
            "It waits for a lock of LVM's or for a disk, and so would an lvs that you type. See"
        ),
        say("which command waits (state D is a disk), and what the kernel says:"),
        run("ps", "-eo", "pid,stat,wchan:20,etimes,args", "--sort=-etimes"),
        run("journalctl", "-k", "--since", "-2h"),
        say("If it is only slow, give it longer:"),
        run("thinpool-exporter", "check", "--live", "--timeout=60"),
    )


def _error(state: CollectorState) -> str:
    return shown(state.error or "it was not asked yet")


def _next_step(name: Collector) -> Remedy:
    if name is Collector.DEVICE_MAPPER:
        return (
            say("Only root may ask: run this as root."),
            run("sudo", "thinpool-exporter", "check"),
            say("If /dev/mapper/control is missing: load the module; in a container, run this"),
            say("on the host instead."),
            run("modprobe", "dm_thin_pool"),
        )
    return (
        say("Run this as root, on the host and not in a container, with lvm2 installed. What"),
        say("LVM itself says:"),
        run("lvs", "-a") if name is Collector.LVM else run("lvmconfig"),
    )


def _docker_mute(state: CollectorState, snapshot: Snapshot) -> Finding:
    if state.absence:
        return Finding(
            severity=Severity.WARNING,
            brief="Docker does not run",
            text=f"Docker is {state.absence}, and the configuration requires it "
            "(collect.require_docker)",
            remedy=(run("systemctl", "status", "docker"),),
        )
    return Finding(
        severity=_severity_of_silence(snapshot),
        brief="Docker does not answer",
        text=f"Docker does not answer: {_error(state)}; last answer {_age(state, snapshot)}",
        remedy=(
            say("See whether it runs. If it does, it hangs: mend a pool that is full or"),
            say("suspended first."),
            run("systemctl", "status", "docker"),
        ),
    )


def _severity_of_silence(snapshot: Snapshot) -> Severity:
    """Docker's silence is a trouble of its own only where the pools could be read.

    Else (a user without rights) it has the same cause, and nothing is known at all.
    """
    needed = (Collector.DEVICE_MAPPER, Collector.LVM)
    states = (snapshot.collectors.get(name, CollectorState()) for name in needed)
    return Severity.WARNING if all(state.is_ok for state in states) else Severity.UNKNOWN


def _docker_loopback(snapshot: Snapshot) -> Iterator[Finding]:
    """Believe Docker about loop files where the kernel shows no such pool."""
    is_shown = any(pool.kernel and pool.kernel.loop for pool in snapshot.pools)
    if snapshot.docker and snapshot.docker.has_loop_files and not is_shown:
        yield Finding(
            severity=Severity.WARNING,
            brief="Docker on loop files",
            text="Docker says that its pool lies on loop files: good for tests alone",
        )


def _other_problems(snapshot: Snapshot) -> Iterator[Problem]:
    """Leave out what the failed sources and the pools have said already."""
    said = {(str(name), state.error) for name, state in snapshot.collectors.items()}
    told = {f"VG {pool.vg_name}" for pool in snapshot.pools}
    told &= {f"VG {group.name}" for group in snapshot.same_named_groups}
    return (
        p
        for p in snapshot.problems
        if (p.subject, p.message) not in said and p.subject not in told
    )


def _problem(problem: Problem) -> Finding:
    return Finding(
        severity=Severity.WARNING if problem.is_warning else Severity.UNKNOWN,
        brief="" if problem.is_warning else "not everything could be read",
        text=f"{shown(problem.subject)}: {shown(problem.message)}",
    )
