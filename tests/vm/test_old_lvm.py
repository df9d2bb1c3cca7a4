"""LVM of every age, built from its own repository, on a real pool: `make test-lvm`.

THINPOOL_LVM_SOURCE names a repository, THINPOOL_LVM_TAGS those tags that are wanted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.recordings.replay import differences
from tests.vm import guest, old_lvm, scenarios
from tests.vm.guest import CONFIG, PROGRAM
from tests.vm.machine import Machine
from tests.vm.old_lvm import (
    CONFIGURED_STEP,
    OTHER_POOL,
    POOL,
    PROFILED_STEP,
    QUIET,
    THRESHOLD,
    Commands,
    OldLvm,
)

TAGS = os.environ.get("THINPOOL_LVM_TAGS", "").split() or old_lvm.TAGS
EXTEND_SECONDS = 90
DM_NAME, OTHER_DM_NAME = "docker-thinpool-tpool", "my--vg-my--pool-tpool"

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("tag", TAGS)
def test_reads_this_lvm_and_extends_as_it_would(
    machine: Machine, tag: str, tmp_path: Path
) -> None:
    """What it tells is what a newer LVM and the kernel tell; no dmeventd is ever started."""
    old = OldLvm(tag)

    seen = old_lvm.record(machine, old, tmp_path)

    for moment in seen:
        _assert_agreement(moment, old)
    assert seen[0]["monitoring"] == {}
    for moment in seen[1:]:
        assert _pick(moment["monitoring"], POOL) == "monitored"
        assert _pick(moment["monitoring"], OTHER_POOL) == "not monitored"
    assert scenarios.dmeventd_pid(machine) is None
    _assert_policies(guest.collect(machine), old)
    _assert_extends_alike(machine, old)
    assert scenarios.dmeventd_pid(machine) is None


def _pick(words: object, label: str) -> object:
    assert isinstance(words, dict)
    return words[label]


def _assert_agreement(seen: Mapping[str, Any], old: OldLvm) -> None:
    """Hold its account against the newer LVM's, and both against the kernel's."""
    assert differences(seen["layout"], seen["reference"]["layout"]) == []
    assert not seen["layout"]["problems"]
    assert not seen["problems"]
    assert seen["unreadable"] == ["gone"]
    assert ".".join(f"{n:02}" for n in seen["policies"]["lvm_version"]) == f"0{old.version}"
    totals = {pool["dm_name"]: pool["status"]["data"] for pool in seen["kernel"]["pools"]}
    for pool in seen["layout"]["pools"]:
        name = "-".join(pool[key].replace("-", "--") for key in ("vg_name", "name"))
        usage = totals.get(f"{name}-tpool")
        assert (usage is not None) == bool(pool["is_active"])
        if usage:
            assert usage["total_blocks"] == pool["size_bytes"] // pool["chunk_bytes"]


def _assert_policies(metrics: guest.Metrics, old: OldLvm) -> None:
    """Each pool is under its own profile's policy, or under its VG's."""
    step = PROFILED_STEP if old.has_profiles else CONFIGURED_STEP
    for vg, pool in (POOL.split("/"), OTHER_POOL.split("/")):
        values = {
            name: metrics.value(f"thinpool_autoextend_{name}_ratio", vg=vg, pool=pool)
            for name in ("threshold", "step")
        }
        assert values == {"threshold": THRESHOLD / 100, "step": step / 100}


def _assert_extends_alike(machine: Machine, old: OldLvm) -> None:
    """Hold the guard's extension of one pool against the old LVM's own, of its twin."""
    rest = f"pools: {{{OTHER_POOL}: {{mode: 'off'}}}}\nguard: {{anticipate: false}}\n"
    machine.write(CONFIG, f"commands: {{lvm: {old.lvm}}}\n{rest}")
    old_lvm.overfill(machine)
    before = scenarios.dm_status(machine)[DM_NAME].total_data
    unit = machine.start((PROGRAM, "run", "--log.format=json"))
    told = f"journalctl --no-pager -o cat -u {unit} | grep -q pool_extended"
    machine.wait_until(told, EXTEND_SECONDS)
    machine.stop(unit)
    Commands(machine, old)("lvextend", *QUIET, "--use-policies", OTHER_POOL)

    after = scenarios.dm_status(machine)
    ours, theirs = after[DM_NAME], after[OTHER_DM_NAME]
    assert (ours.total_data, ours.total_metadata) == (theirs.total_data, theirs.total_metadata)
    assert ours.total_data != before
