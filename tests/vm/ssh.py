"""Run commands in the guest over one shared SSH connection.

A shared connection (ControlMaster) makes a command cost a channel, not a handshake.
"""

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What a command in the guest did."""

    command: str
    returncode: int
    stdout: str
    stderr: str


class GuestCommandError(RuntimeError):
    """A command in the guest failed; the message holds everything it printed."""

    def __init__(self, result: Result) -> None:
        self.result = result
        super().__init__(
            f"{result.command!r} exited {result.returncode}\n"
            f"stdout: {result.stdout}\nstderr: {result.stderr}"
        )


class GuestTimeoutError(RuntimeError):
    """A command in the guest did not end in time; it is left running there."""


class SecureShell:
    """An SSH client bound to one guest."""

    def __init__(self, *, port: int, key: Path, control: Path) -> None:
        self._port = port
        self._control = control
        settings = (
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ServerAliveInterval=15",
            f"ConnectTimeout={CONNECT_SECONDS}",
            f"ControlPath={control}",
        )
        self._options = ("-F", "none", "-i", str(key), *(f"-o{one}" for one in settings))

    def connect(self) -> bool:
        """Open the shared connection; say whether it stands."""
        if self._control_command("check"):
            return True
        try:
            opened = subprocess.run(
                ["ssh", "-fNM", *self._options, *self._target()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=2 * CONNECT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return opened.returncode == 0

    def disconnect(self) -> None:
        """Close the shared connection, also one whose guest is gone."""
        self._control_command("exit")
        self._control.unlink(missing_ok=True)

    def run(
        self, command: str | Sequence[str], *, timeout_seconds: float, stdin: bytes = b""
    ) -> tuple[Result, bytes]:
        """Run a shell line, or an argv quoted into one; raw stdout comes beside the text."""
        line = command if isinstance(command, str) else shlex.join(command)
        try:
            done = subprocess.run(
                ["ssh", *self._options, *self._target(), "--", line],
                input=stdin,
                capture_output=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise GuestTimeoutError(f"{line!r} still runs after {timeout_seconds} s") from error
        stdout = done.stdout.decode(errors="replace")
        stderr = done.stderr.decode(errors="replace")
        return Result(line, done.returncode, stdout, stderr), done.stdout

    def copy(self, source: str, target: str, *, timeout_seconds: float = 300) -> None:
        """Copy files or folders; the guest's side is written as `guest:/path`."""
        sides = (side.replace("guest:", "root@127.0.0.1:", 1) for side in (source, target))
        subprocess.run(
            ["scp", "-rpq", "-P", str(self._port), *self._options, *sides],
            stdin=subprocess.DEVNULL,
            timeout=timeout_seconds,
            check=True,
        )

    def interactive(self) -> int:
        """Hand this terminal to a root shell in the guest."""
        return subprocess.run(
            ["ssh", "-t", *self._options, *self._target()], check=False
        ).returncode

    def _target(self) -> tuple[str, ...]:
        return ("-p", str(self._port), "root@127.0.0.1")

    def _control_command(self, command: str) -> bool:
        if not self._control.exists():
            return False
        done = subprocess.run(
            ["ssh", "-O", command, *self._options, *self._target()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CONNECT_SECONDS,
            check=False,
        )
        return done.returncode == 0
