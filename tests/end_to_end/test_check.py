"""`check` as monitoring systems run it: whatever happens, one line and an exit status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from exporter.guard.lock import GuardLock
from exporter.model import Collector, CollectorState, GuardMode, GuardNote
from exporter.publish import SnapshotReader, SnapshotWriter
from tests.end_to_end.program import PROGRAM, run
from tests.end_to_end.test_bad_input import NO_DEVICE_MAPPER, SCRIPTS, config, write_script
from tests.factories import (
    make_guard_report,
    make_physical_volume,
    make_snapshot,
    make_volume_group,
)

AS_NOBODY = """
import os, sys
from exporter import __main__
import exporter.cli.check

os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(__main__.main(sys.argv[1:]))
"""
TIMEOUT_SECONDS = 2.0
# Starting Python, and what a busy machine adds to it.
START_SECONDS = 15.0
NOTE = GuardNote(pid=os.getpid(), mode=GuardMode.AUTO)


@pytest.fixture
def state() -> Iterator[Path]:
    """Make a state directory that other users may look into."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def publish(state: Path, *, seconds_ago: float = 0.0) -> None:
    """Publish the article's host with a second disk, as its guard does."""
    at = time.time() - seconds_ago
    disks = (
        make_physical_volume(),
        make_physical_volume(name="/dev/sdc", extents=2000, allocated_extents=0),
    )
    snapshot = make_snapshot(
        taken_at=at,
        guard=replace(make_guard_report(last_cycle_at=at), note=NOTE),
        volume_groups=(make_volume_group(physical_volumes=disks),),
    )
    SnapshotWriter(state).write(snapshot)
    (state / "snapshot.json").chmod(0o644)


def check(state: Path, *flags: str) -> tuple[int, str, str]:
    """Run `check` as this user; exit status, stdout and stderr."""
    return _run([*PROGRAM, "check", f"--state.directory={state}", *flags])


def check_as_nobody(state: Path, *flags: str) -> tuple[int, str, str]:
    """Run `check` as a user without rights: this one, or if it is root another."""
    if os.geteuid() != 0:
        return check(state, *flags)
    # Python's own files may be root's alone.
    argv = [sys.executable, "-c", AS_NOBODY, "check", f"--state.directory={state}", *flags]
    return _run(argv)


def _run(argv: Sequence[str]) -> tuple[int, str, str]:
    result = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | NO_DEVICE_MAPPER,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ("--no-such-flag",),
        ("--output=xml",),
        ("--timeout=soon",),
        ("--timeout=0",),
        ("--guard.mode=nope",),
        ("--log.level=loud",),
        ("--config.file",),
    ],
)
def test_a_command_line_that_is_not_understood_is_unknown(flags: tuple[str, ...]) -> None:
    """For a monitoring system 2 would be a full pool. The usage goes to stderr."""
    result = run("check", *flags)

    assert result.returncode == 3
    assert result.stdout.startswith("THINPOOL UNKNOWN - ")
    assert result.stdout.count("\n") == 1
    assert flags[0].partition("=")[0] in result.stdout
    assert "usage: " in result.stderr


@pytest.mark.parametrize("command", ["collect", "guard", "check-config"])
def test_any_other_command_ends_with_2(command: str) -> None:
    """As programs do, with nothing on stdout."""
    result = run(command, "--no-such-flag")

    assert (result.returncode, result.stdout) == (2, "")
    assert "--no-such-flag" in result.stderr


def test_a_faulty_configuration_is_unknown(tmp_path: Path) -> None:
    """The first fault in the line, and all of them on stderr."""
    path = tmp_path / "config.yml"
    path.write_text("guard: {mode: autoo, reserve: -1}\n")
    result = run("check", f"--config.file={path}")

    assert result.returncode == 3
    assert result.stdout.startswith(f"THINPOOL UNKNOWN - {path}: guard.mode: ")
    assert result.stdout.endswith("(faults in all: 2)\n")
    assert "guard.reserve" in result.stderr


@pytest.mark.parametrize("output", ["text", "plugin", "json"])
def test_an_exception_is_unknown(tmp_path: Path, output: str) -> None:
    """A library that is broken, say; the traceback goes to stderr."""
    (tmp_path / "psutil.py").write_text("raise ZeroDivisionError('of all | things')\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    result = run("check", f"--output={output}", env={"PYTHONPATH": path})

    assert result.returncode == 3
    assert result.stdout.count("\n") == 1
    assert "ZeroDivisionError: of all" in result.stdout
    assert "things'" not in result.stdout or output == "json"
    assert "Traceback" in result.stderr
    if output == "json":
        assert json.loads(result.stdout)["status"] == "UNKNOWN"


def test_an_lvm_that_hangs_costs_one_deadline(tmp_path: Path) -> None:
    """It says what it waited for, and what else it has read."""
    lvm = tmp_path / "lvm"
    write_script(lvm, SCRIPTS["hanging"])
    path = tmp_path / "config.yml"
    path.write_text(f"commands: {{lvm: {lvm}, docker: /nonexistent}}\n")
    flag = f"--config.file={path}"
    began = time.monotonic()
    timeout = f"--timeout={TIMEOUT_SECONDS:g}"
    result = run("check", "--live", flag, timeout, "--output=plugin", env=NO_DEVICE_MAPPER)

    assert time.monotonic() < began + TIMEOUT_SECONDS + START_SECONDS
    assert result.returncode == 3
    assert "LVM: no answer within " in result.stdout
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize("is_root", [False, True])
def test_a_fresh_snapshot_is_reported(state: Path, *, is_root: bool) -> None:
    """Root needs no lock of LVM's then, and nobody needs root; it says how old it is."""
    if is_root and os.geteuid() != 0:
        pytest.skip("root alone reads the lock of the guard")
    publish(state)
    lock = GuardLock(state)
    lock.take(NOTE)
    status, text, said = (check if is_root else check_as_nobody)(state)
    lock.release()

    assert text.startswith("OK: docker/thinpool: protected by this guard"), said
    assert re.search(r"\n  source +from the guard's Snapshot, [0-9]+ s old\n", text)
    assert status == 0


def test_a_guard_that_has_died_is_not_believed_by_root(state: Path) -> None:
    """Its lock is free at once. The host is read instead, and cannot be here."""
    if os.geteuid() != 0:
        pytest.skip("root alone reads the lock of the guard")
    publish(state)
    status, text, _ = check(state)

    assert "Snapshot" not in text
    assert "guard     not running" in text
    assert status != 0


def test_live_reads_the_host(state: Path) -> None:
    """Though a fresh Snapshot is there."""
    publish(state)
    lock = GuardLock(state)
    lock.take(NOTE)
    _, text, _ = check(state, "--live")
    lock.release()

    assert "Snapshot" not in text
    assert "device-mapper cannot be read" in text


@pytest.mark.parametrize(
    ("seconds_ago", "mode", "words"),
    [
        (None, 0o644, "not there: is thinpool-guard.service running?"),
        (0.0, 0o600, "may not be read"),
        (300.0, 0o644, "what the guard published last is 30"),
    ],
)
def test_without_root_and_snapshot_the_next_step_is_told(
    state: Path, seconds_ago: float | None, mode: int, words: str
) -> None:
    """Nothing is read of the host: it could not be."""
    if seconds_ago is not None:
        publish(state, seconds_ago=seconds_ago)
        (state / "snapshot.json").chmod(mode)
    status, text, _ = check_as_nobody(state)

    assert status == 3
    assert text.startswith("THINPOOL UNKNOWN - ")
    assert words in text
    assert "run this as root, or start thinpool-guard.service" in text
    assert text.count("\n") == 1


def test_a_guard_that_has_fallen_silent_is_critical(state: Path) -> None:
    """Also for those who go by the Snapshot alone."""
    publish(state, seconds_ago=45.0)
    status, text, _ = check_as_nobody(state, "--output=plugin")

    assert status == 2
    assert "the guard does not work" in text
    assert "(from the guard's Snapshot, 4" in text


def test_the_demos_host_is_reported_on() -> None:
    """By pool, briefly, and said to be simulated."""
    result = run("check", "--demo", "--brief", "web/pool", "docker/thinpool")
    lines = result.stdout.splitlines()

    assert result.returncode == 2
    assert lines[0].startswith("CRITICAL: docker/thinpool: ")
    assert lines[1].startswith("SIMULATED HOST")
    assert len(lines) == 4


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_streams_may_be_closed(tmp_path: Path, closed: str) -> None:
    """As some monitoring systems start their plugins: the child's pipe gets their numbers."""
    flag = config(tmp_path / "config.yml", tmp_path / "absent")
    script = f'exec "$@" {closed}'
    command = ["sh", "-c", script, "sh", *PROGRAM, "check", "--live", flag]
    status, text, _ = _run([*command, "--output=plugin"])

    assert status == 3
    assert "LVM cannot be read" in text


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-"])
def test_a_failure_is_unknown_whoever_listens(closed: str) -> None:
    """A closed stream is no reason for another exit status."""
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *PROGRAM, "check", "--no-such-flag"]
    status, text, _ = _run(command)

    assert status == 3
    assert text.startswith("THINPOOL UNKNOWN - ") is (closed == "2>&-")


def test_a_guard_that_has_just_started_is_reported_without_root(state: Path) -> None:
    """With what it has not read yet; root reads the host instead."""
    publish(state)
    reader = SnapshotReader(state)
    reader.look()
    assert reader.snapshot is not None
    unread = {**reader.snapshot.collectors, Collector.DOCKER: CollectorState()}
    SnapshotWriter(state).write(replace(reader.snapshot, collectors=unread))
    (state / "snapshot.json").chmod(0o644)
    status, text, _ = check_as_nobody(state, "--output=plugin")

    assert status == 1
    assert "Docker does not answer (from the guard's Snapshot" in text
