"""Whether Docker's daemon runs, from what systemd and the kernel leave in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.sources.docker_daemon import BOOTED, INVOCATION, command_line, is_running

CLIENT = ("docker", "compose", "up")


def host(root: Path, *commands: tuple[str, ...]) -> Path:
    """Make a host that systemd has booted, with processes of these command lines."""
    (root / BOOTED).mkdir(parents=True)
    for pid, words in enumerate((("systemd",), *commands), start=1):
        process(root, pid, words)
    return root


def process(root: Path, pid: int, words: tuple[str, ...], nested_ids: str = "") -> None:
    """Start a process, which may be in a PID namespace of its own."""
    directory = root / "proc" / str(pid)
    directory.mkdir(parents=True)
    (directory / "comm").write_text(f"{Path(words[0]).name}\n")
    (directory / "cmdline").write_text("\0".join(words) + "\0")
    (directory / "status").write_text(f"Name:\tx\nNSpid:\t{pid}{nested_ids}\n")


def test_does_not_run_if_nothing_is_dockers(tmp_path: Path) -> None:
    """Whatever else runs, and whatever has ended while one looked."""
    root = host(tmp_path, ("containerd",), ("mydocker",), ("docker-entrypoi",), CLIENT)
    (root / "proc" / "77").mkdir()

    assert is_running(root) is False


@pytest.mark.parametrize(
    "words",
    [
        ("/usr/bin/dockerd",),
        ("docker", "daemon"),
        ("docker", "-H", "fd://", "-d"),
        ("dockerd-current",),
    ],
    ids=" ".join,
)
def test_runs_while_there_is_a_daemon(tmp_path: Path, words: tuple[str, ...]) -> None:
    """However it was started."""
    assert is_running(host(tmp_path, words)) is True


def test_runs_while_its_service_runs(tmp_path: Path) -> None:
    """Whatever its program is called; systemd's sign of it is a link to nothing."""
    root = host(tmp_path)
    (root / INVOCATION).parent.mkdir(parents=True)
    (root / INVOCATION).symlink_to("2f4c58e5b7a04b0dbd1ba1f4b5a9d7a1")

    assert is_running(root) is True


def test_the_docker_of_a_container_is_not_the_hosts(tmp_path: Path) -> None:
    """Docker in Docker, and the daemon beside it whose command line counts."""
    root = host(tmp_path)
    process(root, 5, ("dockerd", "--data-root", "/inner"), nested_ids="\t1")
    assert is_running(root) is False
    assert command_line(root / "proc") == ()

    process(root, 6, ("dockerd", "-s", "devicemapper"))
    assert is_running(root) is True
    assert command_line(root / "proc") == ("dockerd", "-s", "devicemapper")


def test_without_systemd_it_may_run_unseen(tmp_path: Path) -> None:
    """In a container that was given Docker's socket nothing else is seen of Docker."""
    assert is_running(tmp_path) is None
