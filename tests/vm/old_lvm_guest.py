"""Read the guest by an old LVM with our sources: `python old_lvm_guest.py LVM`, in the guest.

Prints one JSON object: every command with its output, what was read from them, and what the
guest's own LVM and the kernel say of the same moment. Judges nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from exporter.command import HostRunner, Output
from exporter.devmapper import IoctlKernel
from exporter.errors import CommandFailedError
from exporter.model import LvmLayout
from exporter.sources import device_mapper, dmeventd, lvm, policy
from exporter.sources.lvm_dialect import Dialects

DEADLINE_SECONDS = 30.0
OWN = "/sbin/lvm"


class Recorder:
    """Runs an LVM's commands and keeps what they print; its path is not told."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._runner = HostRunner()
        self.commands: list[dict[str, object]] = []
        self.profiles: dict[str, str] = {}

    def run(self, argv: Sequence[str]) -> Output:
        """Run a command."""
        try:
            output = self._runner.run(
                (self._program, *argv[1:]), deadline_seconds=DEADLINE_SECONDS
            )
        except CommandFailedError as error:
            self._keep(argv, error.status, error.stdout, error.stderr)
            raise
        self._keep(argv, output.status, output.stdout, output.stderr)
        return output

    def read_profile(self, path: Path) -> str:
        """Read a profile's file."""
        text = policy.read_profile(path)
        self.profiles[path.name] = text
        return text

    def _keep(self, argv: Sequence[str], status: int, stdout: str, stderr: str) -> None:
        command = {"argv": (OWN, *argv[1:]), "status": status}
        self.commands.append(command | {"stdout": stdout, "stderr": stderr})


def read(recorder: Recorder) -> dict[str, object]:
    """Read everything once, in the order in which the program does."""
    dialects = Dialects()
    layout = lvm.read_layout(recorder.run, OWN, dialects=dialects)
    daemon = dmeventd.read()
    monitoring, problems = lvm.read_monitoring(
        recorder.run, OWN, daemon, dialect=dialects.current
    )
    policies = policy.read(
        recorder.run, OWN, _profiles(layout), read_file=recorder.read_profile
    )
    missing = policy.read(recorder.run, OWN, {"gone"}, read_file=recorder.read_profile)
    return {
        "layout": layout,
        "monitoring": monitoring,
        "problems": problems,
        "policies": policies,
        "unreadable": list(missing.unreadable_profiles),
    }


def _profiles(layout: LvmLayout) -> set[str]:
    named = [pool.profile for pool in layout.pools]
    named += [group.profile for group in layout.volume_groups]
    return {profile for profile in named if profile}


def main() -> None:
    """Read by both."""
    recorder = Recorder(sys.argv[1])
    seen = read(recorder)
    seen |= {
        "reference": read(Recorder(OWN)),
        "kernel": device_mapper.read(IoctlKernel(), lambda _: None),
        "commands": recorder.commands,
        "profiles": recorder.profiles,
        "host": {"dmeventd": dmeventd.read()},
    }
    print(msgspec.json.encode(seen).decode())  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
