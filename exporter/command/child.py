"""What every child has in common: its environment, its start, and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from exporter.errors import CommandMissingError

REAP_SECONDS = 1.0

# C: other locales print "24,00g" and French errors. The LVM variables keep lvm from
# complaining about our descriptors, and from logging each of our readings to syslog.
LOCALE = {"LC_ALL": "C", "LANGUAGE": ""}
CHILD_ENVIRONMENT = {
    **LOCALE,
    "LVM_SUPPRESS_FD_WARNINGS": "1",
    "LVM_SUPPRESS_SYSLOG": "1",
}
# What systemd gave to us alone: a child that used it could end our watchdog.
PRIVATE_VARIABLES = (
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
)


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment for a child: LVM's own variables pass, ours and locales do not."""
    return public_environment() | CHILD_ENVIRONMENT | dict(extra or {})


def public_environment() -> dict[str, str]:
    """Our environment without what is ours alone."""
    return {key: os.environ[key] for key in os.environ if key not in PRIVATE_VARIABLES}


def spawn(
    argv: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    env: Mapping[str, str],
    umask: int = -1,
) -> subprocess.Popen[bytes]:
    """Start a child, the first of a session and a group of its own.

    Raises CommandMissingError.
    """
    try:
        return subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd="/",
            umask=umask,
            # Ctrl-C on a terminal must not reach a running lvextend.
            start_new_session=True,
        )
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CommandMissingError(argv, reason) from error
    except ValueError as error:  # a null byte in an argument, or in a variable
        raise CommandMissingError(argv, str(error)) from error


def abandon(child: subprocess.Popen[bytes]) -> bool:
    """End a child and what it started; false if it cannot be ended (D state).

    One that has been waited for is left alone, and what it started as well.
    """
    if child.returncode is None:
        # Before it is reaped, even if it has ended: until then its number is the
        # group's, in which a grandchild may hold the pipe.
        kill_group(child.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(REAP_SECONDS)
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
    return child.returncode is not None


def kill_group(group: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to all of a group."""
    # One that has gained other rights (sudo) is not ours to kill: it counts as stuck.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def text(raw: bytes | bytearray) -> str:
    """Decode; a byte that is no UTF-8 must not hide the rest of the report."""
    return raw.decode("utf-8", "backslashreplace")
