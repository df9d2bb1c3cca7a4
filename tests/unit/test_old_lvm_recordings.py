"""Every LVM since 2.02.98 as it really answered, and what a newer one said of the same host."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exporter.model import Dmeventd, Policies
from exporter.sources import lvm, policy
from exporter.sources.lvm_dialect import Dialects
from tests.recordings.replay import LVM, Recording, differences, recordings

STATES = recordings("lvm-*/*")
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
all_states = pytest.mark.parametrize("state", STATES, ids=lambda state: str(state.name))


def read(state: Recording) -> dict[str, Any]:
    """Read as the program does, with only what was recorded."""
    dialects = Dialects()
    layout = lvm.read_layout(state.ask, LVM, dialects=dialects)
    daemon = msgspec.json.decode((state.directory / "host.json").read_bytes(), type=_Host)
    monitoring, problems = lvm.read_monitoring(
        state.ask, LVM, daemon.dmeventd, dialect=dialects.current
    )
    named = [pool.profile for pool in layout.pools]
    named += [group.profile for group in layout.volume_groups]
    profiles = {profile for profile in named if profile} | {"gone"}
    policies = policy.read(state.ask, LVM, profiles, read_file=state.read_profile)
    seen = {
        "layout": layout,
        "monitoring": monitoring,
        "problems": problems,
        "policies": without_messages(policies),
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(seen))
    return plain


def without_messages(policies: Policies) -> dict[str, Any]:
    """Leave out LVM's own sentences, which the recording has."""
    plain: dict[str, Any] = msgspec.to_builtins(policies)
    return plain | {"unreadable_profiles": sorted(plain["unreadable_profiles"])}


class _Host(msgspec.Struct):
    dmeventd: Dmeventd


@all_states
def test_reads_every_age(state: Recording) -> None:
    """Each gives exactly the records kept beside it (UPDATE_GOLDEN=1 keeps new ones)."""
    golden = state.directory / "expected.json"
    found = read(state)

    if UPDATE:
        golden.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")

    assert found == json.loads(golden.read_text())


@all_states
def test_a_newer_lvm_said_the_same(state: Recording) -> None:
    """Of the same host at the same time; what the older one does not tell, it left open."""
    reference = json.loads((state.directory / "reference.json").read_text())

    assert differences(read(state)["layout"], reference["layout"]) == []


@all_states
def test_a_profile_that_is_gone_is_found(state: Recording) -> None:
    """In every version, though LVM itself goes on silently."""
    assert read(state)["policies"]["unreadable_profiles"] == ["gone"]


def test_there_are_recordings_of_each_way_of_reading() -> None:
    """Names before fields, JSON with what it lacks, and dumpconfig."""
    asked = {state.name: " ".join(c.argv for c in state.commands.values()) for state in STATES}

    assert any("--nameprefixes" in text for text in asked.values())
    assert any("dumpconfig" in text for text in asked.values())
    assert any("-o help" in text and "json --units" in text for text in asked.values())


def test_recordings_are_small() -> None:
    """They are read with every clone."""
    size = sum(path.stat().st_size for path in Path(STATES[0].directory).rglob("*"))

    assert size < 100_000
