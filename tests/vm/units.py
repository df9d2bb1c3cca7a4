"""The units of systemd/ in the guest, installed by the README's own commands."""

from __future__ import annotations

import re
from pathlib import Path

from tests.vm.machine import Machine

ROOT = Path(__file__).parents[2]
TREE = "/root/tree"
GUARD, WEB = "thinpool-guard.service", "thinpool-exporter.service"
READY_SECONDS = 90.0


def commands() -> tuple[str, ...]:
    """Read how the README installs and starts the units."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (block,) = (block for block in blocks if "systemd-sysusers" in block)
    return tuple(block.splitlines())


def install(machine: Machine) -> None:
    """Install and start; returns when systemd has heard that both are ready."""
    machine.run(f"mkdir -p {TREE}/systemd")
    for path in (ROOT / "systemd").iterdir():
        machine.put(path, f"{TREE}/systemd/{path.name}")
    lines = " && ".join(line.removeprefix("sudo ") for line in commands())
    machine.run(f"cd {TREE} && {lines}", timeout_seconds=READY_SECONDS)


def drop_in(machine: Machine, unit: str, *lines: str) -> None:
    """Change a unit as an administrator would."""
    text = "[Service]\n" + "\n".join(lines) + "\n"
    machine.run(f"mkdir -p /etc/systemd/system/{unit}.d")
    machine.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
    machine.run("systemctl daemon-reload")


def main_pid(machine: Machine, unit: str) -> int:
    """Find the process that a unit runs, 0 while there is none."""
    return int(machine.run(f"systemctl show --value -p MainPID {unit}").stdout)


def restarts(machine: Machine, unit: str) -> int:
    """Count how often systemd has started it by itself."""
    return int(machine.run(f"systemctl show --value -p NRestarts {unit}").stdout)
