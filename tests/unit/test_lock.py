"""The lock: one guard at a time, that only root can take and nobody can pretend to hold."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

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

REPOSITORY = Path(__file__).parents[2]
# A record lock excludes other processes only, so that the other side must be one.
AGENT = """
import fcntl, os, sys
from pathlib import Path
from exporter.guard.lock import GuardLock, GuardRunningError, running_guard
from exporter.model import GuardMode, GuardNote
directory, lock, opened = Path(sys.argv[1]), None, []
for line in sys.stdin:
    order, *rest = line.split()
    said = "done"
    if order == "take":
        pid = int(rest[0]) if rest else os.getpid()
        lock = GuardLock(directory)
        try:
            lock.take(GuardNote(pid=pid, mode=GuardMode.AUTO))
        except GuardRunningError:
            said = "refused"
    elif order == "release":
        lock.release()
    elif order == "ask":
        note = running_guard(directory)
        said = str(note.pid if note else None)
    else:  # hold the file as anybody could who may only read it
        file = os.open(directory / "guard.lock", os.O_RDONLY)
        opened.append(file)
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_SH)
    print(said, flush=True)
"""
GROUP = 54321
MODES = {"docker/thinpool": GuardMode.ALWAYS}


class Agent:
    """Another process, which does what it is told with the lock of one directory."""

    def __init__(self, directory: Path, *prefix: str) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", AGENT, str(directory)],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, order: str) -> str:
        """Have it do one thing; returns what it answers, "" if it has failed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


Sleep = Callable[[float], object]
Make = Callable[..., GuardLock]
Start = Callable[..., Agent]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start other processes; kills them all."""
    with ExitStack() as stack:

        def start(*prefix: str) -> Agent:
            agent = Agent(tmp_path, *prefix)
            stack.enter_context(agent.process)
            stack.callback(agent.process.kill)
            return agent

        yield start


@pytest.fixture
def make_lock(tmp_path: Path) -> Iterator[Make]:
    """Make this process' lock, whose clock moves by what it sleeps."""
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


def note(pid: int | None = None) -> GuardNote:
    """Make this process' note."""
    return GuardNote(pid=pid or os.getpid(), mode=GuardMode.AUTO, pools=MODES)


def test_a_running_guard_is_found_by_its_note(tmp_path: Path, start: Start) -> None:
    """From `take` until `release`."""
    guard = start()
    assert running_guard(tmp_path) is None

    assert guard.tell("take") == "done"
    found = running_guard(tmp_path)
    assert found is not None
    assert found.pid == guard.process.pid

    guard.tell("release")
    assert running_guard(tmp_path) is None


def test_the_note_is_what_it_said_last(make_lock: Make, start: Start, tmp_path: Path) -> None:
    """A shorter one leaves nothing of the longer."""
    lock = make_lock()
    lock.take(note())
    lock.take(GuardNote(pid=os.getpid(), mode=GuardMode.OFF))

    assert start().tell("ask") == str(os.getpid())
    assert b"docker/thinpool" not in (tmp_path / FILE_NAME).read_bytes()


@pytest.mark.parametrize("patience", [PATIENCE_SECONDS, 60.0])
def test_another_guard_is_refused_when_patience_ends(
    tmp_path: Path, make_lock: Make, start: Start, patience: float
) -> None:
    """It says which file is held, and leaves the other's note alone."""
    slept: list[float] = []
    guard = start()
    guard.tell("take")

    with pytest.raises(GuardRunningError, match=FILE_NAME):
        make_lock(slept.append).take(note(), lambda: patience)

    assert sum(slept) == pytest.approx(patience, abs=0.1)
    found = running_guard(tmp_path)
    assert found is not None
    assert found.pid == guard.process.pid


def test_a_guard_that_is_just_ending_is_waited_for(make_lock: Make, start: Start) -> None:
    """As when systemd replaces one by another."""
    ending, pauses = start(), count(1)
    ending.tell("take")

    lock = make_lock(lambda _: ending.tell("release") if next(pauses) == 3 else None)
    lock.take(note())

    assert start().tell("ask") == str(os.getpid())
    assert next(pauses) == 4


def test_a_check_takes_no_lock(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It only asks, so that however many of them make no starting guard wait, or give up."""
    guard, asked, ask = start(), [], fcntl.fcntl
    guard.tell("take")
    for name in ("flock", "lockf"):
        monkeypatch.setattr(fcntl, name, lambda *_: pytest.fail("takes a lock"))

    def note_command(file: int, command: int, argument: bytes) -> bytes:
        asked.append(command)
        return ask(file, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", note_command)

    assert running_guard(tmp_path) is not None
    assert asked == [fcntl.F_GETLK]


def test_a_file_that_cannot_be_locked_is_no_other_guard(
    make_lock: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told what the kernel said."""

    def refuse(_file: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", refuse)

    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
        make_lock(pytest.fail).take(note())


def test_a_guard_that_was_killed_is_told_from_one_that_lives(
    tmp_path: Path, make_lock: Make, start: Start
) -> None:
    """Its note is left behind; its lock is not, and another guard begins at once."""
    guard = start()
    guard.tell("take")
    assert running_guard(tmp_path) is not None

    guard.process.send_signal(signal.SIGKILL)
    guard.process.wait()

    assert f'"pid":{guard.process.pid},'.encode() in (tmp_path / FILE_NAME).read_bytes()
    assert running_guard(tmp_path) is None
    make_lock(pytest.fail).take(note())


@pytest.mark.parametrize("pid", [1, 2**22 + 1])
def test_a_note_counts_only_if_its_process_holds_the_lock(
    tmp_path: Path, start: Start, pid: int
) -> None:
    """One of a process that lives and is another, and one of a process that is dead."""
    start().tell(f"take {pid}")

    assert f'"pid":{pid},'.encode() in (tmp_path / FILE_NAME).read_bytes()
    assert running_guard(tmp_path) is None


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize("is_there", [False, True])
def test_only_its_owner_can_open_the_file(
    tmp_path: Path,
    make_lock: Make,
    is_there: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """A new one whatever the umask, and one that an earlier version left readable."""
    file = tmp_path / FILE_NAME
    if is_there:
        file.touch()
        file.chmod(0o666)

    make_lock(pytest.fail).take(note())

    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.fixture
def _umask() -> Iterator[None]:
    """Create files as wide as they are asked for."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which takes root")
@pytest.mark.parametrize("mode", [0o755, 0o750], ids=["by hand", "by the unit"])
def test_the_web_side_can_neither_hold_the_lock_nor_pretend_to(
    directory: Path, mode: int, web_side: tuple[str, ...]
) -> None:
    """A user with the guard's group, in a directory as the unit and as a guard makes it."""
    directory.chmod(mode)
    guard = GuardLock(directory)
    guard.take(note())
    os.chown(directory / FILE_NAME, 0, GROUP)
    other = Agent(directory, *web_side)
    with other.process:
        assert other.tell("ask") == "None"
        assert other.tell("hold") == ""  # it has ended with an error
        assert other.process.wait(30) != 0
        guard.release()
        assert running_guard(directory) is None
        guard.take(note())
        guard.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which takes root")
def test_who_has_had_the_file_open_since_an_earlier_version_keeps_no_guard_out(
    directory: Path, web_side: tuple[str, ...]
) -> None:
    """Its locks are on a file that is replaced, and its guard is none."""
    file = directory / FILE_NAME
    file.write_bytes(b'{"pid":1,"mode":"auto"}')
    os.chown(file, 0, GROUP)
    file.chmod(0o640)
    other = Agent(directory, *web_side)
    with other.process:
        assert other.tell("hold") == "done"
        assert running_guard(directory) is None
        lock = GuardLock(directory)
        lock.take(note())
        guard = Agent(directory)
        with guard.process:
            assert guard.tell("ask") == str(os.getpid())
            assert guard.tell("take") == "refused"
            guard.process.kill()
        lock.release()
        other.process.kill()


def test_a_file_that_is_removed_meanwhile_is_made_anew(
    tmp_path: Path, make_lock: Make, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a package is purged: two guards must not hold two files."""
    locks, lock = count(1), fcntl.lockf

    def remove_and_lock(file: int, how: int) -> None:
        if next(locks) == 1:
            (tmp_path / FILE_NAME).unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "lockf", remove_and_lock)
    make_lock().take(note())

    other = start()
    assert other.tell("ask") == str(os.getpid())
    assert other.tell("take") == "refused"


@pytest.fixture
def web_side() -> tuple[str, ...]:
    """Return what begins the command of a user that has the guard's group."""
    prefix = ("setpriv", "--reuid=54320", f"--regid={GROUP}", "--clear-groups")
    tried = subprocess.run((*prefix, sys.executable, "-c", ""), cwd=REPOSITORY, check=False)
    if tried.returncode != 0:
        pytest.skip(f"other users cannot run {sys.executable}")
    return prefix


@pytest.fixture
def directory() -> Iterator[Path]:
    """Make a state directory as the unit does; those of pytest are closed to other users."""
    with TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o750)
        os.chown(path, 0, GROUP)
        yield path


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff" * 100])
def test_a_note_that_makes_no_sense_is_no_note(
    tmp_path: Path, start: Start, raw: bytes
) -> None:
    """Nor is one that is being written."""
    start().tell("take")
    (tmp_path / FILE_NAME).write_bytes(raw)

    assert running_guard(tmp_path) is None
