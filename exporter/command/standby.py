"""Has an lvm started ahead, so that a command that changes the host begins at once.

`lvm FILE` runs the commands in FILE and ends with the last one's exit status. Given its own
standard input, an empty pipe, it starts, reads its configuration, and waits: an extension
then takes neither fork nor exec, which fail or stall on a host without memory, processes or
disk, nor the time that lvm needs to start. It runs one command and ends, like any other.
Source: lvm2 tools/lvmcmdline.c, _run_script, the same from 2.02.98 to 2.03.39.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import structs

from exporter.command.child import abandon
from exporter.command.running import Output, Running, RunningChild
from exporter.errors import CommandMissingError

SCRIPT = "/proc/self/fd/0"
MAGIC = b"#!lvm\n"  # without it, lvm takes no file for a script
MAX_LINE_BYTES = 254  # of a line with its end; one more, and lvm refuses it
# Words that lvm's own splitting of lines leaves as they are.
PLAIN_WORD = re.compile(r"[A-Za-z0-9_.+/:=@{}-]+")
# tools/errors.h: no such command, no such option, no start. Then nothing has been done.
NOT_RUN = frozenset({2, 3, 4})
# Long enough to cost nothing, short enough that what lvm learns at its start is not much
# older than that; a changed configuration it notices by itself.
RENEW_SECONDS = 600.0
# One that ends by itself would do so again: a wrapper that gives lvm no input, perhaps.
RETRY_SECONDS = 60.0


class ReadyLvm:
    """Keeps one lvm ready; whoever needs a second one at the same time waits for its start."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._standby: _Standby | None = None
        self._is_closed = False

    def start(self, argv: Sequence[str], environment: Mapping[str, str]) -> Running:
        """Run a command, by the lvm that is ready where possible.

        Raises CommandMissingError.
        """
        standby = self._exchange(None)
        running = standby.tell(argv, environment) if standby else None
        if standby and running is None:
            standby.dismiss()
        return running or RunningChild(argv, environment)

    def keep(self, program: str, environment: Mapping[str, str]) -> None:
        """Have one ready; costs nothing while one is. Raises CommandMissingError."""
        standby = self._standby
        now = self._clock()
        if self._is_closed or (standby and standby.is_good(program, environment, now)):
            return
        try:
            old = self._exchange(_Standby(program, environment, now))
        except OSError as error:  # no more descriptors
            raise CommandMissingError((program,), str(error)) from error
        if old:
            old.dismiss()

    def close(self) -> None:
        """End the one that is ready, and start no more."""
        self._is_closed = True
        standby = self._exchange(None)
        if standby:
            standby.dismiss()

    def _exchange(self, new: _Standby | None) -> _Standby | None:
        """Take the one that is ready, and leave another one unless this is the end."""
        with self._lock:
            if self._is_closed and new:
                return new
            old, self._standby = self._standby, new
        return old


class _Standby:
    """One lvm that waits for its command. Raises CommandMissingError."""

    def __init__(self, program: str, environment: Mapping[str, str], now: float) -> None:
        self._for = (program, dict(environment))
        self._started_at = now
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            self._running = RunningChild((program, SCRIPT), environment, stdin=reader)
            os.write(writer, MAGIC)
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        self._writer = writer

    def is_good(self, program: str, environment: Mapping[str, str], now: float) -> bool:
        """Whether another one would be no better: it waits, or has not been dead for long."""
        lasts = RENEW_SECONDS if self._is_alive else RETRY_SECONDS
        return self._for == (program, environment) and now < self._started_at + lasts

    @property
    def _is_alive(self) -> bool:
        return self._running.child.poll() is None

    def tell(self, argv: Sequence[str], environment: Mapping[str, str]) -> Running | None:
        """Give it its command; None if it cannot take this one."""
        line = _line(argv[1:])
        if line is None or self._for != (argv[0], environment) or not self._is_alive:
            return None
        try:
            os.write(self._writer, line)  # whole: a pipe takes 4 KiB at once
        except OSError:
            return None
        os.close(self._writer)  # the script ends here
        return _Told(argv, self._running, lambda: RunningChild(argv, environment))

    def dismiss(self) -> None:
        """End it unused."""
        os.close(self._writer)
        abandon(self._running.child)
        self._running.wait(0)  # closes the files of its output


class _Told:
    """A command that a standby was told; started anew if that lvm did not run it."""

    def __init__(
        self, argv: Sequence[str], running: Running, start_anew: Callable[[], Running]
    ) -> None:
        self._argv = tuple(argv)
        self._running = running
        self._start_anew: Callable[[], Running] | None = start_anew

    def wait(self, timeout_seconds: float) -> Output | None:
        """See Running.wait."""
        ends_at = time.monotonic() + timeout_seconds
        output = self._running.wait(timeout_seconds)
        if output is not None and output.status in NOT_RUN and self._start_anew:
            self._running, self._start_anew = self._start_anew(), None
            output = self._running.wait(max(0.0, ends_at - time.monotonic()))
        return output and structs.replace(output, argv=self._argv)


def _line(words: Sequence[str]) -> bytes | None:
    """Write a command as lvm reads it; None for one that it would read differently."""
    line = " ".join(words).encode() + b"\n"
    is_plain = all(map(PLAIN_WORD.fullmatch, words))
    return line if is_plain and len(line) <= MAX_LINE_BYTES else None
