"""Whether Docker's daemon runs, and its command line, found without asking it.

Who connects to a socket of systemd's starts the service behind it. Who has stopped Docker, to
mend its pool perhaps, must not have it started again by what watches it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from exporter.errors import HostError
from exporter.model import Absence
from exporter.sources import namespaces

ROOT = Path("/")
# Of a unit that runs; removed once it is inactive or has failed. Old systemd (219) has none.
# Source: systemd src/core/unit.c, unit_export_state_files, unit_notify.
INVOCATION = "run/systemd/units/invocation:docker.service"
# There where systemd is PID 1, and not in a container: sd_booted(3).
BOOTED = "run/systemd/system"
# Of others as well: dockerd-current of old distributions. Before 1.12 the daemon is called as
# the client is. A container's docker-entrypoint.sh is neither.
DAEMON, OLD_DAEMON = "dockerd", "docker"
OLD_DAEMON_WORDS = frozenset({"daemon", "-d", "--daemon"})
MAX_COMMAND_LINE_BYTES = 128 * 1024


class DockerAbsentError(HostError):
    """There is no Docker to ask, for the reason in `absence`."""

    def __init__(self, absence: Absence, detail: str = "") -> None:
        super().__init__(f"{absence} ({detail})" if detail else str(absence))
        self.absence = absence


def is_running(
    root: Path = ROOT, is_of_host: Callable[[str, Path], bool] = namespaces.is_of_host
) -> bool | None:
    """Whether Docker's daemon runs on the host; None if it could do so unseen.

    None only without systemd: in a container, a socket may be all that there is of Docker.
    """
    if os.path.lexists(root / INVOCATION) or _process(root / "proc", is_of_host):
        return True
    return False if (root / BOOTED).is_dir() else None


def command_line(
    proc: Path = namespaces.PROC,
    is_of_host: Callable[[str, Path], bool] = namespaces.is_of_host,
) -> tuple[str, ...]:
    """Read the command line of the host's Docker daemon; empty if it does not run."""
    process = _process(proc, is_of_host)
    return _words(process) if process else ()


def _process(proc: Path, is_of_host: Callable[[str, Path], bool]) -> Path | None:
    """Find the daemon's directory in /proc, skipping daemons in containers."""
    return next(
        (
            file.parent
            for file in proc.glob("[0-9]*/comm")
            if _is_daemon(file) and is_of_host(file.parent.name, proc)
        ),
        None,
    )


def _is_daemon(file: Path) -> bool:
    """Whether a process is Docker's daemon, by its name; one that has just ended is none."""
    try:
        name = file.read_text(errors="replace").rstrip("\n")
    except OSError:
        return False
    if name != OLD_DAEMON:
        return name.startswith(DAEMON)
    return not OLD_DAEMON_WORDS.isdisjoint(_words(file.parent)[1:])


def _words(process: Path) -> tuple[str, ...]:
    try:
        with (process / "cmdline").open("rb") as opened:
            raw = opened.read(MAX_COMMAND_LINE_BYTES)
    except OSError:
        return ()
    return tuple(raw.decode("utf-8", "surrogateescape").rstrip("\0").split("\0"))
