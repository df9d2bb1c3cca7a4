"""Tells systemd how the service is: sd_notify(3), a datagram to the socket it names.

Without that socket, as in a terminal, nobody is told anything. Sending never waits: a
systemd that does not read must not stop the guard.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Speaks for this process; takes what systemd passes in the environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))

    @classmethod
    def of_process(cls) -> Notifier:
        """Take it from the environment, so that no command started later speaks for us."""
        return cls({"NOTIFY_SOCKET": os.environ.pop("NOTIFY_SOCKET", "")})

    def ready(self) -> None:
        """Say that the service does its work, or does again after `reloading`."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that the configuration is being read again."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Say that the work goes on; without it for too long systemd starts another."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), self._address)


def _address(name: str) -> str:
    # "@" stands for the null byte of an abstract socket's name.
    return f"\0{name[1:]}" if name.startswith("@") else name


SILENT = Notifier({})
