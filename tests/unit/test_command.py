"""Starting programs: real children that print, hang, fork, stop, die and outlive us."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.command import HostRunner, Output, Running, child_environment
from exporter.errors import (
    CommandFailedError,
    CommandMissingError,
    CommandStuckError,
    OutputTooLargeError,
)
from tests.processes import is_alive, numbers_file, shell
from tests.waiting import PATIENCE_SECONDS, eventually

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 0.5
MEBIBYTE = 1024 * 1024


@pytest.fixture
def runner() -> HostRunner:
    """Start real programs."""
    return HostRunner()


def python(script: str) -> tuple[str, ...]:
    """Build the argv of a Python program."""
    return (sys.executable, "-c", script)


def run(runner: HostRunner, argv: tuple[str, ...]) -> Output:
    """Run with all the time that a busy machine may need."""
    return runner.run(argv, deadline_seconds=PATIENCE_SECONDS)


def finish(running: Running) -> Output:
    """Wait for a started program's end."""
    output = running.wait(PATIENCE_SECONDS)
    assert output is not None
    return output


@pytest.fixture
def pid_file(tmp_path: Path) -> Iterator[Path]:
    """Name a file where children leave their numbers; none of them stays behind."""
    with numbers_file(tmp_path) as file:
        yield file


def test_returns_what_a_program_printed(runner: HostRunner) -> None:
    """Both streams, apart, with the status."""
    argv = shell("echo out; echo err >&2")

    assert run(runner, argv) == Output(argv=argv, status=0, stdout="out\n", stderr="err\n")


def test_reads_both_streams_in_any_order(runner: HostRunner) -> None:
    """Megabytes on each, while a pipe holds 64 KiB: neither side waits for the other."""
    script = (
        "import os\n"
        "for _ in range(64):\n"
        " os.write(1, b'o' * 65536)\n"
        " os.write(2, b'e' * 65536)\n"
    )

    output = run(runner, python(script))

    assert output.stdout == "o" * 4 * MEBIBYTE
    assert output.stderr == "e" * 4 * MEBIBYTE


def test_reads_on_when_one_stream_is_closed(runner: HostRunner) -> None:
    """What comes later on the other is not lost."""
    assert run(runner, shell("exec 2>&-; echo out")).stdout == "out\n"


def test_gives_no_input(runner: HostRunner) -> None:
    """A program that asks gets the end of file at once."""
    assert run(runner, shell("cat; echo done")).stdout == "done\n"


def test_runs_at_the_root(runner: HostRunner) -> None:
    """Our own directory may be on the file system that is full, or gone."""
    assert run(runner, shell("pwd")).stdout == "/\n"


def test_passes_no_descriptor_of_ours(runner: HostRunner) -> None:
    """LVM complains about those, and a child would keep our sockets open."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)

    output = run(runner, shell(f"test -e /proc/self/fd/{writing} || echo closed"))

    assert output.stdout == "closed\n"
    os.close(reading)
    os.close(writing)


@pytest.mark.timeout(60)
def test_a_program_that_prints_without_end_is_ended(pid_file: Path) -> None:
    """Memory is bounded, long before the deadline."""
    runner = HostRunner(max_output_bytes=MEBIBYTE)

    with pytest.raises(OutputTooLargeError, match="more than 1048576 bytes"):
        run(runner, shell(f"echo $$ > {pid_file}; exec yes"))

    assert not is_alive(int(pid_file.read_text()))


def test_the_limit_itself_is_allowed() -> None:
    """The last byte that may be printed is one that is returned."""
    runner = HostRunner(max_output_bytes=1000)

    assert len(run(runner, python("print('x' * 999)")).stdout) == 1000


def test_a_program_that_hangs_is_killed_at_the_deadline(
    runner: HostRunner, pid_file: Path
) -> None:
    """A reading command that waits for ever must not be waited for."""
    begins_at = time.monotonic()

    with pytest.raises(CommandStuckError, match=r"no answer within 0\.5 s"):
        runner.run(
            shell(f"echo $$ > {pid_file}; exec sleep 100"), deadline_seconds=DEADLINE_SECONDS
        )

    assert DEADLINE_SECONDS <= time.monotonic() - begins_at < PATIENCE_SECONDS
    assert not is_alive(int(pid_file.read_text()))


def test_the_deadline_holds_for_one_that_keeps_printing(runner: HostRunner) -> None:
    """Output is not progress."""
    with pytest.raises(CommandStuckError):
        runner.run(
            shell("while :; do echo x; sleep 0.01; done"), deadline_seconds=DEADLINE_SECONDS
        )


def test_the_deadline_holds_for_one_that_closed_its_output(runner: HostRunner) -> None:
    """The end of the output is not the end of the program."""
    with pytest.raises(CommandStuckError):
        runner.run(shell("exec >&- 2>&-; sleep 100"), deadline_seconds=DEADLINE_SECONDS)


@pytest.mark.parametrize("is_parent_alive", [True, False])
def test_what_the_program_started_is_killed_too(
    runner: HostRunner, pid_file: Path, *, is_parent_alive: bool
) -> None:
    """A grandchild that holds the pipe, whether its parent still lives or not."""
    script = f"sleep 100 & echo $! > {pid_file}; " + ("wait" if is_parent_alive else "exit 0")

    with pytest.raises(CommandStuckError):
        runner.run(shell(script), deadline_seconds=DEADLINE_SECONDS)

    assert eventually(lambda: not is_alive(int(pid_file.read_text())))


def test_a_stopped_program_is_killed_at_the_deadline(
    runner: HostRunner, pid_file: Path
) -> None:
    """It would hold its VG's lock for ever."""
    with pytest.raises(CommandStuckError):
        runner.run(
            shell(f"echo $$ > {pid_file}; kill -STOP $$; echo on"),
            deadline_seconds=DEADLINE_SECONDS,
        )

    assert not is_alive(int(pid_file.read_text()))


def test_runs_again_after_the_deadline(runner: HostRunner, tmp_path: Path) -> None:
    """The same command is tried anew when the one before is gone."""
    argv = shell(f"test -e {tmp_path}/fixed || sleep 100")
    with pytest.raises(CommandStuckError):
        runner.run(argv, deadline_seconds=DEADLINE_SECONDS)

    (tmp_path / "fixed").touch()

    assert run(runner, argv).status == 0


def test_one_that_cannot_be_killed_is_not_joined_by_another(
    runner: HostRunner, monkeypatch: pytest.MonkeyPatch, pid_file: Path
) -> None:
    """As in D state, or with rights that we lack; once it is gone, all is well again."""
    argv = shell(f"echo $$ >> {pid_file}; test $(wc -l < {pid_file}) = 2 || exec sleep 100")

    def refuse(_group: int, _signal: int) -> None:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", refuse)
        for _ in range(2):
            with pytest.raises(CommandStuckError):
                runner.run(argv, deadline_seconds=DEADLINE_SECONDS)
    (pid,) = pid_file.read_text().split()
    assert is_alive(int(pid))

    os.kill(int(pid), signal.SIGKILL)
    assert eventually(lambda: not is_alive(int(pid)))
    assert run(runner, argv).status == 0


def test_leaves_no_zombie(runner: HostRunner) -> None:
    """Every child is reaped, however it ended."""
    for script in ("exit 0", "exit 1", "kill -9 $$", "sleep 100"):
        with contextlib.suppress(CommandFailedError, CommandStuckError):
            runner.run(shell(script), deadline_seconds=DEADLINE_SECONDS)

    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert [pid for pid in children if not is_alive(int(pid))] == []


def run_it(argv: tuple[str, ...]) -> object:
    """Start a program that reads."""
    return HostRunner().run(argv, deadline_seconds=PATIENCE_SECONDS)


def start_it(argv: tuple[str, ...]) -> object:
    """Start a program that changes the host."""
    return HostRunner().start(argv, environment={})


@pytest.mark.parametrize("begin", [run_it, start_it])
@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("absent", None, "No such file or directory"),
        ("unexecutable", stat.S_IRUSR, "Permission denied"),
        ("garbage", stat.S_IRWXU, "Exec format error"),
    ],
)
def test_a_program_that_cannot_be_started_is_missing(
    tmp_path: Path,
    name: str,
    mode: int | None,
    *,
    reason: str,
    begin: Callable[[tuple[str, ...]], object],
) -> None:
    """With the system's reason, whatever it is."""
    program = tmp_path / name
    if mode is not None:
        program.write_bytes(b"\x7fELF garbage")
        program.chmod(mode)

    with pytest.raises(CommandMissingError, match=f"cannot start .*{name}: {reason}"):
        begin((str(program),))


def test_a_failure_has_status_and_message(runner: HostRunner) -> None:
    """What was printed on standard error, on one line."""
    with pytest.raises(CommandFailedError) as caught:
        run(runner, shell("echo partial; echo 'first' >&2; echo 'second' >&2; exit 5"))

    assert caught.value.status == 5
    assert caught.value.stderr == "first\nsecond\n"
    assert str(caught.value).endswith("exit status 5: first second")


def test_a_failure_without_a_message_shows_the_output(runner: HostRunner) -> None:
    """Some programs complain on standard output."""
    with pytest.raises(CommandFailedError, match="exit status 3: ERROR: no daemon"):
        run(runner, shell("echo 'ERROR: no daemon'; exit 3"))


def test_a_program_that_is_killed_names_the_signal(runner: HostRunner) -> None:
    """The OOM killer leaves no message."""
    with pytest.raises(CommandFailedError, match="killed by signal 9: no message") as caught:
        run(runner, shell("kill -KILL $$"))

    assert caught.value.status == -signal.SIGKILL


def test_bytes_that_are_no_utf_8_are_shown(runner: HostRunner) -> None:
    """One bad name does not hide the rest of the report."""
    assert run(runner, shell(r"printf 'a\377b\n'")).stdout == "a\\xffb\n"


def test_the_locale_is_c(runner: HostRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others print 24,00g and French errors."""
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    monkeypatch.setenv("LANGUAGE", "fr")
    monkeypatch.setenv("LANG", "es_ES.UTF-8")

    output = run(
        runner, shell("echo $LC_ALL $LANGUAGE; test -e /absent || ls /absent 2>&1; true")
    )

    assert output.stdout.startswith("C\n")
    assert "No such file or directory" in output.stdout


@pytest.mark.parametrize(
    "name",
    [
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
    ],
)
def test_what_systemd_gave_us_alone_does_not_pass(
    runner: HostRunner, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A child that answered for us would end the watchdog, or take our sockets."""
    monkeypatch.setenv(name, "ours")

    assert run(runner, shell(f"echo ${{{name}-unset}}")).stdout == "unset\n"


@pytest.mark.parametrize("name", ["LVM_SYSTEM_DIR", "DM_DEV_DIR", "PATH", "DOCKER_HOST"])
def test_the_tools_own_variables_pass(
    runner: HostRunner, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As they do when a person calls the tool."""
    monkeypatch.setenv(name, "/srv/here")

    assert run(runner, shell(f"echo ${name}")).stdout == "/srv/here\n"


def test_lvm_is_told_to_be_quiet(runner: HostRunner) -> None:
    """About our descriptors, and in syslog about each of our readings."""
    script = "echo $LVM_SUPPRESS_FD_WARNINGS $LVM_SUPPRESS_SYSLOG"

    assert run(runner, shell(script)).stdout == "1 1\n"


def test_a_started_program_gets_more_environment(runner: HostRunner) -> None:
    """Which goes before what it would have inherited."""
    running = runner.start(
        shell("echo $LVM_RUN_BY_DMEVENTD $LC_ALL"),
        environment={"LVM_RUN_BY_DMEVENTD": "1", "LC_ALL": "POSIX"},
    )

    assert finish(running).stdout == "1 POSIX\n"
    assert "LVM_RUN_BY_DMEVENTD" not in child_environment()


def test_a_started_program_is_asked_without_waiting(runner: HostRunner, tmp_path: Path) -> None:
    """Then waited for; its output is whole, and stays to be asked for again."""
    go = tmp_path / "go"
    os.mkfifo(go)
    argv = python(f"open({str(go)!r}).read(); print('x' * {MEBIBYTE}); raise SystemExit(3)")
    running = runner.start(argv, environment={})

    assert running.wait(0) is None
    assert running.wait(0.01) is None
    go.write_text("go")

    output = finish(running)
    assert (output.argv, output.status, output.stderr) == (argv, 3, "")
    assert output.stdout == "x" * MEBIBYTE + "\n"
    assert running.wait(0) is output


def test_a_started_program_is_waited_for_on_old_systems(
    runner: HostRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux before 5.3 has no pidfd, nor has a Python that was built on one."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    running = runner.start(shell("sleep 0.2; echo done"), environment={})

    assert running.wait(0.01) is None
    assert finish(running).stdout == "done\n"


def test_what_a_started_program_left_behind_is_not_waited_for(
    runner: HostRunner, pid_file: Path
) -> None:
    """A daemon that it started, dmeventd perhaps, holds the output but not us."""
    script = f"sleep 100 & echo $! > {pid_file}; echo done"

    assert finish(runner.start(shell(script), environment={})).stdout == "done\n"
    assert is_alive(int(pid_file.read_text()))


def test_a_started_program_is_never_killed(runner: HostRunner, tmp_path: Path) -> None:
    """Not when nobody waits for it any more."""
    go, done = tmp_path / "go", tmp_path / "done"
    os.mkfifo(go)
    running = runner.start(shell(f"read line < {go}; echo $line > {done}"), environment={})
    assert running.wait(0.01) is None

    go.write_text("on\n")

    assert eventually(lambda: done.exists() and done.read_text() == "on\n")
    finish(running)


def test_a_started_program_is_out_of_the_terminals_reach(runner: HostRunner) -> None:
    """Ctrl-C goes to a terminal's foreground group, of which it is none."""
    running = runner.start(
        python("import os; print(os.getsid(0) == os.getpid())"), environment={}
    )

    assert finish(running).stdout == "True\n"


OUR_DEATH = """
import os, signal, sys
from exporter.command import HostRunner
go, done = sys.argv[1:]
HostRunner().start(
    ("/bin/sh", "-c", f"read line < {go}; echo printed; echo $line > {done}"),
    environment={},
)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_started_program_survives_our_death(tmp_path: Path) -> None:
    """An lvextend cut off midway would leave suspended devices."""
    go, done = tmp_path / "go", tmp_path / "done"
    os.mkfifo(go)

    dead = subprocess.run(
        (*python(OUR_DEATH), str(go), str(done)),
        cwd=REPOSITORY,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert dead.returncode == -signal.SIGKILL
    go.write_text("on\n")

    assert eventually(lambda: done.exists() and done.read_text() == "on\n")


def test_only_the_expendable_lose_our_protection() -> None:
    """The OOM killer may have docker's client; an lvextend goes on as protected as we are."""
    # In a process of its own, less protected than usual: that takes no rights.
    program = """if True:
        import pathlib
        from exporter.command import HostRunner
        pathlib.Path("/proc/self/oom_score_adj").write_text("500")
        runner = HostRunner(expendable={"/bin/sh"})
        look = "while read n < /proc/self/oom_score_adj; test $n = 500; do sleep 0.01; done"
        print(runner.run(("/bin/sh", "-c", look + "; echo $n"), deadline_seconds=60).stdout)
        look = ("/bin/cat", "/proc/self/oom_score_adj")
        print(runner.run(look, deadline_seconds=60).stdout)
    """

    done = subprocess.run(
        python(program), cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["0", "500"]


def test_only_the_expendable_lose_our_priority() -> None:
    """An lvs keeps it: while it waits for a processor it holds its VG's lock."""
    program = """if True:
        import os
        from exporter.command import HostRunner
        os.setpriority(os.PRIO_PROCESS, 0, -15)
        runner = HostRunner(expendable={"/bin/sh"})
        see = "read a < /proc/$$/stat; set -- $a; test ${19} = 0"
        look = f"until {see}; do sleep 0.01; done; echo ${{19}}"
        print(runner.run(("/bin/sh", "-c", look), deadline_seconds=60).stdout)
        look = ("/usr/bin/cut", "-d ", "-f19", "/proc/self/stat")
        print(runner.run(look, deadline_seconds=60).stdout)
    """

    done = subprocess.run(
        python(program), cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    if "Permission denied" in done.stderr:
        pytest.skip("needs CAP_SYS_NICE")
    assert done.stdout.split() == ["0", "-15"]


def test_keeps_no_descriptor(runner: HostRunner) -> None:
    """However it went: a guard runs for years."""
    before = sorted(Path("/proc/self/fd").iterdir())

    for script in ("exit 0", "exit 1", "sleep 100"):
        with contextlib.suppress(CommandFailedError, CommandStuckError):
            runner.run(shell(script), deadline_seconds=DEADLINE_SECONDS)
    for begin in (run_it, start_it):
        with pytest.raises(CommandMissingError):
            begin(("/absent",))
    finish(runner.start(shell("exit 0"), environment={}))

    assert sorted(Path("/proc/self/fd").iterdir()) == before
