"""Whether Docker's daemon runs, from what systemd and the kernel leave in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.sources.docker_daemon import BOOTED, INVOCATION, is_asleep


def host(root: Path, *names: str) -> Path:
    """Make a host that systemd has booted, with these processes."""
    (root / BOOTED).mkdir(parents=True)
    for pid, name in enumerate(("systemd", *names), start=1):
        (root / "proc" / str(pid)).mkdir(parents=True)
        (root / "proc" / str(pid) / "comm").write_text(f"{name}\n")
    return root


def test_sleeps_where_nothing_is_dockers(tmp_path: Path) -> None:
    """Whatever else runs, and whatever has ended while one looked."""
    root = host(tmp_path, "containerd", "mydocker", "docker-entrypoi")
    (root / "proc" / "77").mkdir()

    assert is_asleep(root)


@pytest.mark.parametrize("name", ["dockerd", "docker", "dockerd-current"])
def test_does_not_sleep_while_a_daemon_runs(tmp_path: Path, name: str) -> None:
    """However it was started."""
    assert not is_asleep(host(tmp_path, name))


def test_does_not_sleep_while_its_service_runs(tmp_path: Path) -> None:
    """Whatever its program is called; systemd's sign of it is a link to nothing."""
    root = host(tmp_path)
    (root / INVOCATION).parent.mkdir(parents=True)
    (root / INVOCATION).symlink_to("2f4c58e5b7a04b0dbd1ba1f4b5a9d7a1")

    assert not is_asleep(root)


def test_without_systemd_nobody_would_start_it(tmp_path: Path) -> None:
    """On another init, or in a container that was given the socket."""
    assert not is_asleep(tmp_path)
