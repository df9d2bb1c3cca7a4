"""Starts commands that change the host: never killed, whatever becomes of us.

Their output is kept in memory files instead of pipes, so that not even our own death can
interrupt them.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, Protocol

from msgspec import Struct

from exporter.command.child import child_environment, spawn, text
from exporter.errors import CommandMissingError

MAX_OUTPUT_BYTES = 32 * 1024 * 1024  # 1,000 thin volumes are 1 MB of lvs JSON


class Output(Struct, frozen=True, kw_only=True):
    """What a command printed and how it ended (negative: the signal that ended it)."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class Running(Protocol):
    """A command that changes the host and may outlast our patience."""

    def wait(self, timeout_seconds: float) -> Output | None:
        """Wait for its end; None when it still runs after `timeout_seconds`."""


class RunningChild:
    """A child whose output lands in memory files. Raises CommandMissingError."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self._argv = tuple(argv)
        self._output: Output | None = None
        with contextlib.ExitStack() as opened:
            try:
                stdout = opened.enter_context(_memory_file("stdout"))
                stderr = opened.enter_context(_memory_file("stderr"))
            except OSError as error:  # no more descriptors, or no memory
                raise CommandMissingError(self._argv, str(error)) from error
            self.child = spawn(
                self._argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=child_environment(environment),
            )
            opened.pop_all()
        self._files = (stdout, stderr)

    def wait(self, timeout_seconds: float) -> Output | None:
        """See Running.wait."""
        if self._output is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = _wait(self.child, timeout_seconds)
                self._output = self._read_output(status)
        return self._output

    def _read_output(self, status: int) -> Output:
        stdout, stderr = (text(_contents(file)) for file in self._files)
        for file in self._files:
            file.close()
        return Output(argv=self._argv, status=status, stdout=stdout, stderr=stderr)


def _wait(child: subprocess.Popen[bytes], timeout_seconds: float) -> int:
    """Wait without Popen.wait's naps of up to 50 ms: lvextend's end is urgent news."""
    status = child.poll()
    if status is not None or timeout_seconds <= 0:
        if status is None:
            raise subprocess.TimeoutExpired(child.args, timeout_seconds)
        return status
    try:
        descriptor = os.pidfd_open(child.pid)
    except (OSError, AttributeError):  # Linux before 5.3, or a Python built on one
        return child.wait(timeout_seconds)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            selector.select(timeout_seconds)
    finally:
        os.close(descriptor)
    return child.wait(0)


def _memory_file(name: str) -> IO[bytes]:
    return os.fdopen(os.memfd_create(f"thinpool-exporter-{name}"), "w+b")


def _contents(file: IO[bytes]) -> bytes:
    # At an offset of its own: a grandchild that still writes shares the file's.
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), min(size, MAX_OUTPUT_BYTES), 0)
