"""An lvm that is started ahead: what it is told, and what happens where it does not do it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.command import HostRunner, Output
from exporter.command.standby import RENEW_SECONDS, RETRY_SECONDS, SCRIPT
from exporter.errors import CommandMissingError
from tests.processes import is_alive, numbers_file
from tests.waiting import PATIENCE_SECONDS, eventually

ENVIRONMENT = {"LVM_RUN_BY_DMEVENTD": "1"}
REPOSITORY = Path(__file__).parents[2]
# Reads its commands as lvm's _run_script does, line by line to the first that fails.
LVM = """\
#!/bin/sh
echo $$ >> {pids}
command() {{
  echo "$$ $LVM_RUN_BY_DMEVENTD $*"
  [ "$2" = refused ] && return 5
  return 0
}}
case $1 in
  {script})
    status=2
    read -r magic || exit 2
    while read -r line; do
      command $line; status=$?
      [ $status = 0 ] || break
    done
    exit $status;;
  *) command "$@";;
esac
"""


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """Name the file where each lvm leaves its number."""
    with numbers_file(tmp_path) as file:
        yield file


@pytest.fixture
def lvm(tmp_path: Path, pids: Path) -> str:
    """Make an lvm that prints its number and what it is to do."""
    return make_lvm(tmp_path / "lvm", LVM.format(pids=pids, script=SCRIPT))


@pytest.fixture
def runner() -> Iterator[HostRunner]:
    """Start real programs, and leave none waiting."""
    runner = HostRunner(ready=1)
    yield runner
    runner.close()


def make_lvm(path: Path, text: str) -> str:
    """Write a program."""
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def started(pids: Path) -> list[int]:
    """List the numbers of all that were started."""
    return [int(line) for line in pids.read_text().split()] if pids.exists() else []


def ready(runner: HostRunner, lvm: str, pids: Path, times: int = 1) -> int:
    """Have one ready, and know its number."""
    runner.keep_ready(lvm, environment=ENVIRONMENT)
    assert eventually(lambda: len(started(pids)) == times)
    return started(pids)[-1]


def extend(runner: HostRunner, *argv: str) -> Output:
    """Run a command to its end."""
    output = runner.start(argv, environment=ENVIRONMENT).wait(PATIENCE_SECONDS)
    assert output is not None
    return output


def test_what_waits_does_the_work(runner: HostRunner, lvm: str, pids: Path) -> None:
    """No other process is started, and the answer is that of the plain command."""
    number = ready(runner, lvm, pids)
    argv = (
        lvm,
        "lvextend",
        "-l",
        "150",
        "--poolmetadatasize",
        "12582912b",
        "docker/my-pool_1.x",
    )

    output = extend(runner, *argv)

    assert output.stdout == f"{number} 1 {' '.join(argv[1:])}\n"
    assert (output.argv, output.status) == (argv, 0)
    assert len(started(pids)) == 1


def test_a_refusal_is_told_and_not_repeated(runner: HostRunner, lvm: str, pids: Path) -> None:
    """The exit status is that of the command."""
    ready(runner, lvm, pids)

    assert extend(runner, lvm, "lvextend", "refused").status == 5
    assert len(started(pids)) == 1


def test_it_is_waited_for_in_pieces(runner: HostRunner, lvm: str, pids: Path) -> None:
    """As any command that may outlast our patience."""
    ready(runner, lvm, pids)

    running = runner.start((lvm, "lvextend"), environment=ENVIRONMENT)
    running.wait(0)

    assert eventually(lambda: running.wait(0) is not None)
    assert running.wait(0) == running.wait(0)


def test_each_does_one_command(runner: HostRunner, lvm: str, pids: Path) -> None:
    """The next one starts anew, unless another has been made ready."""
    first = ready(runner, lvm, pids)
    extend(runner, lvm, "lvextend", "one")

    plain = extend(runner, lvm, "lvextend", "two")
    third = ready(runner, lvm, pids, times=3)

    assert not plain.stdout.startswith(f"{first} ")
    assert extend(runner, lvm, "lvextend", "three").stdout.startswith(f"{third} ")


@pytest.mark.parametrize(
    "words",
    [
        ("--config", "backup{archive=0 backup=0}"),
        ("a b",),
        ("",),
        ("#comment",),
        ("one\ntwo",),
        ("v" * 127 + "/" + "p" * 127,),
    ],
)
def test_what_lvm_would_read_differently_is_started_plainly(
    runner: HostRunner, lvm: str, pids: Path, words: tuple[str, ...]
) -> None:
    """Its script knows other quotes than a shell, and no line of more than 255 bytes."""
    ready(runner, lvm, pids)

    output = extend(runner, lvm, "lvextend", *words)

    plain = started(pids)[-1]
    assert output.stdout == f"{plain} 1 lvextend {' '.join(words)}\n"
    assert len(started(pids)) == 2
    assert is_alive(started(pids)[0])  # it can still take the next one


def test_only_the_same_program_and_environment_are_served(
    runner: HostRunner, lvm: str, pids: Path
) -> None:
    """What waits has been started with them, once and for all."""
    waiting = ready(runner, lvm, pids)

    output = runner.start((lvm, "lvs"), environment={}).wait(PATIENCE_SECONDS)

    assert output is not None
    assert output.stdout == f"{started(pids)[-1]}  lvs\n"
    assert eventually(lambda: not is_alive(waiting))


def test_one_that_has_died_is_replaced_by_a_plain_command(
    runner: HostRunner, lvm: str, pids: Path
) -> None:
    """Whoever may have killed it."""
    subprocess.run(("kill", "-9", str(ready(runner, lvm, pids))), check=True)
    assert eventually(lambda: not is_alive(started(pids)[0]))

    assert extend(runner, lvm, "lvextend", "on").stdout.endswith("lvextend on\n")
    assert len(started(pids)) == 2


@pytest.mark.parametrize("status", [2, 3, 4])
def test_one_that_does_not_run_it_is_followed_by_a_plain_command(
    runner: HostRunner, tmp_path: Path, pids: Path, status: int
) -> None:
    """A wrapper perhaps, or an lvm that takes no scripts: it has done nothing."""
    plain = f'[ "$1" = {SCRIPT} ] || exec echo "$@"'
    script = f"echo $$ >> {pids}; {plain}; read magic; read line; exit {status}"
    lvm = make_lvm(tmp_path / "lvm", f"#!/bin/sh\n{script}\n")
    ready(runner, lvm, pids)

    output = extend(runner, lvm, "lvextend", "on")

    assert (output.stdout, output.status) == ("lvextend on\n", 0)
    assert output.argv == (lvm, "lvextend", "on")


def test_one_is_enough(runner: HostRunner, lvm: str, pids: Path) -> None:
    """To ask again and again costs nothing."""
    number = ready(runner, lvm, pids)

    for _ in range(10):
        runner.keep_ready(lvm, environment=ENVIRONMENT)

    assert extend(runner, lvm, "lvextend").stdout.startswith(f"{number} ")
    assert len(started(pids)) == 1


def test_two_commands_in_a_row_need_no_new_process(lvm: str, pids: Path) -> None:
    """The third one does; so do all after `keep_ready` has replaced what was used."""
    runner = HostRunner()
    runner.keep_ready(lvm, environment=ENVIRONMENT)
    assert eventually(lambda: len(started(pids)) == 2)

    used = [extend(runner, lvm, "lvextend").stdout.split()[0] for _ in range(2)]

    assert sorted(used) == sorted(map(str, started(pids)))
    extend(runner, lvm, "lvextend")
    assert len(started(pids)) == 3
    runner.keep_ready(lvm, environment=ENVIRONMENT)
    assert eventually(lambda: len(started(pids)) == 5)
    runner.close()
    assert eventually(lambda: not any(map(is_alive, started(pids))))


def test_an_old_one_is_renewed(lvm: str, pids: Path) -> None:
    """What it learned at its start may no longer be so."""
    now = [0.0]
    runner = HostRunner(clock=lambda: now[0], ready=1)
    first = ready(runner, lvm, pids)

    now[0] = RENEW_SECONDS
    second = ready(runner, lvm, pids, times=2)

    assert eventually(lambda: not is_alive(first))
    assert extend(runner, lvm, "lvextend").stdout.startswith(f"{second} ")
    runner.close()


def test_one_that_ends_by_itself_is_not_started_again_and_again(
    tmp_path: Path, pids: Path
) -> None:
    """A wrapper that gives lvm no input ends at once, each time."""
    now = [0.0]
    runner = HostRunner(clock=lambda: now[0], ready=1)
    lvm = make_lvm(tmp_path / "lvm", f'#!/bin/sh\necho $$ >> {pids}; echo "$@"\n')
    ready(runner, lvm, pids)
    assert eventually(lambda: not is_alive(started(pids)[0]))

    for now[0] in (1.0, RETRY_SECONDS - 1):
        runner.keep_ready(lvm, environment=ENVIRONMENT)
        assert len(started(pids)) == 1
    now[0] = RETRY_SECONDS
    ready(runner, lvm, pids, times=2)

    assert extend(runner, lvm, "lvextend", "on").stdout == "lvextend on\n"
    runner.close()


def test_a_host_without_descriptors_has_none_ready(
    lvm: str, runner: HostRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as a program that cannot be started, ready or not."""

    def fail(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pipe2", fail)
    with pytest.raises(CommandMissingError):
        runner.keep_ready(lvm, environment=ENVIRONMENT)
    monkeypatch.setattr(os, "memfd_create", fail)
    with pytest.raises(CommandMissingError):
        runner.start((lvm, "lvextend"), environment=ENVIRONMENT)


def test_none_waits_after_the_end(lvm: str, pids: Path) -> None:
    """And none is started."""
    runner = HostRunner(ready=1)
    number = ready(runner, lvm, pids)

    runner.close()
    runner.keep_ready(lvm, environment=ENVIRONMENT)

    assert eventually(lambda: not is_alive(number))
    assert started(pids) == [number]


def test_none_outlives_a_guard_that_is_killed(lvm: str, pids: Path) -> None:
    """Its standard input ends with us."""
    script = (
        "import os, signal, sys; from exporter.command import HostRunner;"
        f"runner = HostRunner(ready=1); runner.keep_ready({lvm!r}, environment={{}});"
        "sys.stdin.readline(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    guard = subprocess.Popen(
        (sys.executable, "-c", script), stdin=subprocess.PIPE, cwd=REPOSITORY, text=True
    )
    assert eventually(lambda: len(started(pids)) == 1)
    guard.communicate("now\n")

    assert eventually(lambda: not is_alive(started(pids)[0]))


def test_an_absent_lvm_is_told(runner: HostRunner, tmp_path: Path) -> None:
    """As when it is started plainly."""
    with pytest.raises(CommandMissingError):
        runner.keep_ready(str(tmp_path / "lvm"), environment={})
