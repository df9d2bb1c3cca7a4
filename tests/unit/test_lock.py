"""The guard's lock: one guard at a time, and a `check` that stands in nobody's way."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from exporter.guard.lock import (
    FILE_NAME,
    PATIENCE_SECONDS,
    GuardLock,
    GuardRunningError,
    running_guard,
)
from exporter.model import GuardMode, GuardNote
from exporter.simulation import ManualClock

NOTE = GuardNote(pid=1, mode=GuardMode.AUTO, pools={"docker/thinpool": GuardMode.ALWAYS})
SHORTER = GuardNote(pid=2, mode=GuardMode.AUTO)
HOLDER = """
import sys, time
from pathlib import Path
from exporter.guard.lock import GuardLock
from exporter.model import GuardMode, GuardNote
lock = GuardLock(Path(sys.argv[1]))
lock.take(GuardNote(pid=7, mode=GuardMode.AUTO))
print("held", flush=True)
sys.stdin.read()
"""
REPOSITORY = Path(__file__).parents[2]


Sleep = Callable[[float], object]
Make = Callable[..., GuardLock]


@pytest.fixture
def make_lock(tmp_path: Path) -> Iterator[Make]:
    """Make locks on one file, whose clocks move by what they sleep; releases them all."""
    with ExitStack() as stack:

        def make(sleep: Sleep = lambda _: None) -> GuardLock:
            clock = ManualClock()

            def pass_time(seconds: float) -> None:
                clock.now += seconds
                sleep(seconds)

            lock = GuardLock(tmp_path, clock=clock, sleep=pass_time)
            stack.callback(lock.release)
            return lock

        yield make


@pytest.fixture(params=["asks", "tries"])
def _kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a kernel that can be asked for a lock, and one before 3.15 that cannot."""
    if request.param == "tries":
        for name in ("F_OFD_SETLK", "F_OFD_GETLK"):
            monkeypatch.setattr(fcntl, name, 9999)  # EINVAL


@pytest.mark.usefixtures("_kernel")
def test_a_running_guard_is_found_by_its_note(tmp_path: Path, make_lock: Make) -> None:
    """From `take` until `release`, with what it said last."""
    lock = make_lock()
    assert running_guard(tmp_path) is None

    lock.take(NOTE)
    assert running_guard(tmp_path) == NOTE
    lock.take(SHORTER)
    assert running_guard(tmp_path) == SHORTER

    lock.release()
    assert running_guard(tmp_path) is None


@pytest.mark.usefixtures("_kernel")
def test_another_guard_is_refused_after_a_second(tmp_path: Path, make_lock: Make) -> None:
    """It says which file is held, and leaves the other's note alone."""
    slept: list[float] = []
    make_lock().take(NOTE)

    with pytest.raises(GuardRunningError, match=FILE_NAME):
        make_lock(slept.append).take(SHORTER)

    assert sum(slept) == pytest.approx(PATIENCE_SECONDS, abs=0.1)
    assert running_guard(tmp_path) == NOTE


@pytest.mark.usefixtures("_kernel")
def test_a_guard_that_is_just_ending_is_waited_for(tmp_path: Path, make_lock: Make) -> None:
    """As when systemd replaces one by another."""
    ending, pauses = make_lock(), count(1)
    ending.take(NOTE)

    make_lock(lambda _: ending.release() if next(pauses) == 3 else None).take(SHORTER)

    assert running_guard(tmp_path) == SHORTER
    assert next(pauses) == 4


def test_a_check_takes_no_lock(
    tmp_path: Path, make_lock: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guard that starts at the very moment of a `check` need not even wait."""
    make_lock().take(NOTE)
    taken: list[int] = []
    monkeypatch.setattr(fcntl, "flock", lambda _file, how: taken.append(how))

    assert running_guard(tmp_path) == NOTE
    assert taken == []


def test_a_check_that_takes_the_lock_delays_a_guard_for_a_moment(
    tmp_path: Path, make_lock: Make
) -> None:
    """One on an old kernel, or of an older version."""
    (tmp_path / FILE_NAME).touch()
    check = os.open(tmp_path / FILE_NAME, os.O_RDONLY)
    fcntl.flock(check, fcntl.LOCK_SH)

    make_lock(lambda _: os.close(check)).take(NOTE)

    assert running_guard(tmp_path) == NOTE


def test_a_file_that_cannot_be_locked_is_no_other_guard(
    make_lock: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told what the kernel said."""

    def refuse(_file: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)

    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
        make_lock(pytest.fail).take(NOTE)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run another process that holds the lock."""
    argv = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.usefixtures("_kernel")
def test_a_guard_that_was_killed_is_told_from_one_that_lives(
    tmp_path: Path, make_lock: Make, holder: subprocess.Popen[str]
) -> None:
    """Its note is left behind; its lock is not, and another guard begins at once."""
    assert running_guard(tmp_path) is not None

    holder.send_signal(signal.SIGKILL)
    holder.wait()

    assert b'"pid":7' in (tmp_path / FILE_NAME).read_bytes()
    assert running_guard(tmp_path) is None
    make_lock(pytest.fail).take(NOTE)
