"""A host where something is missing, hangs or talks nonsense: the rest goes on."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from exporter.guard.lock import GuardLock
from exporter.model import GuardMode, GuardNote
from exporter.publish import SnapshotWriter
from tests.end_to_end.program import Program, parse_metrics, run
from tests.factories import make_guard_report, make_snapshot
from tests.waiting import wait_for

NO_DEVICE_MAPPER = {"DM_DEV_DIR": "/nonexistent"}

# What a hostile or broken lvm might do instead of answering.
SCRIPTS = {
    "garbage": "#!/bin/sh\necho '{\"report\": [{'; head -c 1000 /dev/urandom\n",
    "megabytes": "#!/bin/sh\nexec head -c 100000000 /dev/zero\n",
    "hanging": "#!/bin/sh\nexec sleep 600\n",
    "stopped": "#!/bin/sh\nkill -STOP $$\n",
    "dying midway": '#!/bin/sh\necho \'{"report": [{"lv": [\'; kill -KILL $$\n',
    "failing in French": '#!/bin/sh\nprintf "  Erreur d\'entr\\351e/sortie\\n" >&2; exit 5\n',
    "not a program": "MZ\x00\x01",
}


def write_script(path: Path, text: str) -> None:
    """Write a script that may be executed."""
    path.write_bytes(text.encode("latin-1"))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def config(path: Path, lvm: Path) -> str:
    """Write a configuration with short deadlines and this lvm; returns its flag."""
    text = (
        "collect: {lvm_deadline: 1s, docker_deadline: 1s, lvm_interval: 1s}\n"
        f"commands: {{lvm: {lvm}, docker: /nonexistent/d}}\n"
    )
    path.write_text(text)
    return f"--config.file={path}"


@pytest.fixture
def readable(tmp_path: Path, fake_lvm: Path) -> str:
    """Return the flag of a configuration whose lvm tells its policy, and nothing else."""
    policy = "thin_pool_autoextend_threshold=80\nthin_pool_autoextend_percent=20\nmonitoring=1"
    write_script(fake_lvm, f"#!/bin/sh\necho '{policy}'\n")
    return config(tmp_path / "config.yml", fake_lvm)


def test_what_cannot_be_read_is_told_and_not_invented(readable: str) -> None:
    """Device-mapper, volume groups and Docker are missing; LVM's policy is there."""
    result = run("collect", readable, "--output=-", env=NO_DEVICE_MAPPER)

    metrics = parse_metrics(result.stdout)
    assert result.returncode == 0
    for name in ("device_mapper", "lvm", "policy", "docker"):
        success = metrics[f'thinpool_collector_success{{collector="{name}"}}']
        assert success == (name == "policy"), name
    assert not any("thinpool_data" in series for series in metrics)


def test_collect_fails_if_nothing_can_be_read(tmp_path: Path) -> None:
    """Cron hears of it, with every reason, and the last good file stays."""
    flag = config(tmp_path / "config.yml", tmp_path / "absent")
    target = tmp_path / "thinpool.prom"
    target.write_text("last good\n")

    for output in ("-", str(target)):
        result = run("collect", flag, f"--output={output}", env=NO_DEVICE_MAPPER)

        assert result.returncode == 1
        assert result.stdout == ""
        for name in ("device_mapper", "lvm", "policy", "docker"):
            assert f"{name}: " in result.stderr
    assert target.read_text() == "last good\n"


@pytest.mark.parametrize("kind", SCRIPTS)
def test_an_lvm_that_does_not_answer_leaves_the_rest_alone(
    kind: str, tmp_path: Path, fake_lvm: Path
) -> None:
    """The failed part shows itself, one log line is written, and scrapes go on."""
    write_script(fake_lvm, SCRIPTS[kind])
    flag = config(tmp_path / "config.yml", fake_lvm)

    with Program("run", flag, directory=tmp_path, env=NO_DEVICE_MAPPER) as program:
        first = program.wait_until_ready().metrics()[
            'thinpool_collector_duration_seconds{collector="lvm"}'
        ]
        assert first >= 0
        assert program.metrics()['thinpool_collector_success{collector="lvm"}'] == 0
        scrapes = wait_for(
            lambda: [program.get("/metrics")[0] for _ in range(20)], seconds=20, what="scrapes"
        )

        assert set(scrapes) == {200}
        failures = [line for line in program.events("source_failed") if line["source"] == "lvm"]
        assert len(failures) == 1
        assert program.stop() == 0


def test_it_ends_at_once_whatever_hangs(tmp_path: Path, fake_lvm: Path) -> None:
    """A reading command with a minute left is ended, not waited for."""
    write_script(fake_lvm, SCRIPTS["hanging"])
    path = tmp_path / "config.yml"
    path.write_text(f"collect: {{lvm_deadline: 1m}}\ncommands: {{lvm: {fake_lvm}}}\n")

    with Program(
        "run", f"--config.file={path}", directory=tmp_path, env=NO_DEVICE_MAPPER
    ) as program:
        assert program.stop() == 0


def test_check_says_what_it_does_not_know(tmp_path: Path) -> None:
    """Exit status 3, and the next step."""
    flag = config(tmp_path / "config.yml", tmp_path / "absent")

    result = run("check", "--live", flag, env=NO_DEVICE_MAPPER)

    assert result.returncode == 3
    assert result.stdout.startswith("UNKNOWN")
    assert "device-mapper" in result.stdout


@pytest.mark.parametrize(
    ("pid", "words"), [(os.getpid(), "has looked at no pool for 1h"), (1, "")]
)
def test_check_believes_no_guard_that_runs_and_does_nothing(
    tmp_path: Path, pid: int, words: str
) -> None:
    """The lock says that it runs; what it published last says that it does not work.

    What another guard left in the file says nothing of the one that runs.
    """
    note = GuardNote(pid=os.getpid(), mode=GuardMode.AUTO)
    long_ago = time.time() - 3600
    said = make_guard_report(last_cycle_at=long_ago, note=replace(note, pid=pid))
    SnapshotWriter(tmp_path).write(make_snapshot(taken_at=long_ago, guard=said))
    lock = GuardLock(tmp_path)
    lock.take(note)
    flag = config(tmp_path / "config.yml", tmp_path / "absent")
    state = f"--state.directory={tmp_path}"
    result = run("check", "--live", flag, state, env=NO_DEVICE_MAPPER)
    lock.release()

    assert f"guard     running, pid {os.getpid()}" in result.stdout
    assert (result.returncode == 2) is bool(words)
    assert (f"CRITICAL: the guard (pid {os.getpid()})" in result.stdout) is bool(words)
    assert words in result.stdout


def test_every_fault_of_the_configuration_is_shown_at_once(tmp_path: Path) -> None:
    """Each with its key; exit status 2; and nothing is started with it."""
    path = tmp_path / "config.yml"
    path.write_text("guard: {mode: autoo, reserve: -1}\ncollect: {lvm_intervall: 15s}\n")

    for command in ("check-config", "run", "collect"):
        result = run(command, f"--config.file={path}")

        assert result.returncode == 2
        for key in ("guard.mode", "guard.reserve", "collect.lvm_intervall"):
            assert key in result.stderr


def test_a_valid_or_absent_configuration_is_fine(tmp_path: Path) -> None:
    """The default file need not exist; a named one must."""
    path = tmp_path / "config.yml"
    path.write_text("guard: {mode: off}\n")

    assert run("check-config", f"--config.file={path}").returncode == 0
    assert run("check-config", f"--config.file={tmp_path}/none.yml").returncode == 2


def test_collect_writes_a_textfile_in_one_piece(tmp_path: Path, readable: str) -> None:
    """For node_exporter's directory: a whole file that others may read, and no rest."""
    target = tmp_path / "textfile" / "thinpool.prom"
    target.parent.mkdir()

    result = run("collect", readable, f"--output={target}", env=NO_DEVICE_MAPPER)

    assert result.returncode == 0
    assert result.stdout == ""
    assert [path.name for path in target.parent.iterdir()] == ["thinpool.prom"]
    assert target.stat().st_mode & 0o777 == 0o644
    assert "thinpool_exporter_build_info" in target.read_text()


def test_collect_leaves_what_is_no_file_as_it_is(tmp_path: Path, readable: str) -> None:
    """Root could replace /dev/null by a file, and break the host."""
    device = tmp_path / "stdout"
    device.symlink_to("/dev/null")

    result = run("collect", readable, f"--output={device}", env=NO_DEVICE_MAPPER)

    assert result.returncode == 1
    assert "not a regular file" in result.stderr
    assert device.readlink() == Path("/dev/null")


def test_a_directory_that_is_not_there_is_said(tmp_path: Path, readable: str) -> None:
    """One line, no traceback."""
    result = run("collect", readable, f"--output={tmp_path}/none/x.prom", env=NO_DEVICE_MAPPER)

    assert result.returncode == 1
    assert "none/x.prom" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    """Before anything is touched."""
    with Program("demo", directory=tmp_path) as program:
        result = run("demo", f"--web.listen-address={program.address}")

    assert result.returncode == 1
    assert program.address.rpartition(":")[2] in result.stderr
    assert "Traceback" not in result.stderr


def test_a_host_has_one_guard(tmp_path: Path, fake_lvm: Path) -> None:
    """A second one says which lock it met, and leaves."""
    write_script(fake_lvm, SCRIPTS["failing in French"])
    flag = config(tmp_path / "config.yml", fake_lvm)

    with Program("run", flag, directory=tmp_path, env=NO_DEVICE_MAPPER):
        second = run(
            "run",
            flag,
            f"--state.directory={tmp_path}",
            "--web.listen-address=127.0.0.1:0",
            env=NO_DEVICE_MAPPER,
        )

    assert second.returncode == 1
    assert "guard.lock" in second.stderr


@pytest.mark.parametrize("command", ["run", "collect", "check", "check-config", "demo"])
def test_every_command_has_help(command: str) -> None:
    """With the exporters' flags."""
    result = run(command, "--help")

    assert result.returncode == 0
    assert "--config.file" in result.stdout


def test_the_version_is_told() -> None:
    """As the exporters do."""
    assert run("--version").stdout.startswith("thinpool-exporter ")


def test_log_lines_are_json_when_asked_for(tmp_path: Path, fake_lvm: Path) -> None:
    """Every line, whoever wrote it."""
    write_script(fake_lvm, SCRIPTS["failing in French"])
    flag = config(tmp_path / "config.yml", fake_lvm)

    with Program("run", flag, directory=tmp_path, env=NO_DEVICE_MAPPER) as program:
        program.stop()

        for line in program.log_text().splitlines():
            assert "event" in json.loads(line)
