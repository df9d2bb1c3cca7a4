"""Read the guest's LVM under one lvm.conf after another: `python lvm_settings_guest.py FILE`.

FILE has a JSON list of settings as lvm.conf has them. Prints a JSON list with what was read
under each. Judges nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from exporter.command import HostRunner, Output
from exporter.errors import HostError
from exporter.sources import lvm, policy
from exporter.sources.lvm_dialect import Dialects

DEADLINE_SECONDS = 30.0
LVM = "/sbin/lvm"
LOCAL = Path("/etc/lvm/lvmlocal.conf")  # which LVM reads last


def run(argv: Sequence[str]) -> Output:
    """Run a command."""
    return HostRunner().run(argv, deadline_seconds=DEADLINE_SECONDS)


def read() -> dict[str, object]:
    """Read everything once."""
    dialects = Dialects()
    try:
        layout = lvm.read_layout(run, LVM, dialects=dialects)
        profiles = {pool.profile for pool in layout.pools if pool.profile}
        return {
            "pools": layout.pools,
            "thins": layout.thins,
            "volume_groups": layout.volume_groups,
            "problems": layout.problems,
            "policies": policy.read(run, LVM, profiles),
            "unknown_settings": dialects.current.unknown_settings,
        }
    except HostError as error:
        return {"error": str(error)}


def main() -> None:
    """Read under each of the settings."""
    kept = LOCAL.read_text() if LOCAL.exists() else ""
    found = []
    try:
        for settings in msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=list[str]):
            LOCAL.write_text(f"{kept}\n{settings}\n")
            found.append(read())
    finally:
        LOCAL.write_text(kept)
    print(msgspec.json.encode(found).decode())  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
