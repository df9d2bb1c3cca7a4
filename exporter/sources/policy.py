"""The autoextend policy in force, asked of LVM itself.

lvmconfig resolves what no parser of ours should: --config, profiles, tags,
lvmlocal.conf, lvm.conf and the built-in defaults, in LVM's own order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from exporter.command import Output
from exporter.errors import CommandFailedError, ParseError, quote
from exporter.model import Policies, Policy

Run = Callable[[Sequence[str]], Output]

THRESHOLD = "thin_pool_autoextend_threshold"
STEP = "thin_pool_autoextend_percent"
MONITORING = "monitoring"
KEYS = tuple(f"activation/{key}" for key in (THRESHOLD, STEP, MONITORING))
WHOLE = re.compile(r"-?[0-9]{1,9}")
VERSION = re.compile(r"LVM version:[ \t]+([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?![0-9])")
LVM_FAILED = 5  # tools/errors.h: ECMD_FAILED


def argv_lvmconfig(lvm: str, profile: str) -> tuple[str, ...]:
    """Ask for the effective values under this profile ("" for none)."""
    chosen = ("--metadataprofile", profile) if profile else ()
    return (lvm, "lvmconfig", "--type", "full", *chosen, *KEYS)


def argv_version(lvm: str) -> tuple[str, ...]:
    """Ask for LVM's version."""
    return (lvm, "version")


def parse_lvmconfig(text: str) -> Policy:
    """Read `key=value` lines.

    Units: percent, whole numbers; LVM takes one below 50 for 50, one below 0 as well.
    Raises ParseError when a key is missing or no number.
    Source: lvmconfig(8).
    """
    values = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition("=")
        values[key] = value
    try:
        return Policy(
            threshold_percent=_percent(values[THRESHOLD]),
            step_percent=_percent(values[STEP]),
            is_monitoring_enabled=bool(_percent(values[MONITORING])),
        )
    except (KeyError, ValueError) as error:
        raise ParseError("lvmconfig", text, f"no usable {error}") from error


def _percent(text: str) -> int:
    if not WHOLE.fullmatch(text):
        raise ValueError(quote(text))
    return int(text)


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Read `LVM version:     2.03.16(2) (2022-05-18)`; None when it is not there."""
    found = VERSION.search(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def read(run: Run, lvm: str, profiles: Iterable[str]) -> Policies:
    """Read the policy of each profile, and of no profile.

    A profile that LVM cannot read is what lvextend would ignore: it then uses the
    policy without profile, and so do we, and say so.
    Raises HostError when even that one cannot be read.
    """
    default = parse_lvmconfig(run(argv_lvmconfig(lvm, "")).stdout)
    by_profile = {"": default}
    unreadable = {}
    for profile in sorted(set(profiles) - {""}):
        try:
            by_profile[profile] = parse_lvmconfig(run(argv_lvmconfig(lvm, profile)).stdout)
        except CommandFailedError as error:
            if error.status != LVM_FAILED:
                raise
            by_profile[profile] = default
            unreadable[profile] = str(error)
    return Policies(
        by_profile=by_profile,
        unreadable_profiles=unreadable,
        lvm_version=parse_version(run(argv_version(lvm)).stdout),
    )
