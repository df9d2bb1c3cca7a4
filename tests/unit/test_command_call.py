"""Commands of the user's: they get what dmeventd gives, end in time, and cost nobody more."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.command import HostRunner, Output
from exporter.command.call import OUTPUT_BYTES
from exporter.errors import CommandStuckError, HostError
from tests.processes import is_alive, numbers_file, shell
from tests.waiting import PATIENCE_SECONDS, eventually

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 0.5
GRACE_SECONDS = 1.0


@pytest.fixture
def runner() -> HostRunner:
    """Start real programs, and give them little time after their deadline."""
    return HostRunner(call_grace_seconds=GRACE_SECONDS)


@pytest.fixture
def pid_file(tmp_path: Path) -> Iterator[Path]:
    """Name a file where children leave their numbers; none of them stays behind."""
    with numbers_file(tmp_path) as file:
        yield file


def call(runner: HostRunner, script: str, **environment: str) -> Output:
    """Run a script with all the time that a busy machine may need."""
    return runner.call(
        shell(script), environment=environment, deadline_seconds=PATIENCE_SECONDS
    )


def call_too_long(runner: HostRunner, script: str) -> str:
    """Run a script that does not end in time; what it had printed."""
    with pytest.raises(CommandStuckError) as caught:
        runner.call(shell(script), environment={}, deadline_seconds=DEADLINE_SECONDS)
    return caught.value.stdout


def test_returns_both_streams_in_order(runner: HostRunner) -> None:
    """As a person sees them on a terminal."""
    output = call(runner, "echo one; echo two >&2; echo three")

    assert output == Output(
        argv=shell("echo one; echo two >&2; echo three"),
        status=0,
        stdout="one\ntwo\nthree\n",
        stderr="",
    )


@pytest.mark.parametrize(("script", "status"), [("exit 5", 5), ("kill -KILL $$", -9)])
def test_a_failure_is_an_answer(runner: HostRunner, script: str, status: int) -> None:
    """With what was said before it."""
    output = call(runner, f"echo alas; {script}")

    assert (output.status, output.stdout) == (status, "alas\n")


def test_much_output_is_cut_and_ends_nothing(runner: HostRunner) -> None:
    """The beginning and the end are kept; the script runs on to its last line."""
    output = call(runner, "echo first; seq 1 200000; echo last; exit 3")

    assert output.status == 3
    assert output.stdout.startswith("first\n1\n")
    assert output.stdout.endswith("200000\nlast\n")
    assert len(output.stdout) <= OUTPUT_BYTES


def test_what_is_left_in_the_background_goes_on(runner: HostRunner, pid_file: Path) -> None:
    """It holds the output, but not us: dmeventd does not wait for it either."""
    output = call(runner, f"sleep 100 & echo $! > {pid_file}; echo done")

    assert output.stdout == "done\n"
    assert is_alive(int(pid_file.read_text()))


def test_one_that_closed_its_output_is_waited_for(runner: HostRunner) -> None:
    """The end of the output is not the end of the command."""
    assert call(runner, "exec >&- 2>&-; sleep 0.2; exit 4").status == 4


def test_at_the_deadline_it_may_put_things_in_order(runner: HostRunner) -> None:
    """It is asked to end first, and what it says is kept."""
    said = call_too_long(
        runner, "trap 'echo unmounted; exit' TERM; echo begun; while :; do sleep 0.05; done"
    )

    assert said.startswith("begun\n")
    assert said.endswith("unmounted\n")


def test_an_lvm_that_it_started_ends_its_critical_section(
    runner: HostRunner, tmp_path: Path
) -> None:
    """The script dies of the signal at once; a child that holds it off gets the grace."""
    busy = f"trap 'sleep 0.3; echo committed > {tmp_path}/done; exit' TERM"

    call_too_long(runner, f"({busy}; while :; do sleep 0.05; done) & wait")

    assert (tmp_path / "done").read_text() == "committed\n"


def test_one_that_does_not_end_is_killed_with_all_it_started(
    runner: HostRunner, pid_file: Path
) -> None:
    """After the grace."""
    call_too_long(
        runner, f"trap '' TERM; sleep 100 & echo $! $$ > {pid_file}; while :; do sleep 1; done"
    )

    pids = [int(pid) for pid in pid_file.read_text().split()]
    assert eventually(lambda: not any(map(is_alive, pids)))


def test_the_environment_is_told_and_nothing_else_is(
    runner: HostRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable of ours, none left over of another pool, and LVM may use syslog."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_PID", "THINPOOL_VG", "DMEVENTD_THIN_POOL_DATA"):
        monkeypatch.setenv(name, "inherited")
    monkeypatch.setenv("LVM_SYSTEM_DIR", "/srv/lvm")
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")

    names = (
        "NOTIFY_SOCKET WATCHDOG_PID THINPOOL_VG DMEVENTD_THIN_POOL_DATA THINPOOL_POOL "
        "LVM_SYSTEM_DIR LC_ALL LVM_SUPPRESS_SYSLOG LVM_SUPPRESS_FD_WARNINGS"
    )
    output = call(
        runner, "; ".join(f"echo ${{{n}-unset}}" for n in names.split()), THINPOOL_POOL="a"
    )

    assert output.stdout.split() == [
        *("unset", "unset", "unset", "unset", "a"),
        *("/srv/lvm", "C", "unset", "unset"),
    ]


def test_it_starts_as_dmeventds_commands_do(runner: HostRunner) -> None:
    """At the root, without input, and with files that are root's alone."""
    output = call(runner, "pwd; umask; cat; cut -d' ' -f6 /proc/$$/stat; echo $$")

    root, umask, session, own = output.stdout.split()
    assert (root, umask) == ("/", "0077")
    assert session == own


def test_a_script_without_an_interpreter_line_is_run(
    runner: HostRunner, tmp_path: Path
) -> None:
    """As dmeventd's execvp does; and its name is the one that was given."""
    script = tmp_path / "script"
    script.write_text('echo "$0" "$#" "$1"\n')
    script.chmod(0o700)

    output = runner.call(
        (str(script), "vg/pool with space"), environment={}, deadline_seconds=PATIENCE_SECONDS
    )

    assert output.stdout == f"{script} 1 vg/pool with space\n"


def test_a_command_that_cannot_be_started_says_so(runner: HostRunner, tmp_path: Path) -> None:
    """Gone between the check and the start: a failure like any other."""
    absent = str(tmp_path / "absent")

    output = runner.call((absent,), environment={}, deadline_seconds=PATIENCE_SECONDS)

    assert output.status == 127
    assert absent in output.stdout


OOM_SCORE = """
import subprocess
from pathlib import Path
from exporter.command import HostRunner
score = "/proc/self/oom_score_adj"
Path(score).write_text("500")
print(subprocess.run(["sh", "-c", f"echo 0 >{score}; cat {score}"], capture_output=True,
                     text=True, check=False).stdout.strip())
print(HostRunner().call(("/bin/cat", score), environment={}, deadline_seconds=30).stdout)
"""


def test_the_oom_killers_favour_is_not_inherited() -> None:
    """A spared guard's hook is as any process, as far as the kernel lets it."""
    argv = (sys.executable, "-c", OOM_SCORE)

    ended = subprocess.run(
        argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )

    possible, actual = ended.stdout.split()
    assert actual == possible


NICENESS = """
import os
from exporter.command import HostRunner
os.setpriority(os.PRIO_PROCESS, 0, {niceness})
look = ("/bin/sh", "-c", "cut -d' ' -f19 /proc/self/stat")
print(HostRunner(expendable=set()).run(look, deadline_seconds=30).stdout)
print(HostRunner().call(look, environment={{}}, deadline_seconds=30).stdout)
"""


def nicenesses(niceness: int) -> list[str]:
    """Ask for what a command of ours and one of the user's have, at this one of ours."""
    argv = (sys.executable, "-c", NICENESS.format(niceness=niceness))
    ended = subprocess.run(
        argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    if "Permission denied" in ended.stderr:
        pytest.skip("needs CAP_SYS_NICE")
    return ended.stdout.split()


def test_a_guards_priority_is_not_inherited() -> None:
    """A hook that computes must not keep the guard from the processor."""
    assert nicenesses(-15) == ["-15", "0"]


def test_a_low_priority_is_inherited() -> None:
    """Somebody has chosen it, and to raise it would take rights."""
    assert nicenesses(5) == ["5", "5"]


def test_at_our_end_it_is_asked_to_end(runner: HostRunner, pid_file: Path) -> None:
    """Nobody would hold it to its deadline; nothing is started any more."""
    ended: list[Output] = []
    thread = threading.Thread(
        target=lambda: ended.append(call(runner, f"echo $$ > {pid_file}; exec sleep 100"))
    )
    thread.start()
    assert eventually(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))

    runner.close()
    thread.join(PATIENCE_SECONDS)

    assert [output.status for output in ended] == [-15]
    with pytest.raises(HostError, match="the program is ending"):
        call(runner, "echo never")


def test_keeps_no_descriptor(runner: HostRunner) -> None:
    """However it went: a guard runs for years."""
    before = sorted(Path("/proc/self/fd").iterdir())

    call(runner, "echo done")
    call(runner, "exit 1")
    call_too_long(runner, "sleep 100")

    assert sorted(Path("/proc/self/fd").iterdir()) == before
