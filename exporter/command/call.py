"""Commands of the user's, of which nothing is known but that they must end in time.

They get what dmeventd gives to its `thin_command`: a quiet locale, umask 077, standard
output and error that somebody reads. Unlike there, the OOM killer does not spare them, and
they run at normal priority.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from exporter.command.child import LOCALE, kill_group, public_environment, spawn, text

OUTPUT_BYTES = 65536
READ_BYTES = 65536  # as much as a pipe holds
NAP_SECONDS = 0.05
UMASK = 0o077
# What a command is told of a pool: one that we inherited would be another's.
TOLD_VARIABLES = ("THINPOOL_", "DMEVENTD_")
# A shell gives up what children inherit from the guard, before the command starts; and like
# dmeventd's execvp it takes a script without "#!".
UNSPARED = "{ echo 0 >/proc/self/oom_score_adj; } 2>/dev/null; "
# Without -n, util-linux and busybox agree that 0 is the new niceness, not a difference.
UNHURRIED = "renice 0 -p $$ >/dev/null 2>&1; "
RUN = 'exec "$0" "$@"'


def spawn_called(
    argv: Sequence[str], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a command of the user's. Raises CommandMissingError."""
    return spawn(
        ("/bin/sh", "-c", _wrapper(), *argv),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=called_environment(environment),
        umask=UMASK,
    )


def _wrapper() -> str:
    """Build the shell's script; a niceness above 0 was chosen by somebody, and is kept."""
    is_raised = os.getpriority(os.PRIO_PROCESS, 0) < 0
    return UNSPARED + UNHURRIED * is_raised + RUN


def called_environment(told: Mapping[str, str]) -> dict[str, str]:
    """Our environment for such a command, whose LVM commands are no readings of ours."""
    known = public_environment()
    kept = {key: known[key] for key in known if not key.startswith(TOLD_VARIABLES)}
    return kept | LOCALE | dict(told)


def hear_out(
    child: subprocess.Popen[bytes], *, ends_at: float, grace_seconds: float
) -> tuple[str, bool]:
    """Return what a called child prints, and whether it ended in time.

    One that did not is asked to end, with all that it has started: an lvm in its critical
    section does so when that is over, and is killed only after `grace_seconds`.
    """
    said = bytearray()
    is_in_time = _follow(child, said, ends_at, until_exit=True)
    if not is_in_time:
        kill_group(child.pid, signal.SIGTERM)
        # It may have ended at once, and what it had started not yet.
        _follow(child, said, time.monotonic() + grace_seconds, until_exit=False)
    return text(said), is_in_time


def _follow(
    child: subprocess.Popen[bytes], said: bytearray, ends_at: float, *, until_exit: bool
) -> bool:
    """Keep what is printed; false when `ends_at` came before the child's exit."""
    with selectors.DefaultSelector() as selector:
        if child.stdout is not None:
            selector.register(child.stdout, selectors.EVENT_READ)
        while not (until_exit and child.poll() is not None):
            left = ends_at - time.monotonic()
            if left <= 0:
                return False
            _hear(selector, said, min(left, NAP_SECONDS))
        # What still lies in the pipe; whoever in the background writes on is not read.
        _hear(selector, said, 0)
    return True


def _hear(selector: selectors.BaseSelector, said: bytearray, timeout_seconds: float) -> None:
    for key, _ in selector.select(timeout_seconds):
        chunk = os.read(key.fd, READ_BYTES)
        if not chunk:
            selector.unregister(key.fileobj)
        said.extend(chunk)
        if len(said) > OUTPUT_BYTES:
            # The beginning tells what went on, the end how it went.
            del said[OUTPUT_BYTES // 2 : -OUTPUT_BYTES // 2]
