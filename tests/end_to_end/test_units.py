"""The units as far as systemd's tools can tell without running them.

tests/vm/test_units.py runs them.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from systemd.package import build
from tests.end_to_end.program import run
from tests.programs import need

UNITS = sorted(
    path
    for path in (build.ROOT / "systemd").iterdir()
    if path.suffix in {".service", ".socket"}
)
GUARD, WEB = "thinpool-guard.service", "thinpool-exporter.service"
PROGRAM = "/opt/thinpool-exporter/bin/thinpool-exporter"


def settings(unit: str) -> list[tuple[str, str]]:
    """Read the lines of a unit that set something."""
    text = (build.ROOT / "systemd" / unit).read_text()
    return re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """It warns of what it does not know."""
    for path in UNITS:
        (tmp_path / path.name).write_text(path.read_text().replace(PROGRAM, "/bin/true"))

    done = subprocess.run(
        [need("systemd-analyze", "systemd"), "verify", *tmp_path.iterdir()],
        capture_output=True,
        text=True,
        check=False,
    )

    ours = [line for line in done.stderr.splitlines() if "thinpool" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Lay out a host's file system with the units in it."""
    directory = tmp_path / "usr/lib/systemd/system"
    directory.mkdir(parents=True)
    for path in UNITS:
        shutil.copy(path, directory)
    return tmp_path


def systemctl(host: Path, *arguments: str) -> str:
    """Enable, disable, or ask."""
    argv = [need("systemctl", "systemd"), f"--root={host}", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()


def test_each_unit_is_enabled_and_disabled_by_itself(host: Path) -> None:
    """Whoever closes the port keeps the guard, and an exporter alone starts no guard."""
    systemctl(host, "enable", WEB)
    assert systemctl(host, "is-enabled", WEB, GUARD).split() == ["enabled", "disabled"]

    systemctl(host, "enable", GUARD)
    systemctl(host, "disable", WEB)
    assert systemctl(host, "is-enabled", WEB, GUARD).split() == ["disabled", "enabled"]


def test_neither_unit_waits_for_the_other() -> None:
    """A guard may take a minute and a half to start, and the metrics must say so meanwhile."""
    for unit, other in ((WEB, GUARD), (GUARD, WEB)):
        named = [key for key, value in settings(unit) if other in value]
        assert named == [], unit


def test_a_reload_fails_if_there_is_a_fault() -> None:
    """The guard is told in any case; then the last command's exit status is the reload's."""
    tell, check = (value for key, value in settings(GUARD) if key == "ExecReload")

    assert tell == "/bin/kill -HUP $MAINPID"
    program, *arguments = shlex.split(check)
    assert program == PROGRAM
    assert run(*arguments, "--guard.mode=auto").returncode == 0
    assert run(*arguments, "--config.file=/nonexistent").returncode == 2


def test_a_unit_that_cannot_start_does_not_fill_the_journal() -> None:
    """The guard asks systemd whether it was restarted; the web side's sandbox hides systemd."""
    assert ("Environment", "THINPOOL_UNIT=%n") in settings(GUARD)
    assert ("RestartPreventExitStatus", "2") in settings(WEB)


def test_limits_are_for_the_web_side_alone() -> None:
    """An lvextend of the guard's that met one would fail when it is needed."""
    limits = {"MemoryMax", "TasksMax"}

    assert limits <= dict(settings(WEB)).keys()
    assert not limits & dict(settings(GUARD)).keys()


def test_the_guard_follows_the_hosts_name() -> None:
    """LVM may tell the host's own VGs by it; a namespace would keep the one of the start."""
    assert "ProtectHostname" not in dict(settings(GUARD))
    analyze = [need("systemd-analyze", "systemd"), "syscall-filter", "@system-service"]
    calls = subprocess.run(analyze, capture_output=True, text=True, check=True).stdout
    assert ("SystemCallFilter", "@system-service") in settings(GUARD)
    assert "hostname" not in calls
