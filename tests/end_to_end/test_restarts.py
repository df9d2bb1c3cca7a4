"""A unit that cannot start does not fill the journal, and says at once why it cannot."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from exporter.cli.restarts import PAUSE_SECONDS, delay_restart, lock_patience, was_restarted
from exporter.command import HostRunner
from exporter.guard.lock import PATIENCE_SECONDS
from tests.end_to_end.program import Process, run
from tests.waiting import eventually

UNIT = "thinpool-test.service"
# What systemctl prints: of a unit that somebody has started, that was restarted, and from a
# systemd that does not count, that does not answer, and that is not there.
RESTARTED = {
    "echo NRestarts=0": False,
    "echo NRestarts=3": True,
    "true": True,
    "exit 1": True,
}


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a script of that name before all other programs; tests write it."""
    path = tmp_path / "bin" / "systemctl"
    path.parent.mkdir()
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    return path


def answer(systemctl: Path, line: str) -> None:
    """Have it do this if it is asked about the unit's restarts."""
    asked = f'test "$*" = "show --property=NRestarts {UNIT}" || exit 0'
    note = f"touch {systemctl.with_name('asked')}"
    systemctl.write_text(f"#!/bin/sh\n{asked}\n{note}\n{line}\n")
    systemctl.chmod(0o755)


@pytest.mark.parametrize("line", RESTARTED)
def test_only_a_start_of_systemds_own_is_delayed(systemctl: Path, line: str) -> None:
    """Somebody waits for `systemctl start`, and for a command in a terminal."""
    answer(systemctl, line)
    slept: list[float] = []

    delay_restart(UNIT, HostRunner(), slept.append)
    delay_restart("", HostRunner(), slept.append)

    assert was_restarted(UNIT, HostRunner()) is RESTARTED[line]
    assert slept == [PAUSE_SECONDS] * RESTARTED[line]
    patience = PAUSE_SECONDS if RESTARTED[line] else PATIENCE_SECONDS
    assert lock_patience(UNIT) == patience


# A flag, the configurations, and the address are faulty.
FAULTS = {
    "guard flag": ("guard", "--guard.mode=sometimes"),
    "guard configuration": ("guard", "--config.file=/nonexistent"),
    "address": ("run", "--web.listen-address=192.0.2.1:1"),
}


@pytest.mark.parametrize("flag", ["--no.such.flag", "--web.config.file=/nonexistent"])
def test_a_faulty_web_side_ends_with_the_status_that_ends_its_restarts(flag: str) -> None:
    """Its unit has RestartPreventExitStatus=2."""
    assert run("web", flag).returncode == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_at_once_and_the_next_try_is_a_minute_away(
    fault: str, tmp_path: Path, systemctl: Path
) -> None:
    """`systemctl stop` does not wait for it."""
    answer(systemctl, "echo NRestarts=1")
    with Process(*FAULTS[fault], directory=tmp_path, env={"THINPOOL_UNIT": UNIT}) as paused:
        assert eventually(lambda: systemctl.with_name("asked").exists())
        assert eventually(lambda: ends_by_sigterm(paused.process.pid))
        assert "Traceback" not in paused.log_text()
        assert paused.log_text().count("\n") <= 5, paused.log_text()
        assert paused.stop() == -signal.SIGTERM

    answer(systemctl, "echo NRestarts=0")
    began = time.monotonic()
    ended = run(*FAULTS[fault], f"--state.directory={tmp_path}", env={"THINPOOL_UNIT": UNIT})
    assert ended.returncode in {1, 2}
    assert time.monotonic() - began < PAUSE_SECONDS / 2


def test_a_reload_of_a_restarted_unit_does_not_wait(systemctl: Path) -> None:
    """It runs check-config in the unit's environment."""
    answer(systemctl, "echo NRestarts=1")

    faulty = run("check-config", "--config.file=/nonexistent", env={"THINPOOL_UNIT": UNIT})

    assert faulty.returncode == 2
    assert not systemctl.with_name("asked").exists()


def ends_by_sigterm(pid: int) -> bool:
    """Whether a process does not catch the signal, as at the start and in the pause."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return not caught & 1 << (signal.SIGTERM - 1)


def test_a_restarted_guard_takes_over_from_one_that_ends(
    tmp_path: Path, systemctl: Path
) -> None:
    """It waits for the lock, and does not leave the host unguarded for a minute after that."""
    answer(systemctl, "echo NRestarts=1")
    absent = "commands: {lvm: /nonexistent/lvm, docker: /nonexistent/d}\n"
    (tmp_path / "config.yml").write_text(absent)
    command = ("guard", f"--config.file={tmp_path / 'config.yml'}")
    env = {"DM_DEV_DIR": "/nonexistent"}
    with Process(*command, directory=tmp_path, log="first", env=env) as first:
        assert eventually(lambda: first.events("guarding") != [])
        env["THINPOOL_UNIT"] = UNIT
        with Process(*command, directory=tmp_path, log="second", env=env) as second:
            assert eventually(lambda: systemctl.with_name("asked").exists())
            assert first.stop() == 0
            assert eventually(lambda: second.events("guarding") != [])
            assert second.stop() == 0
