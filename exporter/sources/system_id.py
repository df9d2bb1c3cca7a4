"""Which system IDs are this host's: LVM changes no VG that bears another one.

Asked only where a VG bears one at all, which is rare; VGs without are everybody's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from exporter.command import Output
from exporter.errors import CommandFailedError
from exporter.sources.lvm_dialect import FULL, Dialect

Run = Callable[[Sequence[str]], Output]

EXTRA_KEY = "local/extra_system_ids"
OWN = re.compile(r"^[ \t]*system ID:[ \t]*(\S*)[ \t]*$", re.MULTILINE)
EXTRA = re.compile(r"^[ \t]*extra_system_ids=(.*)$", re.MULTILINE)
QUOTED = re.compile(r'"([^"]*)"')
LVM_FAILED = 5  # tools/errors.h: ECMD_FAILED; lvmconfig says so of a key it does not know
NOT_UNDERSTOOD = frozenset({2, 3})  # no lvmconfig, or no --type full, before 2.02.123


def argv_system_id(lvm: str, *, dialect: Dialect = FULL) -> tuple[str, ...]:
    """Ask for the host's own system ID."""
    return (lvm, "systemid", *dialect.config())


def argv_extra(lvm: str) -> tuple[str, ...]:
    """Ask for those that the configuration grants to the host besides."""
    return (lvm, "lvmconfig", "--type", "full", EXTRA_KEY)


def argv_extra_set(lvm: str) -> tuple[str, ...]:
    """Ask for them where they are set, of an LVM without lvmconfig."""
    return (lvm, "dumpconfig", EXTRA_KEY)


def parse_system_id(text: str) -> str:
    """Read `  system ID: NAME`; "" for a host that has none.

    Source: lvm2 tools/lvmcmdline.c, systemid.
    """
    found = OWN.search(text)
    return found[1] if found else ""


def parse_extra(text: str) -> frozenset[str]:
    """Read `extra_system_ids=["one","two"]`. Source: lvmconfig(8)."""
    return frozenset(found for line in EXTRA.findall(text) for found in QUOTED.findall(line))


def read(run: Run, lvm: str, *, dialect: Dialect = FULL) -> frozenset[str]:
    """Read the IDs whose VGs this host may change; none for a host without its own.

    Raises HostError. Source: lvm2 lib/metadata/metadata.c, is_system_id_allowed.
    """
    own = parse_system_id(run(argv_system_id(lvm, dialect=dialect)).stdout)
    if not own:
        return frozenset()
    return _read_extra(run, lvm) | {own}


def _read_extra(run: Run, lvm: str) -> frozenset[str]:
    try:
        return parse_extra(run(argv_extra(lvm)).stdout)
    except CommandFailedError as error:
        if error.status == LVM_FAILED:
            return frozenset()
        if error.status not in NOT_UNDERSTOOD:
            raise
    try:
        return parse_extra(run(argv_extra_set(lvm)).stdout)
    except CommandFailedError as error:
        if error.status != LVM_FAILED:
            raise
        return frozenset()
