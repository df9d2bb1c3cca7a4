"""The units of the package in the guest, started by the README's own command."""

from __future__ import annotations

from tests.vm import payload
from tests.vm.machine import Machine

GUARD, WEB = "thinpool-guard.service", "thinpool-exporter.service"
READY_SECONDS = 90.0


def start(machine: Machine) -> None:
    """Start both; returns when systemd has heard that both are ready."""
    machine.run(payload.command("systemctl enable --now"), timeout_seconds=READY_SECONDS)


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
