"""Whether a process is the host's own or a container's: a process ID in, a fact out.

/proc/PID/ns would name the namespaces, but reading it takes all capabilities of that process,
which the guard's sandbox does not have; `status` and `mountinfo` are readable by everybody. A
mount namespace of its own would not mean a container either: systemd-udevd, this guard's unit
and docker.service of old distributions (MountFlags=slave) have one. What counts is /run, since
LVM and Docker's clients find both daemons by a file there (dmeventd-server, docker.sock).
"""

from __future__ import annotations

from pathlib import Path

from exporter.sources.mounts import Mounts, parse_mountinfo

PROC = Path("/proc")
FIRST = "1"
RUN = "/run"
# A number for each namespace down to the process's own, since Linux 4.1: proc(5).
NESTED_IDS = "NSpid:"


def is_of_host(pid: int | str, proc: Path = PROC) -> bool:
    """Whether a process has the PID namespace and the /run of the first process.

    The first process is that of our own /proc. What cannot be read counts as equal.
    """
    if _is_nested(proc / str(pid)):
        return False
    run, first = (_run(proc / process) for process in (str(pid), FIRST))
    return run is None or first is None or run == first


def _is_nested(process: Path) -> bool:
    """Whether a process has another ID in a PID namespace below ours."""
    for line in _text(process / "status").splitlines():
        if line.startswith(NESTED_IDS):
            return len(line.split()) > 2  # noqa: PLR2004 - the word and one number
    return False


def _run(process: Path) -> tuple[str, str] | None:
    """Name the file system that a process has at /run, and the directory of it."""
    lines = _text(process / "mountinfo").split("\n")
    # Of the thousands of mounts that containers have, these are all that matter.
    ours = (line for line in lines if not {"/", RUN}.isdisjoint(line.split(" ", 5)[4:5]))
    mount = Mounts(parse_mountinfo("\n".join(ours))).covering(RUN)
    return (mount.device, mount.root) if mount else None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""  # it has ended, or is hidden from us
