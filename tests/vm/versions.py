"""Which programs a guest has, in their own words and in short."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tests.vm import payload
from tests.vm.machine import Machine

_WORDS = {
    "lvm": "lvm version | head -3",
    "kernel": "uname -srv",
    "docker": "docker --version",
    "dmsetup": "dmsetup version",
    "thin-provisioning-tools": "thin_check --version 2>&1",
    "systemd": "systemctl --version | head -1",
    "python": f"{payload.PREFIX}/bin/python --version",
}
_NUMBER = re.compile(r"\d+(?:\.\d+)+|(?<=systemd )\d+")


def words(machine: Machine) -> dict[str, Sequence[str]]:
    """Ask each program."""
    return {name: machine.run(line).stdout.splitlines() for name, line in _WORDS.items()}


def in_short(found: Mapping[str, Sequence[str]]) -> str:
    """Give the first number of each program's answer."""
    numbers = ((name, _NUMBER.search(" ".join(lines))) for name, lines in found.items())
    return ", ".join(f"{name} {number[0]}" for name, number in numbers if number)
