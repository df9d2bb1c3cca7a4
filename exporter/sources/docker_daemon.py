"""Whether Docker's daemon runs, told without asking it: systemd may listen in its place.

Who connects to a socket of systemd's starts the service behind it. Who has stopped Docker, to
mend its pool perhaps, must not have it started again by what watches it.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/")
# Of a unit that runs; removed once it is inactive or has failed. Old systemd (219) has none.
# Source: systemd src/core/unit.c, unit_export_state_files, unit_notify.
INVOCATION = "run/systemd/units/invocation:docker.service"
# There where systemd is PID 1, and not in a container: sd_booted(3).
BOOTED = "run/systemd/system"
# Of others as well: dockerd-current of old distributions. Before 1.12 the daemon is called as
# the client is. A container's docker-entrypoint.sh is neither.
DAEMON, OLD_DAEMON = "dockerd", "docker"


def is_asleep(root: Path = ROOT) -> bool:
    """Whether nobody but systemd can be listening at Docker's socket."""
    if not (root / BOOTED).is_dir() or os.path.lexists(root / INVOCATION):
        return False
    return not any(map(_is_docker, (root / "proc").glob("[0-9]*/comm")))


def _is_docker(file: Path) -> bool:
    """Whether a process is Docker, by its name; one that has just ended is none."""
    try:
        name = file.read_text(errors="replace").rstrip("\n")
    except OSError:
        return False
    return name == OLD_DAEMON or name.startswith(DAEMON)
