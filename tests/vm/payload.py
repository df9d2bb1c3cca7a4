"""Bring the project into the guest: the package that users install, by the README's command."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from systemd.package import build
from tests.vm.machine import Machine

PREFIX = "/opt/thinpool-exporter"
PROGRAM = f"{PREFIX}/bin/thinpool-exporter"
TREE = "/root/tree"
# Half a minute, on a machine that has nothing else to do.
SECONDS = 900.0
_README = (build.ROOT / "README.md").read_text()


def install(machine: Machine) -> None:
    """Install the project's present state in the guest, under PREFIX and on its PATH."""
    with tempfile.TemporaryDirectory(prefix="thinpool-payload-") as name:
        project = build.project_wheel(Path(name))
        (package,) = build.packages(Path(name), project, formats=("deb",))
        machine.run(f"mkdir -p {TREE}/dist")
        machine.put(package, f"{TREE}/dist/{package.name}")
    machine.run(f"cd {TREE} && {command('apt install')}", timeout_seconds=SECONDS)


def command(start: str) -> str:
    """Find the README's command that begins like this, without its sudo."""
    (line,) = re.findall(rf"^sudo ({re.escape(start)} .*)$", _README, re.MULTILINE)
    return str(line)
