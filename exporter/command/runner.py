"""Runs commands in three ways, because the risks differ.

`run` is for commands that only read: at the
deadline they are killed, since a stopped `lvs` would hold its VG's lock against us.
`start` is for commands that change the host (running.py): never killed.
`call` is for the user's own: whatever they do, print or leave behind, they end in time.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from exporter.command.call import hear_out, spawn_called
from exporter.command.child import abandon, child_environment, kill_group, spawn, text
from exporter.command.running import MAX_OUTPUT_BYTES, Output, Running
from exporter.command.standby import READY, ReadyLvm
from exporter.errors import (
    CommandFailedError,
    CommandStuckError,
    HostError,
    OutputTooLargeError,
)

READ_BYTES = 65536
ORDINARY_OOM_SCORE = "0"
ORDINARY_NICENESS = 0
# From the request to end to the kill.
CALL_GRACE_SECONDS = 5.0


class Runner(Protocol):
    """Starts commands; the simulated host is one too."""

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """Run a command that only reads, and return its output if it ended with 0.

        Raises CommandMissingError, CommandFailedError, CommandStuckError (killed at
        the deadline) or OutputTooLargeError.
        """

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """Start a command that changes the host. Raises CommandMissingError."""

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """Have an lvm ready for the next `start`, so that it begins at once.

        Costs nothing while one is ready. Raises CommandMissingError.
        """

    def call(
        self, argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float
    ) -> Output:
        """Run a command of the user's; both streams are in `stdout`, cut in the middle.

        What it leaves running in the background is not waited for.
        Raises CommandMissingError or CommandStuckError, which has the output so far
        (killed some seconds after the deadline, with all that it has started).
        """


def unprotect(pid: int) -> None:
    """Take from a child what it has inherited of a guard's protection and priority.

    Commands that read LVM keep both: an `lvs` that waits for a processor, or that the OOM
    killer chooses, holds its VG's lock against our lvextend.
    """
    with contextlib.suppress(OSError):  # ended already, or not ours to change
        Path(f"/proc/{pid}/oom_score_adj").write_text(ORDINARY_OOM_SCORE)
    with contextlib.suppress(OSError):
        niceness = max(ORDINARY_NICENESS, os.getpriority(os.PRIO_PROCESS, pid))
        os.setpriority(os.PRIO_PROCESS, pid, niceness)


class HostRunner:
    """Runs commands on this host; the `expendable` programs without our protection.

    As many lvms as `ready` says are kept ready for `start`.
    """

    def __init__(
        self,
        *,
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        call_grace_seconds: float = CALL_GRACE_SECONDS,
        expendable: Container[str] = (),
        clock: Callable[[], float] = time.monotonic,
        ready: int = READY,
    ) -> None:
        self._max_output_bytes = max_output_bytes
        self._call_grace_seconds = call_grace_seconds
        self._expendable = expendable
        self._undead: dict[tuple[str, ...], subprocess.Popen[bytes]] = {}
        self._reading: set[subprocess.Popen[bytes]] = set()
        self._called: set[subprocess.Popen[bytes]] = set()
        self._ready = ReadyLvm(clock, ready)
        self._is_closed = False

    def close(self) -> None:
        """End the commands that only read, so that nobody waits for their deadlines.

        The user's are asked to end, since nobody would hold them to their deadlines.
        What `start` has started goes on.
        """
        self._is_closed = True
        self._ready.close()
        for child in tuple(self._reading):
            kill_group(child.pid)
        for child in tuple(self._called):
            if child.returncode is None:
                kill_group(child.pid, signal.SIGTERM)

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        ends_at = time.monotonic() + deadline_seconds
        self._check_startable(argv, deadline_seconds)
        child = spawn(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=child_environment()
        )
        if argv[0] in self._expendable:
            unprotect(child.pid)
        self._reading.add(child)
        if self._is_closed:
            kill_group(child.pid)
        try:
            streams = _read_streams(child, ends_at, self._max_output_bytes)
            status = child.wait(max(0.0, ends_at - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise CommandStuckError(argv, deadline_seconds) from error
        except _TooMuchError as error:
            raise OutputTooLargeError(argv, self._max_output_bytes) from error
        finally:
            self._reading.discard(child)
            if not abandon(child):
                self._undead[tuple(argv)] = child
        stdout, stderr = (text(stream) for stream in streams)
        if status != 0:
            raise CommandFailedError(argv, status, stderr, stdout=stdout)
        return Output(argv=tuple(argv), status=status, stdout=stdout, stderr=stderr)

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """See Runner.start."""
        return self._ready.start(argv, environment)

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """See Runner.keep_ready."""
        self._ready.keep(program, environment)

    def call(
        self, argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float
    ) -> Output:
        """See Runner.call."""
        ends_at = time.monotonic() + deadline_seconds
        self._check_startable(argv, deadline_seconds)
        child = spawn_called(argv, environment)
        self._called.add(child)
        if self._is_closed:  # since: `close` may not have seen it
            kill_group(child.pid, signal.SIGTERM)
        try:
            said, is_in_time = hear_out(
                child, ends_at=ends_at, grace_seconds=self._call_grace_seconds
            )
        finally:
            self._called.discard(child)
            if not abandon(child):
                self._undead[tuple(argv)] = child
        if not is_in_time:
            raise CommandStuckError(argv, deadline_seconds, stdout=said)
        return Output(argv=tuple(argv), status=child.returncode, stdout=said, stderr="")

    def _check_startable(self, argv: Sequence[str], deadline_seconds: float) -> None:
        if self._is_closed:
            raise HostError(f"{argv[0]} is not run any more: the program is ending")
        undead = self._undead.pop(tuple(argv), None)
        if undead is not None and undead.poll() is None:
            # Killed earlier, but in D state: another one would only join it.
            self._undead[tuple(argv)] = undead
            raise CommandStuckError(argv, deadline_seconds)


class _TooMuchError(Exception):
    """The child printed more than the limit."""


def _read_streams(
    child: subprocess.Popen[bytes], ends_at: float, max_bytes: int
) -> tuple[bytearray, bytearray]:
    """Read both pipes to their end, whatever order the child writes in."""
    streams = (bytearray(), bytearray())
    with selectors.DefaultSelector() as selector:
        for stream, buffer in zip((child.stdout, child.stderr), streams, strict=True):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, buffer)
        while selector.get_map():
            left = ends_at - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise subprocess.TimeoutExpired(child.args, 0)
            for key, _ in ready:
                chunk = os.read(key.fd, READ_BYTES)
                if not chunk:
                    selector.unregister(key.fileobj)
                key.data.extend(chunk)
            if sum(map(len, streams)) > max_bytes:
                raise _TooMuchError
    return streams
