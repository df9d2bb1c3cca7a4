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
READY = 2


class ReadyLvm:
    """Keeps `count` lvms ready: one extension may follow another before a new one has started.

    Whoever needs more at the same time waits for the start of a plain command.
    """

    def __init__(self, clock: Callable[[], float], count: int = READY) -> None:
        self._clock = clock
        self._count = count
        self._lock = threading.Lock()
        self._keeping = threading.Lock()
        self._standbys: list[_Standby] = []
        self._is_closed = False

    def start(self, argv: Sequence[str], environment: Mapping[str, str]) -> Running:
        """Run a command, by an lvm that is ready if possible.

        Raises CommandMissingError.
        """
        line = _line(argv[1:])
        while line is not None and (standby := self._take()):
            if running := standby.tell(line, argv, environment):
                return running
            standby.dismiss()
        return RunningChild(argv, environment)

    def keep(self, program: str, environment: Mapping[str, str]) -> None:
        """Have them ready; costs nothing while they are. Raises CommandMissingError."""
        with self._keeping:
            now = self._clock()
            for standby in self._drop_worn(program, environment, now):
                standby.dismiss()
            while not self._is_closed and len(self._standbys) < self._count:
                try:
                    standby = _Standby(program, environment, now)
                except OSError as error:  # no more descriptors
                    raise CommandMissingError((program,), str(error)) from error
                if not self._put(standby):
                    standby.dismiss()

    def close(self) -> None:
        """End those that are ready, and start no more."""
        self._is_closed = True
        while standby := self._take():
            standby.dismiss()

    def _take(self) -> _Standby | None:
        with self._lock:
            return self._standbys.pop(0) if self._standbys else None

    def _put(self, standby: _Standby) -> bool:
        """Keep one more unless this is the end, which may have come meanwhile."""
        with self._lock:
            if not self._is_closed:
                self._standbys.append(standby)
            return not self._is_closed

    def _drop_worn(
        self, program: str, environment: Mapping[str, str], now: float
    ) -> list[_Standby]:
        """Take out those that are dead, too old, or for another command."""
        with self._lock:
            good = [one.is_good(program, environment, now) for one in self._standbys]
            worn = [one for one, keeps in zip(self._standbys, good, strict=True) if not keeps]
            self._standbys = [
                one for one, keeps in zip(self._standbys, good, strict=True) if keeps
            ]
        return worn


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

    def tell(
        self, line: bytes, argv: Sequence[str], environment: Mapping[str, str]
    ) -> Running | None:
        """Give it its command, as a line; None if it cannot take this one."""
        if self._for != (argv[0], environment) or not self._is_alive:
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
