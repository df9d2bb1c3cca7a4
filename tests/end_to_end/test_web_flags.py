"""The web side's flags: a web configuration, and a socket that somebody else has opened."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.end_to_end.program import PROGRAM, Program, run
from tests.waiting import eventually

HASH = "$2b$04$" + "a" * 53


def test_passwords_are_asked_for(tmp_path: Path) -> None:
    """By `web` as by every command that serves."""
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{alice: '{HASH}'}}\n")

    with Program("web", f"--web.config.file={tmp_path}/web.yml", directory=tmp_path) as web:
        assert web.get("/metrics")[0] == 401
        assert web.get("/-/healthy")[0] == 401


def test_a_bad_web_configuration_is_shown_with_every_fault(tmp_path: Path) -> None:
    """Before anything listens; by check-config as well."""
    path = tmp_path / "web.yml"
    path.write_text("basic_auth_users: {alice: secret}\nrate_limit: {interval: soon}\n")

    for command in ("web", "check-config"):
        result = run(command, f"--web.config.file={path}")

        assert result.returncode == 2
        assert f"{path}: basic_auth_users.alice" in result.stderr
        assert f"{path}: rate_limit.interval" in result.stderr
    path.write_text("")
    assert f"{path} is valid" in run("check-config", f"--web.config.file={path}").stdout


@pytest.mark.parametrize("command", ["run", "web", "demo"])
@pytest.mark.parametrize("path", ["metrics", "", "?a", "/metrics?a=b", "/metrics#a"])
def test_a_telemetry_path_that_nobody_could_ask_for(command: str, path: str) -> None:
    """Refused at the start, instead of an answer 404 to every scrape."""
    result = run(command, f"--web.telemetry-path={path}")

    assert result.returncode == 2
    assert f"--web.telemetry-path: {path!r}" in result.stderr


def test_a_telemetry_path_of_ones_own(tmp_path: Path) -> None:
    """It is served, and the usual one is not."""
    with Program("web", "--web.telemetry-path=/own/path", directory=tmp_path) as web:
        assert web.get("/own/path")[0] == 200
        assert web.get("/metrics")[0] == 404


def test_a_socket_of_systemds(tmp_path: Path) -> None:
    """It is served at, and its number belongs to no child."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.set_inheritable(listener.fileno(), True)
        arguments = shlex.join(
            (*PROGRAM, "web", "--web.systemd-socket", f"--state.directory={tmp_path}")
        )
        # As systemd does it: the socket is descriptor 3, and its owner known by number.
        line = f"exec env LISTEN_PID=$$ LISTEN_FDS=1 {arguments} 3<&{listener.fileno()}"
        process = subprocess.Popen(
            ("bash", "-c", line), pass_fds=(listener.fileno(),), stderr=subprocess.DEVNULL
        )
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/-/healthy"

            def is_served() -> bool:
                with urllib.request.urlopen(url, timeout=30) as answer:
                    return bool(answer.status == 200)

            assert eventually(is_served)
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_no_socket_was_passed(tmp_path: Path) -> None:
    """Said with what to look at."""
    result = run("web", "--web.systemd-socket", f"--state.directory={tmp_path}")

    assert result.returncode == 1
    assert "thinpool-exporter.socket" in result.stderr
