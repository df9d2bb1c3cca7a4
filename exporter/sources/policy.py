"""The autoextend policy in force, asked of LVM itself.

lvmconfig resolves what no parser of ours should: --config, profiles, tags,
lvmlocal.conf, lvm.conf and the built-in defaults, in LVM's own order. An LVM that cannot
do that yet is asked for its settings, and the oldest's profiles are read here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from exporter.command import Output
from exporter.errors import CommandFailedError, HostError, ParseError, quote
from exporter.model import Policies, Policy
from exporter.sources.lvm_config import parse_config
from exporter.units import quoted

Run = Callable[[Sequence[str]], Output]

THRESHOLD = "thin_pool_autoextend_threshold"
STEP = "thin_pool_autoextend_percent"
MONITORING = "monitoring"
KEYS = tuple(f"activation/{key}" for key in (THRESHOLD, STEP, MONITORING))
DEFAULTS = dict(zip(KEYS, ("100", "20", "1"), strict=True))
MONITORING_KEY = KEYS[2]
PROFILABLE_KEYS = KEYS[:2]
SWITCH = dict.fromkeys(("y", "yes", "on", "true"), 1) | dict.fromkeys(
    ("n", "no", "off", "false"), 0
)
PROFILE_DIRECTORY_KEY = "config/profile_dir"
SYSTEM_DIRECTORY = "/etc/lvm"
MAX_PROFILE_BYTES = 65536
WHOLE = re.compile(r"-?[0-9]{1,9}")
VERSION = re.compile(r"LVM version:[ \t]+([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?![0-9])")
LVM_FAILED = 5  # tools/errors.h: ECMD_FAILED
NOT_UNDERSTOOD = frozenset({2, 3})  # no such command, an unknown option


class ProfileError(HostError):
    """A profile's file cannot be read."""


def argv_lvmconfig(lvm: str, profile: str) -> tuple[str, ...]:
    """Ask for the effective values under this profile ("" for none)."""
    chosen = ("--metadataprofile", profile) if profile else ()
    return (lvm, "lvmconfig", "--type", "full", *chosen, *KEYS)


def argv_dumpconfig(lvm: str, *options: str) -> tuple[str, ...]:
    """Ask for every setting that is not a default, of an LVM without lvmconfig."""
    return (lvm, "dumpconfig", *options)


def argv_version(lvm: str) -> tuple[str, ...]:
    """Ask for LVM's version."""
    return (lvm, "version")


class Read(NamedTuple):
    """A policy, and the settings in it for which LVM takes its default: what is wrong."""

    policy: Policy
    faults: tuple[str, ...] = ()


def parse_lvmconfig(text: str) -> Read:
    """Read `key=value` lines.

    Units: percent, whole numbers. Raises ParseError when a key is missing.
    Source: lvmconfig(8).
    """
    values = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition("=")
        values[f"activation/{key}"] = value
    if missing := [key for key in KEYS if key not in values]:
        raise ParseError("lvmconfig", text, f"no {missing[0]}")
    return make_policy(values)


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Read `LVM version:     2.03.16(2) (2022-05-18)`; None when it is not there."""
    found = VERSION.search(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def parse_dump(text: str) -> dict[str, str]:
    """Read what dumpconfig prints: settings by path. Raises ParseError."""
    return parse_config(text, source="dumpconfig")


def make_policy(settings: Mapping[str, str]) -> Read:
    """Make a policy of settings by path; what is not set, or of no use, is LVM's default.

    LVM takes whole numbers alone, without quotes, and for a switch also a word.
    Source: lvm2 libdm/libdm-config.c, _find_config_int64, _find_config_bool.
    """
    found: list[int] = []
    faults: list[str] = []
    for key, default in DEFAULTS.items():
        text = settings.get(key, default)
        value = _whole(text)
        if value is None and key == MONITORING_KEY:
            value = SWITCH.get(text.strip('"'))
        if value is None:
            faults.append(f"{key}={text} is no number: LVM takes its default, {default}")
        found.append(int(default) if value is None else value)
    threshold, step, monitoring = found
    return Read(
        Policy(
            threshold_percent=threshold,
            step_percent=step,
            is_monitoring_enabled=bool(monitoring),
        ),
        tuple(map(quote, faults)),
    )


def _whole(text: str) -> int | None:
    return int(text) if WHOLE.fullmatch(text) else None


def read_profile(path: Path) -> str:
    """Read a profile's file. Raises ProfileError."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_PROFILE_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise ProfileError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # a null byte
        raise ProfileError(f"{quoted(str(path))}: {error}") from error


ReadProfile = Callable[[Path], str]
Reader = Callable[[str], Read]


def _readers(run: Run, lvm: str, read_file: ReadProfile) -> list[Reader]:
    """List the ways to a policy by profile, the newest LVM's first.

    lvmconfig resolves everything itself since 2.02.123, dumpconfig all but the defaults
    since 2.02.107; before that it knows nothing of the profiles that LVs name.
    """

    def resolved(profile: str) -> Read:
        return parse_lvmconfig(run(argv_lvmconfig(lvm, profile)).stdout)

    def merged(profile: str) -> Read:
        return make_policy(parse_dump(run(argv_dumpconfig(lvm, *_merged_with(profile))).stdout))

    def looked_up(profile: str) -> Read:
        settings = parse_dump(run(argv_dumpconfig(lvm)).stdout)
        if profile:
            settings |= _profile_settings(settings, profile, read_file)
        return make_policy(settings)

    return [resolved, merged, looked_up]


def _merged_with(profile: str) -> tuple[str, ...]:
    return ("--mergedconfig", *(("--metadataprofile", profile) if profile else ()))


def _profile_settings(
    settings: Mapping[str, str], profile: str, read_file: ReadProfile
) -> dict[str, str]:
    system = Path(os.environ.get("LVM_SYSTEM_DIR") or SYSTEM_DIRECTORY)
    directory = Path(settings.get(PROFILE_DIRECTORY_KEY) or system / "profile")
    path = directory / f"{profile}.profile"
    found = parse_config(read_file(path), source=str(path))
    return {key: found[key] for key in PROFILABLE_KEYS if key in found}


def _read_first(readers: list[Reader], profile: str) -> Read:
    """Read by the first of the ways that LVM understands; the others are struck out."""
    while len(readers) > 1:
        try:
            return readers[0](profile)
        except CommandFailedError as error:
            if error.status not in NOT_UNDERSTOOD:
                raise
        del readers[0]
    return readers[0](profile)


def read(
    run: Run, lvm: str, profiles: Iterable[str], *, read_file: ReadProfile = read_profile
) -> Policies:
    """Read the policy of each profile, and of no profile.

    A profile that LVM cannot read, or with a setting of no use, is what lvextend would ignore:
    it then uses the policy without profile, and so do we, and say so.
    Raises HostError when even that one cannot be read.
    """
    readers = _readers(run, lvm, read_file)
    default, faults = _read_first(readers, "")
    by_profile = {"": default}
    unreadable = {}
    for profile in sorted(set(profiles) - {""}):
        try:
            by_profile[profile], found = _read_first(readers, profile)
        except (CommandFailedError, ProfileError, ParseError) as error:
            if isinstance(error, CommandFailedError) and error.status != LVM_FAILED:
                raise
            by_profile[profile] = default
            unreadable[profile] = str(error)
        else:
            if news := set(found) - set(faults):
                by_profile[profile] = default
                unreadable[profile] = ", ".join(sorted(news))
    return Policies(
        by_profile=by_profile,
        unreadable_profiles=unreadable,
        faults=faults,
        lvm_version=parse_version(run(argv_version(lvm)).stdout),
    )
