"""Whether dmeventd lives, found without talking to it.

Asking it would start it: `lvs -o seg_monitor` does, and so does opening its FIFO where
systemd listens on it. So: its pid file, else the process table. A dmeventd in a container does
not count, since LVM does not find it and would start another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from exporter.model import Dmeventd
from exporter.sources import namespaces
from exporter.units import parse_count

NAME = "dmeventd"
PID_FILES = (Path("/run/dmeventd.pid"), Path("/var/run/dmeventd.pid"))
MAX_PID = 2**22  # linux/threads.h: PID_MAX_LIMIT
MAX_PID_FILE_BYTES = 64

# psutil's words for the states in which a process never answers; /proc's letters
_LETTERS = {
    psutil.STATUS_STOPPED: "T",
    psutil.STATUS_TRACING_STOP: "t",
    psutil.STATUS_ZOMBIE: "Z",
    psutil.STATUS_DEAD: "X",
    psutil.STATUS_DISK_SLEEP: "D",
    psutil.STATUS_SLEEPING: "S",
    psutil.STATUS_RUNNING: "R",
}


def read(
    *,
    pid_files: Iterable[Path] = PID_FILES,
    processes: Callable[[], Iterable[psutil.Process]] = psutil.process_iter,
    is_of_host: Callable[[int], bool] = namespaces.is_of_host,
) -> Dmeventd:
    """Find the host's dmeventd. `is_alive` is None where processes cannot be seen."""
    try:
        found = _from_pid_files(pid_files, is_of_host) or _from_process_table(
            processes, is_of_host
        )
    except (psutil.Error, OSError):
        return Dmeventd(is_alive=None)
    return found or Dmeventd(is_alive=False)


def _from_pid_files(
    files: Iterable[Path], is_of_host: Callable[[int], bool]
) -> Dmeventd | None:
    for file in files:
        try:
            pid = _pid(file)
            found = _describe(psutil.Process(pid), is_of_host)
        except (OSError, ValueError, psutil.NoSuchProcess):
            continue  # absent or left over from a dead one
        if found:
            return found
    return None


def _pid(file: Path) -> int:
    """Read a number on a line. Raises OSError and ValueError."""
    with file.open("rb") as opened:
        pid = parse_count(opened.read(MAX_PID_FILE_BYTES).decode("ascii").strip())
    if pid > MAX_PID:
        raise ValueError(f"{pid} is no process")
    return pid


def _from_process_table(
    processes: Callable[[], Iterable[psutil.Process]], is_of_host: Callable[[int], bool]
) -> Dmeventd | None:
    for process in processes():
        try:
            found = _describe(process, is_of_host)
        except psutil.NoSuchProcess:
            continue
        if found:
            return found
    return None


def _describe(process: psutil.Process, is_of_host: Callable[[int], bool]) -> Dmeventd | None:
    if process.name() != NAME or not is_of_host(process.pid):
        return None
    state = _LETTERS.get(process.status(), "?")
    return Dmeventd(is_alive=state not in {"Z", "X"}, pid=process.pid, state=state)


def activity(found: Dmeventd, *, proc: Path = Path("/proc")) -> Mapping[str, object]:
    """Tell what dmeventd does at this moment, as far as /proc shows: for people.

    `waits_in` are the kernel functions in which its threads sleep, `children` the commands
    that it has started, `cpu_seconds` what it has used so far.
    """
    shown: dict[str, object] = {"pid": found.pid, "state": found.state}
    if found.pid is None:
        return shown
    tasks = (proc / str(found.pid) / "task").glob("*/wchan")
    shown["waits_in"] = sorted({_text(path) for path in tasks} - {"", "0"})
    try:
        process = psutil.Process(found.pid)
        shown["cpu_seconds"] = round(sum(process.cpu_times()[:2]), 2)
        children: list[str] = []
        shown["children"] = children
        for child in process.children():
            with suppress(psutil.Error):  # that one has ended meanwhile
                children.append(" ".join(child.cmdline()))
    except psutil.Error as error:
        shown["error"] = str(error)  # it has ended meanwhile, which is news as well
    return shown


def has_devices(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a list of the disks that dmeventd's commands may look at.

    Source: lvmdevices(8), "Other devices files".
    """
    system = environment.get("LVM_SYSTEM_DIR") or "/etc/lvm"
    return (Path(system) / "devices" / "dmeventd.devices").exists()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="backslashreplace")
    except OSError:
        return ""  # the thread has ended, or its place is not shown to us
