"""Reads a host once, within one deadline, whatever of it hangs.

For `check`. Nothing here can change the host. The guard has schedules and deadlines of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from msgspec import structs

from exporter.collection import Collection, HostAccess, Programs
from exporter.command import Output, Runner, Running
from exporter.errors import HostError, quote
from exporter.model import Collector, CollectorState, Snapshot
from exporter.publish import decode, encode

WATCH_SECONDS = 1.0
# What a command gets of the time that is left: one that waits for a lock must leave enough to
# read without it, and for the commands after it (sources/lvm.py).
SHARE = 0.5
# The sources end this much before the child, and the child before its parent.
SOURCES_SHARE, CHILD_SHARE = 0.8, 0.9
READ_BYTES = 65536
LENGTH_BYTES = 8
STREAMS = 3  # stdin, stdout, stderr
READ = b"+"


class BoundedRunner:
    """Runs commands that only read, all of them before `ends_at` (monotonic seconds)."""

    def __init__(self, runner: Runner, ends_at: float) -> None:
        self._runner = runner
        self._ends_at = ends_at

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        share_seconds = max(0.0, self._ends_at - time.monotonic()) * SHARE
        return self._runner.run(argv, deadline_seconds=min(deadline_seconds, share_seconds))

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """Refuse: see the module."""
        del environment
        raise _refusal(argv[0])

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """Refuse: see the module."""
        del environment
        raise _refusal(program)

    def call(
        self, argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float
    ) -> Output:
        """Refuse: see the module."""
        del environment, deadline_seconds
        raise _refusal(argv[0])


def _refusal(program: str) -> HostError:
    return HostError(f"{program} is not run: this command only reads")


def read_within(
    host: HostAccess,
    programs: Programs,
    timeout_seconds: float,
    *,
    watch_seconds: float = WATCH_SECONDS,
    max_volumes: int | None = None,
) -> Snapshot:
    """Read every source, side by side; one that has not answered in time has failed.

    The kernel is read again after `watch_seconds`: a fill rate needs two readings.
    """
    began = time.monotonic()
    ends_at = began + timeout_seconds
    runner = BoundedRunner(host.runner, began + SOURCES_SHARE * timeout_seconds)
    # Docker is asked by its client and at its socket, in turn.
    docker_seconds = min(programs.docker_deadline_seconds, timeout_seconds * SHARE * SHARE)
    collection = Collection(
        structs.replace(host, runner=runner),
        structs.replace(programs, docker_deadline_seconds=docker_seconds),
        wall_clock=time.time,
        clock=time.monotonic,
    )
    collection.max_volumes = max_volumes or collection.max_volumes

    def refresh(*names: Collector) -> None:
        for name in names:
            collection.refresh(name)

    _side_by_side(
        [
            lambda: refresh(Collector.DEVICE_MAPPER),
            # The policy after LVM, which names the profiles.
            lambda: refresh(Collector.LVM, Collector.POLICY),
            lambda: refresh(Collector.DOCKER),
        ],
        ends_at,
    )
    again_at = began + watch_seconds
    if collection.has_volumes and again_at < ends_at:
        # Nothing happens meanwhile that could end it earlier.
        time.sleep(max(0.0, again_at - time.monotonic()))
        tasks = [lambda: refresh(Collector.DEVICE_MAPPER), collection.name_volumes]
        _side_by_side(tasks, ends_at)
    return _with_the_late(collection.snapshot(), timeout_seconds)


def _side_by_side(tasks: Sequence[Callable[[], None]], ends_at: float) -> None:
    """Run the tasks, each in a thread, and leave those that have not ended at `ends_at`."""
    threads = [threading.Thread(target=task, daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, ends_at - time.monotonic()))


def _with_the_late(snapshot: Snapshot, timeout_seconds: float) -> Snapshot:
    """Mark as failed the sources that have not answered."""
    late = CollectorState(error=f"no answer within {timeout_seconds:.3g} s")
    states = {
        name: late if state.attempted_at is None else state
        for name, state in snapshot.collectors.items()
    }
    return structs.replace(snapshot, collectors=states)


def in_child(read: Callable[[float], Snapshot], timeout_seconds: float) -> Snapshot:
    """Have a child read a Snapshot, and return what it read. Raises HostError at the timeout.

    `read` gets the seconds that it may take. A process of which a thread waits for a disk that
    hangs cannot end: that is the child's fate then, and whoever runs us waits for us alone.
    """
    ends_at = time.monotonic() + timeout_seconds
    readable, writable = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of other threads. Ours write the log, and the child writes none.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _be_child(lambda: read(CHILD_SHARE * timeout_seconds), writable)
    os.close(writable)
    try:
        answer = _receive(readable, ends_at)
    except TimeoutError as error:
        os.kill(pid, signal.SIGKILL)
        message = f"the host could not be read within {timeout_seconds:.3g} s"
        raise HostError(message) from error
    finally:
        os.close(readable)
        os.waitpid(pid, os.WNOHANG)
    if not answer.startswith(READ):
        said = answer.decode()
        with contextlib.suppress(AttributeError):  # stderr is closed
            sys.stderr.write(said)
        why = said.rstrip().rpartition("\n")[2] or "the process that read it has died"
        raise HostError(f"the host could not be read: {quote(why)}")
    return decode(answer.removeprefix(READ), Path("the reading of the host"))


def _be_child(read: Callable[[], Snapshot], writable: int) -> NoReturn:
    """Write READ and the Snapshot, or else the traceback; hold none of our parent's streams."""
    # Above the streams: one that was closed when we started has left its number to the pipe.
    writable = fcntl.fcntl(writable, fcntl.F_DUPFD_CLOEXEC, STREAMS)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(STREAMS):
        os.dup2(nothing, descriptor)
    try:
        answer = READ + encode(read())
    except BaseException:  # noqa: BLE001 - the parent raises it
        answer = traceback.format_exc().encode("utf-8", "backslashreplace")
    with contextlib.suppress(OSError), os.fdopen(writable, "wb") as pipe:
        pipe.write(len(answer).to_bytes(LENGTH_BYTES, "big") + answer)
    os._exit(0)


def _receive(readable: int, ends_at: float) -> bytes:
    """Read a length and as many bytes; nothing if the child has died. Raises TimeoutError.

    The end of the pipe tells nothing: a child that cannot end keeps it open.
    """
    received = b""
    while select.select([readable], [], [], max(0.0, ends_at - time.monotonic()))[0]:
        chunk = os.read(readable, READ_BYTES)
        received += chunk
        length = int.from_bytes(received[:LENGTH_BYTES], "big")
        if len(received) >= LENGTH_BYTES + length > LENGTH_BYTES:
            return received[LENGTH_BYTES:]
        if not chunk:
            return b""
    raise TimeoutError
