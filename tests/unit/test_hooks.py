"""Hooks: when the user's command is run, beside a caller that never waits for it."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from exporter.bulkhead import Bulkheads
from exporter.command import HostRunner, Output, Running
from exporter.errors import CommandMissingError, CommandStuckError
from exporter.hooks import HookEvent, Hooks, Trust
from exporter.hooks.caller import Caller
from exporter.hooks.happening import Happening
from exporter.model import Device, Stage, ThinPool
from exporter.simulation import ManualClock
from tests.factories import make_numbered_pool, make_pool
from tests.fakes import FakeLog
from tests.threads import end_thread
from tests.waiting import PATIENCE_SECONDS, eventually

EXTENDED, IMPOSSIBLE, FULL = HookEvent.EXTENDED, HookEvent.IMPOSSIBLE, HookEvent.FULL
POOL = make_pool()
Answer = Output | Exception


def ended(status: int = 0, stdout: str = "") -> Output:
    """Describe how a command ended."""
    return Output(argv=(), status=status, stdout=stdout, stderr="")


class Scripts:
    """Runs nothing: keeps each call, and ends it as and when a test says."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self.calls: list[tuple[Sequence[str], Mapping[str, str]]] = []
        self.at: list[float] = []

    def end(self, *answers: Answer) -> None:
        """End this many calls, in the order in which they wait."""
        for answer in answers:
            self._answers.put(answer)

    def told(self, name: str) -> list[str]:
        """List what each call was told in this variable."""
        return [environment[name] for _, environment in self.calls]

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """See Runner.keep_ready."""

    def call(
        self, argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float
    ) -> Output:
        """See Runner.call."""
        assert deadline_seconds == 60
        self.at.append(self._clock())
        self.calls.append((argv, environment))
        answer = self._answers.get(timeout=PATIENCE_SECONDS)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """Refuse: a hook is no reading command."""
        raise AssertionError(argv, deadline_seconds)

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """Refuse: a hook is no command of ours."""
        raise AssertionError(argv, environment)


class Hasty(ManualClock):
    """Nearly a whole pause passes between two looks at it, so that little is waited for."""

    def __call__(self) -> float:
        """Tell the time."""
        self.now += 9.95
        return self.now


class Host:
    """Hooks with a file that may be run, a clock moved by hand, and a log."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "hook"
        self.file.write_text("#!/bin/sh\n")
        self.file.chmod(0o700)
        self.clock = ManualClock()
        self.log = FakeLog()
        self.scripts = Scripts(self.clock)
        self.bulkheads = Bulkheads(self.log, self.clock)
        self._trust = Trust(owner_uid=os.getuid(), root=str(directory))
        self.hooks = self.fresh()

    def fresh(self) -> Hooks:
        """Make hooks that know nothing yet."""
        return Hooks(
            self.scripts,
            str(self.file),
            deadline_seconds=60,
            clock=self.clock,
            log=self.log,
            trust=self._trust,
            bulkheads=self.bulkheads,
        )

    def real(
        self,
        script: str,
        *,
        deadline_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] | None = None,
    ) -> Hooks:
        """Run this script in earnest."""
        self.file.write_text(f"#!/bin/sh\n{script}\n")
        return Hooks(
            HostRunner(call_grace_seconds=0.1),
            str(self.file),
            deadline_seconds=deadline_seconds,
            clock=clock or self.clock,
            log=self.log,
            trust=self._trust,
        )

    def caller(self) -> Caller:
        """Run the file's command once, in the test's own thread."""
        return Caller(
            self.scripts,
            str(self.file),
            deadline_seconds=60,
            clock=self.clock,
            log=self.log,
            trust=self._trust,
        )

    def logged(self, name: str, times: int = 1) -> list[dict[str, object]]:
        """Wait for so many lines of this event."""
        assert eventually(lambda: len(self.log.events(name)) >= times), self.log.lines
        return self.log.events(name)

    def called(self, times: int) -> None:
        """Wait for so many calls."""
        assert eventually(lambda: len(self.scripts.calls) >= times), self.scripts.calls
        assert len(self.scripts.calls) == times


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Make a host with a hook."""
    return Host(tmp_path)


def test_is_run_with_the_pool_as_dmeventd_names_it(host: Host) -> None:
    """One argument, the file by the name that the configuration has."""
    host.scripts.end(ended(stdout="all\nwell\n"))

    host.hooks.call(POOL, EXTENDED, "extend", added_bytes={Device.DATA: 4096})

    (line,) = host.logged("hook_done")
    ((argv, environment),) = host.scripts.calls
    assert argv == (str(host.file), "docker/thinpool")
    assert environment["THINPOOL_EVENT"] == "extended"
    assert environment["THINPOOL_DATA_ADDED_BYTES"] == "4096"
    assert line == {
        "vg": "docker",
        "pool": "thinpool",
        "on": "extended",
        "reason": "extend",
        "seconds": 0.0,
        "output": "all well",
    }


def test_without_a_command_nothing_is_run(host: Host) -> None:
    """And nothing is remembered or said."""
    hooks = Hooks(host.scripts, None, deadline_seconds=60, clock=host.clock, log=host.log)

    for event in HookEvent:
        hooks.call(POOL, event, "extend")
    hooks.settle(POOL.label)

    assert not host.scripts.calls
    assert not host.log.lines


def see(host: Host, reason: str = "seen") -> None:
    """Be a cycle of the guard's that finds the pool full."""
    host.hooks.call(POOL, FULL, reason)


@pytest.mark.parametrize(
    ("failure", "field", "value"),
    [
        (ended(3), "exit_status", 3),
        (ended(-9), "exit_status", -9),
        (CommandStuckError(("hook",), 60), "deadline_seconds", 60),
        (
            CommandMissingError(("/bin/sh",), "no memory"),
            "error",
            "cannot start /bin/sh: no memory",
        ),
        (OSError(24, "Too many open files"), "error", "[Errno 24] Too many open files"),
    ],
)
def test_is_run_again_until_it_exits_0(
    host: Host, failure: Answer, field: str, value: object
) -> None:
    """With dmeventd's pauses, whatever went wrong; then no more while the state lasts."""
    host.scripts.end(failure, failure, failure, ended())
    start = host.clock.now
    see(host)

    for times, due in enumerate((10, 30, 70), 1):
        assert host.logged("hook_failed", times)[-1][field] == value
        host.clock.now = start + due - 0.1
        see(host)  # not yet
        host.clock.now = start + due
        see(host)
        host.called(times + 1)
    host.logged("hook_done")
    host.clock.now = start + 10_000
    see(host, "in vain")

    assert [line["again_in_seconds"] for line in host.log.events("hook_failed")] == [10, 20, 40]
    assert host.scripts.at == [start + due for due in (0, 10, 30, 70)]


def test_calls_are_counted_by_outcome(host: Host) -> None:
    """For the metric; nothing is counted where there is no command."""
    assert host.hooks.calls == {"done": 0, "failed": 0}
    host.scripts.end(ended(1), ended())
    see(host)
    host.logged("hook_failed")
    host.clock.now += 10
    see(host)
    host.logged("hook_done")

    assert host.hooks.calls == {"done": 1, "failed": 1}
    host.hooks.use(None, 60)
    assert host.hooks.calls is None


def test_another_command_is_called_from_then_on(host: Host) -> None:
    """For what waits to be told again too; without a command it is forgotten."""
    other = host.file.with_name("other")
    other.write_text("#!/bin/sh\n")
    other.chmod(0o700)
    host.scripts.end(ended(1), ended(1))
    see(host)
    host.logged("hook_failed", 1)

    host.hooks.use(str(other), 60)
    host.clock.now += 10
    see(host)
    host.logged("hook_failed", 2)
    host.hooks.use(None, 60)
    host.clock.now += 10_000
    see(host)
    host.hooks.settle(POOL.label, *HookEvent)

    assert [argv[0] for argv, _ in host.scripts.calls] == [str(host.file), str(other)]


def test_tries_again_by_itself(host: Host) -> None:
    """Nobody asks for a growth's hook again."""
    script = f"test -e {host.file}.tried || {{ touch {host.file}.tried; exit 1; }}"
    hooks = host.real(script, clock=Hasty())

    hooks.call(POOL, EXTENDED, "extend")

    host.logged("hook_failed")
    host.logged("hook_done")


def test_a_state_is_told_again_after_it_had_passed(host: Host) -> None:
    """Not before."""
    host.scripts.end(ended(), ended())
    see(host, "first")
    host.logged("hook_done")
    for _ in range(3):
        host.clock.now += 1000
        see(host, "same")

    host.hooks.settle(POOL.label)
    see(host, "again")

    host.logged("hook_done", 2)
    assert host.scripts.told("THINPOOL_REASON") == ["first", "again"]


def test_settling_one_state_leaves_the_other(host: Host) -> None:
    """A pool may have space again and still be unable to grow."""
    host.scripts.end(*[ended()] * 3)
    for times, event in enumerate((FULL, IMPOSSIBLE), 1):
        host.hooks.call(POOL, event, "first")
        host.logged("hook_done", times)

    host.hooks.settle(POOL.label, FULL)
    host.hooks.call(POOL, IMPOSSIBLE, "same")
    host.hooks.call(POOL, FULL, "again")

    host.logged("hook_done", 3)
    assert host.scripts.told("THINPOOL_REASON") == ["first", "first", "again"]


def test_a_state_that_has_passed_is_not_told_again(host: Host) -> None:
    """Neither when its hook has failed, nor when it fails afterwards."""
    host.scripts.end(ended(1))
    see(host, "failed")
    host.logged("hook_failed")
    host.hooks.settle(POOL.label)
    see(host, "fails later")
    host.called(2)
    host.hooks.settle(POOL.label)

    host.scripts.end(ended(1))

    assert "again_in_seconds" not in host.logged("hook_failed", 2)[-1]
    host.clock.now += 10_000
    host.scripts.end(ended())
    see(host, "back")
    host.logged("hook_done")
    assert host.scripts.told("THINPOOL_REASON") == ["failed", "fails later", "back"]


def test_one_at_a_time_for_each_pool(host: Host) -> None:
    """Others are run beside; the caller waits for none of them."""
    host.hooks.call(POOL, EXTENDED, "first")
    host.called(1)
    host.hooks.call(POOL, IMPOSSIBLE, "second")
    host.hooks.call(POOL, FULL, "third")
    host.hooks.call(make_numbered_pool(7), FULL, "other pool")
    host.called(2)

    host.scripts.end(*[ended()] * 4)

    host.logged("hook_done", 4)
    assert host.scripts.told("THINPOOL_REASON")[:2] == ["first", "other pool"]
    assert host.scripts.told("THINPOOL_REASON")[2:] == ["second", "third"]


def test_a_growth_is_not_lost_silently(host: Host) -> None:
    """One that waits is replaced by a later one; the log has its figures."""
    for reason, size_bytes in (("first", 1), ("second", 2), ("third", 3)):
        host.hooks.call(POOL, EXTENDED, reason, added_bytes={Device.DATA: size_bytes})
        host.called(1)
    host.scripts.end(ended(), ended())

    host.logged("hook_done", 2)

    assert host.scripts.told("THINPOOL_REASON") == ["first", "third"]
    (line,) = host.log.events("hook_superseded")
    assert (line["reason"], line["data_added_bytes"]) == ("second", 2)


def test_a_repetition_is_told_the_present_figures(host: Host) -> None:
    """As dmeventd's command is."""
    host.scripts.end(ended(1), ended())
    host.hooks.call(POOL, FULL, "full", seconds_left=60)
    host.logged("hook_failed")

    host.clock.now += 10
    host.hooks.call(POOL, FULL, "full", seconds_left=50)

    host.logged("hook_done")
    assert host.scripts.told("THINPOOL_SECONDS_LEFT") == ["60", "50"]


def test_a_pool_that_is_gone_is_forgotten(host: Host) -> None:
    """Its growth's hook as well."""
    host.scripts.end(ended(1), ended())
    host.hooks.call(POOL, EXTENDED, "gone")
    host.logged("hook_failed")

    host.hooks.settle(POOL.label, *HookEvent)
    host.clock.now += 10_000
    host.hooks.call(POOL, EXTENDED, "new")

    host.logged("hook_done")
    assert host.scripts.told("THINPOOL_REASON") == ["gone", "new"]
    assert not host.log.events("hook_superseded")


def test_a_refusal_is_told_once_for_each_change(host: Host) -> None:
    """Looked at before each run: what was right once may be so no more."""
    caller = host.caller()
    happening = Happening(event=FULL, reason="full", pool=POOL)
    for mode in (0o707, 0o707, 0o600, 0o600, 0o707):
        host.file.chmod(mode)
        ended = caller.run(happening)
        caller.narrate(happening, ended, 10.0)
        assert ended.problem

    lines = host.log.events("hook_refused")
    assert len(host.log.lines) == len(lines) == 3
    assert lines[0] == lines[2]
    assert lines[0] == {
        "command": str(host.file),
        "error": f"{host.file}: others than its owner may write to it: chmod go-w {host.file}",
    }
    assert "not executable" in str(lines[1]["error"])
    assert not host.scripts.calls


def test_a_refused_file_is_run_once_it_is_mended(host: Host) -> None:
    """With the pauses of any failure."""
    host.file.chmod(0o707)
    host.scripts.end(ended())
    see(host)
    host.logged("hook_refused")

    host.file.chmod(0o700)
    host.clock.now += 10
    see(host)

    host.logged("hook_done")


def test_a_machine_without_room_for_a_thread_is_tried_again(host: Host) -> None:
    """With the pauses of any failure; it is counted, and the caller goes on."""
    host.scripts.end(ended())
    usual = threading.stack_size(1 << 47)
    try:
        see(host, "no room")
        (line,) = host.logged("failed")
    finally:
        threading.stack_size(usual)
    assert (line["stage"], line["name"]) == ("hook", POOL.label)
    see(host, "not yet")
    assert host.scripts.calls == []

    host.clock.now += 10
    see(host, "room")

    host.logged("hook_done")
    assert host.scripts.told("THINPOOL_REASON") == ["room"]


def test_a_call_starts_no_thread_itself(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes from the guard's loop, which must not wait for clone()."""
    host.scripts.end(ended())
    starters: list[str] = []
    start = threading.Thread.start

    def note(thread: threading.Thread) -> None:
        starters.append(threading.current_thread().name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", note)
    see(host)
    host.logged("hook_done")

    assert starters == ["hooks"]


@pytest.mark.parametrize("error", [ValueError("embedded null byte"), MemoryError()])
def test_what_nobody_foresaw_is_a_failed_call(host: Host, error: Exception) -> None:
    """Counted, and tried again after a pause; other pools' hooks run meanwhile."""
    host.scripts.end(error)
    see(host, "first")
    host.logged("failed")
    host.scripts.end(ended(), ended())
    host.hooks.call(make_numbered_pool(7), FULL, "other pool")
    host.logged("hook_done")

    host.clock.now += 9.9
    see(host, "too early")
    host.clock.now += 0.1
    see(host, "again")

    host.logged("hook_done", 2)
    assert host.scripts.told("THINPOOL_REASON") == ["first", "other pool", "again"]
    assert host.bulkheads.counts[Stage.HOOK] == 1


class BrokenPool:
    """No pool at all: each look at it raises."""

    label = "docker/thinpool"

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


def test_neither_a_call_nor_its_thread_raises(host: Host) -> None:
    """Whatever the guard gives to it; a hook that can be told runs all the same."""
    broken = cast("ThinPool", BrokenPool())
    host.scripts.end(ended())

    host.hooks.call(broken, FULL, "full")
    host.hooks.call(broken, cast("HookEvent", []), "unhashable")
    host.logged("failed", 2)
    host.hooks.settle(POOL.label, *HookEvent)
    see(host)

    host.logged("hook_done")
    assert host.bulkheads.counts[Stage.HOOK] == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_keeper_that_has_died_is_replaced(tmp_path: Path) -> None:
    """What waited for it is done then."""
    before = set(threading.enumerate())  # among them keepers of other tests
    host = Host(tmp_path)
    (keeper,) = set(threading.enumerate()) - before
    host.scripts.end(ended(), ended())
    see(host, "first")
    host.logged("hook_done")
    end_thread(keeper, lambda: host.hooks.call(POOL, IMPOSSIBLE, "wakes it"))
    assert eventually(lambda: not host.hooks.is_alive)

    host.hooks.supervise()

    host.logged("hook_done", 2)
    host.hooks.supervise()
    assert host.hooks.is_alive


def test_a_keeper_that_cannot_be_started_is_tried_again(host: Host) -> None:
    """The guard starts and goes on without; what it says is kept."""
    host.scripts.end(ended())
    usual = threading.stack_size(1 << 47)
    try:
        hooks = host.fresh()
        hooks.call(POOL, FULL, "full")
    finally:
        threading.stack_size(usual)
    assert host.bulkheads.counts[Stage.HOOK] == 1
    assert not hooks.is_alive

    hooks.supervise()

    host.logged("hook_done")


def test_a_real_script_is_repeated_until_it_is_content(host: Host, tmp_path: Path) -> None:
    """It sees its argument and its environment each time."""
    record = tmp_path / "record"
    hooks = host.real(
        f'echo "$# $1 $THINPOOL_EVENT $DMEVENTD_THIN_POOL_DATA" >> {record}\n'
        f"test $(wc -l < {record}) -ge 3"
    )

    for _ in range(2):
        hooks.call(POOL, FULL, "full")
        host.logged("hook_failed", 1 + len(host.log.events("hook_failed")))
        host.clock.now += 10_000
    hooks.call(POOL, FULL, "full")

    host.logged("hook_done")
    assert record.read_text() == "1 docker/thinpool full 0\n" * 3


def test_a_real_script_that_hangs_is_ended(host: Host) -> None:
    """What it had said is logged, shortened."""
    hooks = host.real("seq 1 100000; exec sleep 100", deadline_seconds=1.0)

    hooks.call(POOL, FULL, "full")

    (line,) = host.logged("hook_failed")
    assert (line["deadline_seconds"], line["again_in_seconds"]) == (1.0, 10)
    output = str(line["output"])
    assert output.startswith("1 2 3 ")
    assert output.endswith(" 99999 100000")
    assert len(output) <= 2003


@pytest.mark.parametrize("pool", [POOL, make_pool(vg_name="", name="docker-8:1-1-pool")])
def test_the_caller_never_waits(host: Host, pool: ThinPool) -> None:
    """A thousand cycles pass while a hook hangs, each with its calls."""
    cycle: Sequence[Callable[[], None]] = (
        lambda: host.hooks.call(pool, FULL, "full"),
        lambda: host.hooks.call(pool, IMPOSSIBLE, "no_space"),
        lambda: host.hooks.settle("docker/other"),
    )
    for _ in range(1000):
        for step in cycle:
            step()
    host.called(1)

    host.scripts.end(ended(), ended())

    host.logged("hook_done", 2)
