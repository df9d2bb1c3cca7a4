"""What systemd is told, over a real socket."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.notify import SILENT, Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen where systemd would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10)
        yield listener


def test_tells_systemd(systemd: socket.socket) -> None:
    """Each in the words of sd_notify(3)."""
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})

    notifier.ready()
    notifier.alive()
    notifier.reloading()
    notifier.stopping()

    said = [systemd.recv(1000).decode() for _ in range(4)]
    assert said[:2] == ["READY=1", "WATCHDOG=1"]
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", said[2])
    assert said[3] == "STOPPING=1"


def test_an_abstract_socket() -> None:
    """Its name begins with @, for a null byte."""
    name = f"thinpool-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(10)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready()

        assert listener.recv(100) == b"READY=1"


def test_waits_for_nobody(systemd: socket.socket) -> None:
    """A systemd that does not read loses what is said; one that is gone too."""
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    for _ in range(5000):
        notifier.alive()
    assert systemd.recv(100) == b"WATCHDOG=1"

    systemd.close()
    notifier.alive()
    SILENT.ready()


def test_no_child_speaks_for_us(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket is taken out of the environment."""
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.getsockname())

    Notifier.of_process().ready()

    assert systemd.recv(100) == b"READY=1"
    assert "NOTIFY_SOCKET" not in os.environ
