"""`guard` publishes, `web` serves: each goes on without the other, and says so."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter import __version__
from exporter.publish import FILE_NAME
from tests.end_to_end.program import Process, Program, run
from tests.waiting import PATIENCE_SECONDS, eventually, wait_for

NO_DEVICE_MAPPER = {"DM_DEV_DIR": "/nonexistent"}
TIMESTAMP = "thinpool_exporter_snapshot_timestamp_seconds"
SUCCESS = "thinpool_exporter_snapshot_success"


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Return the flag of a configuration that reaches nothing of this host."""
    absent = "{lvm: /nonexistent/lvm, docker: /nonexistent/d}"
    (tmp_path / "config.yml").write_text(f"commands: {absent}\n")
    return f"--config.file={tmp_path / 'config.yml'}"


@pytest.fixture
def guard(tmp_path: Path, config: str) -> Iterator[Process]:
    """Run the process that guards, until it has published everything once."""
    arguments = ("guard", config, "--guard.mode=observe")
    with Process(*arguments, directory=tmp_path, log="guard", env=NO_DEVICE_MAPPER) as guard:
        wait_for(
            lambda: (tmp_path / FILE_NAME).exists() or None,
            seconds=PATIENCE_SECONDS,
            what="a Snapshot",
        )
        yield guard


def test_web_serves_what_guard_publishes(tmp_path: Path, guard: Process) -> None:
    """The age grows when the guard is gone; the last figures stay, and a new guard's come."""
    with Program("web", directory=tmp_path) as web:
        assert TIMESTAMP in web.metrics(), "the first answer is not complete"
        web.wait_until_ready()
        first = web.metrics()
        assert eventually(lambda: web.metrics()[TIMESTAMP] > first[TIMESTAMP])
        assert abs(time.time() - first[TIMESTAMP]) < PATIENCE_SECONDS
        assert first[SUCCESS] == 1
        assert first['thinpool_collector_success{collector="lvm"}'] == 0
        assert any("build_info" in series and __version__ in series for series in first)

        guard.process.send_signal(signal.SIGKILL)
        guard.process.wait()
        # What it wrote last may not have been looked at yet.
        published = json.loads((tmp_path / FILE_NAME).read_text())["snapshot"]["taken_at"]
        assert eventually(lambda: web.metrics()[TIMESTAMP] == pytest.approx(published))

        web.process.send_signal(signal.SIGHUP)
        assert web.metrics()['thinpool_collector_success{collector="lvm"}'] == 0
        assert web.get("/-/ready")[0] == 200
        assert web.stop() == 0
        assert [line["event"] for line in web.events("stopped")] == ["stopped"]


def test_maintenance_is_shown_also_after_the_guard_has_stopped(
    tmp_path: Path, guard: Process
) -> None:
    """Most work begins with that; it ends when somebody says so."""
    end = "thinpool_maintenance_end_timestamp_seconds"
    state = f"--state.directory={tmp_path}"
    with Program("web", directory=tmp_path) as web:
        web.wait_until_ready()
        assert web.metrics()[end] == 0
        guard.process.send_signal(signal.SIGTERM)
        guard.process.wait()

        said = run("maintenance", "2h", "--reason=a disk", state)

        assert said.returncode == 0, said.stderr
        assert "for another 2h: a disk" in said.stdout
        assert eventually(lambda: web.metrics()[end] > time.time() + 3600)
        assert "a disk" in run("maintenance", state).stdout
        assert run("maintenance", "--end", state).stdout == "maintenance: none\n"
        assert eventually(lambda: web.metrics()[end] == 0)


@pytest.mark.parametrize(
    "arguments", [("0s",), ("8d",), ("soon",), ("--reason=x",), ("1h", "--end")]
)
def test_maintenance_without_a_sensible_end_is_refused(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """With a message, and nothing is changed."""
    said = run("maintenance", f"--state.directory={tmp_path}", *arguments)

    assert said.returncode in {1, 2}
    assert said.stderr
    assert not list(tmp_path.iterdir())


def test_collect_shows_what_a_running_guard_has_published(tmp_path: Path) -> None:
    """Its process's own figures are among it; --live reads the host anew, without them."""
    lvm = tmp_path / "lvm"
    policy = "thin_pool_autoextend_threshold=80\nthin_pool_autoextend_percent=20\nmonitoring=1"
    lvm.write_text(f"#!/bin/sh\necho '{policy}'\n")
    lvm.chmod(0o755)
    file = tmp_path / "config.yml"
    file.write_text(f"commands: {{lvm: {lvm}, docker: /nonexistent/d}}\n")
    flags = (f"--config.file={file}", f"--state.directory={tmp_path}")
    own = "thinpool_guard_process_cpu_seconds_total"
    with Process("guard", flags[0], directory=tmp_path, log="guard", env=NO_DEVICE_MAPPER):
        assert eventually(lambda: own in run("collect", *flags, env=NO_DEVICE_MAPPER).stdout)
        live = run("collect", "--live", *flags, env=NO_DEVICE_MAPPER)

    assert live.returncode == 0, live.stderr
    assert "thinpool_collector_success" in live.stdout
    assert own not in live.stdout


def test_web_without_a_guard_says_what_is_missing(tmp_path: Path) -> None:
    """It lives, is not ready, and its metrics say that there is nothing to serve."""
    with Program("web", directory=tmp_path) as web:
        assert eventually(lambda: web.events("snapshot_unreadable") != [])
        status, text = web.get("/-/ready")

        assert status == 503
        assert "thinpool-guard.service" in text
        assert web.get("/-/healthy")[0] == 200
        assert web.metrics()[SUCCESS] == 0
        assert TIMESTAMP not in web.metrics()


def test_either_side_may_start_first(tmp_path: Path, config: str) -> None:
    """Neither finds the directory; the guard makes it although it only observes."""
    state = tmp_path / "missing" / "state"
    with Program("web", directory=tmp_path, state=state) as web:
        assert web.get("/-/ready")[0] == 503
        arguments = ("guard", config, "--guard.mode=observe")
        with Process(
            *arguments, directory=tmp_path, log="guard", state=state, env=NO_DEVICE_MAPPER
        ) as guard:
            assert eventually(lambda: web.get("/-/ready")[0] == 200)
            assert guard.events("publishing_failed") == []


def test_web_says_why_it_cannot_read_a_newer_guard(tmp_path: Path, guard: Process) -> None:
    """Once in the log, and where readiness is asked for; until the guard is as it was."""
    assert guard.stop() == 0
    with Program("web", directory=tmp_path) as web:
        web.wait_until_ready()
        content = json.loads((tmp_path / FILE_NAME).read_text())
        newer = {**content, "format": 2, "program": "99.0"}
        (tmp_path / "newer").write_text(json.dumps(newer))
        (tmp_path / "newer").replace(tmp_path / FILE_NAME)

        assert eventually(lambda: web.get("/-/ready")[0] == 503)
        assert "version 99.0" in web.get("/-/ready")[1]
        assert web.metrics()[SUCCESS] == 0
        assert web.metrics()[TIMESTAMP] == pytest.approx(content["snapshot"]["taken_at"])
        assert len(web.events("snapshot_unreadable")) == 1


def test_guard_listens_nowhere(guard: Process) -> None:
    """It has no socket of the network's at all."""
    links = (Path("/proc") / str(guard.process.pid) / "fd").iterdir()
    inodes = {str(link.readlink())[8:-1] for link in links if "socket" in str(link.readlink())}
    tables = ("tcp", "tcp6", "udp", "udp6")
    network = "".join(Path(f"/proc/net/{table}").read_text() for table in tables)

    assert not {line.split()[9] for line in network.splitlines() if ":" in line} & inodes


def test_only_one_guard(tmp_path: Path, config: str) -> None:
    """The second one says who holds the lock."""
    arguments = ("guard", config)
    with Process(*arguments, directory=tmp_path, log="first", env=NO_DEVICE_MAPPER):
        assert eventually((tmp_path / FILE_NAME).exists)
        second = run(*arguments, f"--state.directory={tmp_path}", env=NO_DEVICE_MAPPER)

    assert second.returncode == 1
    assert "another guard holds" in second.stderr


def test_a_snapshot_that_cannot_be_written_does_not_end_the_guard(
    tmp_path: Path, config: str
) -> None:
    """It is said once, and once when it is over."""
    (tmp_path / FILE_NAME).mkdir()
    arguments = ("guard", config, "--guard.mode=observe")
    with Process(*arguments, directory=tmp_path, log="guard", env=NO_DEVICE_MAPPER) as guard:
        assert eventually(lambda: guard.events("publishing_failed") != [])
        (tmp_path / FILE_NAME).rmdir()
        assert eventually(lambda: guard.events("publishing_again") != [])

        assert len(guard.events("publishing_failed")) == 1
        assert FILE_NAME in str(guard.events("publishing_failed")[0]["error"])
        assert guard.stop() == 0
