"""The settings of lvm.conf beside the policy that decide about pools.

What dmeventd runs when a pool fills, and whether the program that LVM checks a pool's
metadata with is there. Asked apart from the policy: an older LVM may not know these settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from exporter.command import Output
from exporter.errors import CommandFailedError
from exporter.model import LvmSettings
from exporter.sources.lvm_config import parse_config
from exporter.sources.policy import NOT_UNDERSTOOD, argv_dumpconfig

Run = Callable[[Sequence[str]], Output]

THIN_COMMAND = "dmeventd/thin_command"
THIN_CHECK = "global/thin_check_executable"
KEYS = (THIN_COMMAND, THIN_CHECK)


def argv_settings(lvm: str) -> tuple[str, ...]:
    """Ask for the values in force, LVM's defaults included."""
    return (lvm, "lvmconfig", "--type", "full", *KEYS)


def parse_settings(text: str) -> dict[str, str]:
    """Read settings by path. Raises ParseError.

    Shape: `key="value"` lines by lvmconfig, sections by dumpconfig. Source: lvmconfig(8).
    """
    found = parse_config(text, source="lvmconfig")
    paths = {path.rpartition("/")[2]: path for path in KEYS}
    return {paths.get(key, key): value for key, value in found.items()}


def read(run: Run, lvm: str, is_installed: Callable[[str], bool]) -> LvmSettings:
    """Read the settings; one that LVM does not know stays None. Raises HostError."""
    found = parse_settings(_printed(run, lvm))
    program = found.get(THIN_CHECK)
    return LvmSettings(
        thin_command=found.get(THIN_COMMAND),
        # LVM checks nothing if the setting is empty.
        missing_thin_check=program if program and not is_installed(program) else None,
    )


def _printed(run: Run, lvm: str) -> str:
    """Return the settings that LVM knows: it fails on the others, after printing these."""
    try:
        return run(argv_settings(lvm)).stdout
    except CommandFailedError as error:
        if error.status not in NOT_UNDERSTOOD:
            return error.stdout
    return run(argv_dumpconfig(lvm)).stdout
