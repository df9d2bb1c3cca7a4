"""What is read from files: dmeventd's process, LVM's configuration."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import psutil
import pytest
from msgspec.structs import replace

from exporter.errors import ExporterError
from exporter.guard.rules import PoolRule, Rules
from exporter.model import Dmeventd, GuardMode, GuardNote
from exporter.sources import dmeventd
from exporter.textfile import write_atomically
from exporter.watch import FilesWatch, backup_files, configuration_files
from tests.factories import make_pool


def process(name: str, status: str = psutil.STATUS_SLEEPING, pid: int = 7) -> psutil.Process:
    """Make a process as psutil describes it."""
    fake = SimpleNamespace(pid=pid, name=lambda: name, status=lambda: status)
    return cast("psutil.Process", fake)


def test_dmeventd_is_found_among_the_processes() -> None:
    """Where its pid file is missing."""
    found = dmeventd.read(
        pid_files=(),
        processes=lambda: [process("sh"), process("dmeventd")],
        is_of_host=lambda _: True,
    )

    assert found == Dmeventd(is_alive=True, pid=7, state="S")


def test_the_dmeventd_of_a_container_is_not_the_hosts() -> None:
    """By itself there is none, so that nobody asks it and starts one; the host's own counts."""
    processes = [process("dmeventd", pid=8), process("dmeventd", pid=9)]

    def read(*of_host: int) -> Dmeventd:
        return dmeventd.read(
            pid_files=(), processes=lambda: processes, is_of_host=of_host.__contains__
        )

    assert read() == Dmeventd(is_alive=False)
    assert not read().is_answering
    assert read(9) == Dmeventd(is_alive=True, pid=9, state="S")


@pytest.mark.parametrize(
    ("status", "is_alive", "is_answering"),
    [
        (psutil.STATUS_SLEEPING, True, True),
        (psutil.STATUS_DISK_SLEEP, True, True),
        (psutil.STATUS_STOPPED, True, False),
        (psutil.STATUS_ZOMBIE, False, False),
    ],
)
def test_a_dmeventd_that_cannot_answer_is_told_apart(
    status: str,
    is_alive: bool,  # noqa: FBT001 - a column of the table
    is_answering: bool,  # noqa: FBT001 - same
) -> None:
    """A stopped one lives, but must not be asked; a zombie is dead."""
    found = dmeventd.read(
        pid_files=(),
        processes=lambda: [process("dmeventd", status)],
        is_of_host=lambda _: True,
    )

    assert (found.is_alive, found.is_answering) == (is_alive, is_answering)


@pytest.mark.parametrize("text", ["", "x", "999999999", str(os.getpid())])
def test_a_pid_file_is_not_believed(text: str, tmp_path: Path) -> None:
    """Empty, nonsense, left over from a dead process, or another one's number by now."""
    file = tmp_path / "dmeventd.pid"
    file.write_text(text)

    found = dmeventd.read(pid_files=(file, tmp_path / "none"), processes=list)

    assert found == Dmeventd(is_alive=False)


def test_where_processes_cannot_be_seen_nothing_is_known() -> None:
    """Unknown, not absent."""

    def refuse() -> list[psutil.Process]:
        raise psutil.AccessDenied

    assert dmeventd.read(pid_files=(), processes=refuse) == Dmeventd(is_alive=None)


def test_changes_of_lvms_configuration_are_noticed(tmp_path: Path) -> None:
    """lvm.conf, lvmlocal.conf, and profiles that come, change or go."""
    environment = {"LVM_SYSTEM_DIR": str(tmp_path)}
    watch = FilesWatch(lambda: configuration_files(environment))
    profile = tmp_path / "profile" / "docker.profile"
    assert not watch.has_changed()

    (tmp_path / "lvm.conf").write_text("activation {}\n")
    assert watch.has_changed()
    assert not watch.has_changed()

    profile.parent.mkdir()
    profile.write_text("activation {}\n")
    assert watch.has_changed()

    profile.write_text("activation { }\n")
    assert watch.has_changed()

    profile.unlink()
    assert watch.has_changed()
    assert not watch.has_changed()


def test_a_change_of_a_vg_is_noticed_by_the_backup_that_lvm_writes(tmp_path: Path) -> None:
    """Vgextend writes a new file in the old one's place; where there is none, none is seen."""
    watch = FilesWatch(lambda: backup_files({"LVM_SYSTEM_DIR": str(tmp_path)}))
    assert not watch.has_changed()

    backup = tmp_path / "backup" / "docker"
    backup.parent.mkdir()
    backup.write_text("seqno = 1\n")
    assert watch.has_changed()
    assert not watch.has_changed()

    (tmp_path / "new").write_text("seqno = 2\n")
    (tmp_path / "new").replace(backup)
    assert watch.has_changed()


def test_a_change_that_is_known_is_not_told(tmp_path: Path) -> None:
    """That of one VG; another's still is, and so is the next one."""
    backups = tmp_path / "backup"
    backups.mkdir()
    watch = FilesWatch(lambda: backup_files({"LVM_SYSTEM_DIR": str(tmp_path)}))

    (backups / "docker").write_text("seqno = 1\n")
    watch.know("docker")
    assert not watch.has_changed()

    (backups / "docker").write_text("seqno = 21\n")
    (backups / "other").write_text("seqno = 1\n")
    watch.know("docker")
    assert watch.has_changed()

    (backups / "docker").write_text("seqno = 301\n")
    assert watch.has_changed()


def test_a_child_that_has_ended_hides_no_other() -> None:
    """A command of dmeventd's is a zombie until dmeventd has heard of its end."""
    with (
        subprocess.Popen(("true",)) as ended,
        subprocess.Popen(("sleep", "60"), stdin=subprocess.DEVNULL) as running,
    ):
        try:
            os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
            shown = dmeventd.activity(Dmeventd(is_alive=True, pid=os.getpid(), state="S"))
        finally:
            running.kill()

    assert "sleep 60" in str(shown["children"])
    assert "error" not in shown


def test_what_dmeventd_does_is_told_for_people(tmp_path: Path) -> None:
    """Its state, where its threads sleep, what it has started; nothing of one that is gone."""
    own = Dmeventd(is_alive=True, pid=os.getpid(), state="S")

    shown = dmeventd.activity(own)

    assert (shown["pid"], shown["state"]) == (os.getpid(), "S")
    assert isinstance(shown["children"], list)
    assert isinstance(shown["cpu_seconds"], float)
    task = tmp_path / "77" / "task" / "78"
    task.mkdir(parents=True)
    (task / "wchan").write_text("do_signal_stop")
    gone = Dmeventd(is_alive=True, pid=2**22 + 1, state="T")
    assert "error" in dmeventd.activity(gone)
    assert dmeventd.activity(replace(gone, pid=77), proc=tmp_path)["waits_in"] == [
        "do_signal_stop"
    ]
    assert dmeventd.activity(Dmeventd(is_alive=False)) == {"pid": None, "state": None}


NOTE = GuardNote(pid=7, mode=GuardMode.ALWAYS, pools={"docker/thinpool": GuardMode.OFF})


def test_a_running_guards_modes_win_over_the_settings() -> None:
    """`check` speaks of the guard that runs."""
    rules = Rules(mode=GuardMode.AUTO, pools={"docker/thinpool": PoolRule(max_size_bytes=9)})

    noted = rules.as_noted(NOTE)

    assert noted.mode is GuardMode.ALWAYS
    assert noted.mode_of(make_pool()) is GuardMode.OFF
    assert noted.limits_of(make_pool()).max_size_bytes == 9


def test_a_textfile_replaces_the_old_one_whole(tmp_path: Path) -> None:
    """Readable by others, and nothing is left beside it."""
    path = tmp_path / "x.prom"
    path.write_text("old")

    write_atomically(path, b"new")

    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.prom"]


def test_a_textfile_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Where there is no directory for it."""
    with pytest.raises(ExporterError, match=r"none/x\.prom"):
        write_atomically(tmp_path / "none" / "x.prom", b"new")


def _make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _make_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))  # as /dev/null
    except PermissionError:
        pytest.skip("makes a device, which takes root")


NO_FILES: dict[str, Callable[[Path], object]] = {
    "device": _make_device,
    "fifo": os.mkfifo,
    "socket": _make_socket,
    "directory": Path.mkdir,
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to a file": lambda path: path.symlink_to(__file__),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_regular_file_is_not_replaced(kind: str, tmp_path: Path) -> None:
    """Whatever it is, it is still the same, and nothing lies beside it."""
    path = tmp_path / "x.prom"
    NO_FILES[kind](path)
    before = path.lstat()

    with pytest.raises(ExporterError, match=r"x\.prom: it exists and is not a regular file"):
        write_atomically(path, b"new")

    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.prom"]


def test_the_note_is_json() -> None:
    """For people and other programs."""
    assert msgspec.json.decode(msgspec.json.encode(NOTE), type=GuardNote) == NOTE
