"""Whether a process is the host's own or a container's: a process ID in, a fact out.

/proc/PID/ns would name the namespaces, but reading it takes all capabilities of that process,
which the guard's sandbox does not have; `status` and `mountinfo` are readable by everybody. A
mount namespace of its own would not mean a container either: systemd-udevd, this guard's unit
and docker.service of old distributions (MountFlags=slave) have one. What counts is /run, since
LVM and Docker's clients find both daemons by a file there (dmeventd-server, docker.sock).
"""

from __future__ import annotations

from pathlib import Path

from exporter.sources.mounts import parse_mountinfo

PROC = Path("/proc")
FIRST = "1"
ROOT, RUN = "/", "/run"
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
    """Name the file system that a process has at /run, and the directory of it; None: unread.

    In a chroot that is no mount point, a process has no mount at / and counts as different.
    """
    text = _text(process / "mountinfo")
    if not text.strip():
        return None
    # Only these mounts matter, of the thousands that containers may have. If several are at
    # one place, the last one is on top.
    wanted = (line for line in text.split("\n") if line.split(" ", 5)[4:5] in ([ROOT], [RUN]))
    at = {mount.mount_point: mount for mount in parse_mountinfo("\n".join(wanted))}
    mount = at.get(RUN) or at.get(ROOT)
    return (mount.device, mount.root) if mount else ("", "")


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""  # it has ended, or is hidden from us
