"""SIGHUP: another configuration is put into force whole, or not at all."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.publish import FILE_NAME
from tests.end_to_end.program import Process, Program, run
from tests.waiting import eventually

NO_DEVICE_MAPPER = {"DM_DEV_DIR": "/nonexistent"}
ABSENT = "commands: {lvm: /nonexistent/lvm, docker: /nonexistent/d}\n"
SUCCESSFUL = "thinpool_exporter_config_last_reload_successful"
LOADED_AT = "thinpool_exporter_config_last_reload_success_timestamp_seconds"


def reload(process: Process) -> None:
    """Tell a process that its configuration is another one."""
    process.process.send_signal(signal.SIGHUP)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the configuration's path."""
    return tmp_path / "config.yml"


@pytest.fixture
def demo(tmp_path: Path, file: Path) -> Iterator[Program]:
    """Run a simulated host of which the guard only observes."""
    file.write_text("guard: {mode: observe}\n")
    with Program("demo", f"--config.file={file}", directory=tmp_path) as program:
        yield program.wait_until_ready()


def modes(program: Program) -> set[str]:
    """Find the modes in force."""
    series = [name for name in program.metrics() if name.startswith("thinpool_guard_mode{")]
    return {name.partition('mode="')[2].partition('"')[0] for name in series}


def test_other_settings_are_put_into_force(demo: Program, file: Path) -> None:
    """Without a restart: what the guard has counted stays."""
    first = demo.metrics()
    assert modes(demo) == {"observe"}
    assert first[SUCCESSFUL] == 1

    file.write_text("guard: {mode: auto}\ncollect: {lvm_interval: 1s}\n")
    reload(demo)

    assert eventually(lambda: modes(demo) == {"auto"})
    assert eventually(lambda: demo.metrics()[LOADED_AT] > first[LOADED_AT])
    assert demo.metrics()[SUCCESSFUL] == 1
    assert len(demo.events("configuration_reloaded")) == 1
    # The pools were over their thresholds before, and are extended now.
    assert eventually(lambda: demo.events("pool_extended") != [])


def test_a_bad_file_leaves_the_old_settings(demo: Program, file: Path) -> None:
    """Every fault is told with its key; the metric says so until a good one is read."""
    first = demo.metrics()
    file.write_text("guard: {mode: autoo, reserv: 1}\n")
    reload(demo)

    assert eventually(lambda: demo.metrics()[SUCCESSFUL] == 0)
    assert demo.metrics()[LOADED_AT] == first[LOADED_AT]
    assert modes(demo) == {"observe"}
    (line,) = demo.events("configuration_not_reloaded")
    assert "guard.mode" in str(line["faults"])
    assert "guard.reserv" in str(line["faults"])

    file.write_text("guard: {mode: off}\n")
    reload(demo)
    assert eventually(lambda: demo.metrics()[SUCCESSFUL] == 1)
    assert eventually(lambda: modes(demo) == {"off"})


def test_other_programs_take_a_restart(demo: Program, file: Path) -> None:
    """Nothing else of the file is put into force either."""
    file.write_text("guard: {mode: off}\ncommands: {lvm: /opt/lvm}\n")
    reload(demo)

    assert eventually(lambda: demo.metrics()[SUCCESSFUL] == 0)
    assert "commands.lvm" in str(demo.events("configuration_not_reloaded")[0]["faults"])
    assert modes(demo) == {"observe"}


def test_a_refused_reload_leaves_what_check_is_told(tmp_path: Path) -> None:
    """The lock's note is of the settings in force, not of those that were refused."""
    file = tmp_path / "config.yml"
    file.write_text(ABSENT)
    command = ("guard", f"--config.file={file}")
    with Process(*command, directory=tmp_path, log="guard", env=NO_DEVICE_MAPPER) as guard:
        assert eventually((tmp_path / FILE_NAME).exists)
        note = (tmp_path / "guard.lock").read_text()
        file.write_text("guard: {mode: always}\ncommands: {lvm: /opt/lvm}\n")
        reload(guard)

        assert eventually(lambda: guard.events("configuration_not_reloaded") != [])
        assert (tmp_path / "guard.lock").read_text() == note


def test_who_only_observed_becomes_the_guard_if_there_is_none(tmp_path: Path) -> None:
    """As at a start: one guard alone may act, and the reload says who is in the way."""
    file, other = tmp_path / "config.yml", tmp_path / "other.yml"
    file.write_text(ABSENT + "guard: {mode: observe}\n")
    other.write_text(ABSENT)
    first = ("guard", f"--config.file={file}")
    second = ("guard", f"--config.file={other}")
    with Process(*first, directory=tmp_path, log="first", env=NO_DEVICE_MAPPER) as observer:
        assert eventually((tmp_path / FILE_NAME).exists)
        with Process(*second, directory=tmp_path, log="second", env=NO_DEVICE_MAPPER) as guard:
            assert eventually(lambda: guard.events("guarding") != [])
            file.write_text(ABSENT)
            reload(observer)
            assert eventually(lambda: observer.events("configuration_not_reloaded") != [])
            faults = str(observer.events("configuration_not_reloaded")[0]["faults"])
            assert "another guard holds" in faults
            assert guard.stop() == 0

        reload(observer)
        assert eventually(lambda: observer.events("configuration_reloaded") != [])
        late = run(*second, f"--state.directory={tmp_path}", env=NO_DEVICE_MAPPER)
        assert late.returncode == 1
        assert "another guard holds" in late.stderr
