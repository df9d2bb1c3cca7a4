"""What LVM holds against an extension, and what a runbook has against each of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.vm import faults
from tests.vm.conftest import READY
from tests.vm.guest import CONFIG, Guest, running
from tests.vm.machine import Machine
from tests.vm.runbook import Runbook

pytestmark = pytest.mark.campaign

PATIENCE_SECONDS = 120.0
STATE = "thinpool_guard_state"
ALERT = "ThinPoolNotProtected"
# The reason, the heading of its remedy, and what the reader fills in.
CASES: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "exported": ("vg_exported", "If its volume group is exported", {}),
    "foreign": (
        "vg_foreign",
        "If its volume group belongs to another host",
        {"SYSTEM_ID": "elsewhere"},
    ),
    "back": (
        "vg_partial",
        "If a disk of the group is missing, and is back",
        {"DISK": "/dev/mapper/pv-back-1"},
    ),
    "lost": ("vg_partial", "If a disk of the group is missing, and will not come back", {}),
}


def make(machine: Machine) -> None:
    """Make a VG of each kind, with a pool that is below its threshold."""
    faults.prepared(machine)
    disk = faults.Disk(machine)
    faults.run(
        machine,
        *(
            line
            for vg in CASES
            for line in (
                disk.group(vg, *((64, 64) if vg == "back" else (64,))),
                faults.pool(f"{vg}/pool"),
            )
        ),
        # Nothing of the pool lies on this one.
        disk.cut("lost-1"),
        "vgextend -qq lost /dev/mapper/pv-lost-1",
        faults.exported("exported"),
        faults.edited("foreign", 'system_id = "elsewhere"'),
        "echo 'local/system_id = \"here\"' >> /etc/lvm/lvmlocal.conf",
        "echo 'global/system_id_source = \"lvmlocal\"' >> /etc/lvm/lvm.conf",
        faults.was_missing("back"),
        faults.without_disk("lost-1"),
    )


@pytest.fixture
def guest(booted: Machine) -> Iterator[Guest]:
    """Run the guard beside them."""
    booted.restore(READY)
    make(booted)
    booted.write(CONFIG, "collect: {lvm_interval: 2s}\n")
    with running(booted) as guest:
        yield guest


def test_each_reason_has_its_remedy(booted: Machine, guest: Guest) -> None:
    """Typed as it stands, it lets the guard go on."""
    for vg, (reason, heading, words) in CASES.items():
        guest.wait_for(PATIENCE_SECONDS, STATE, 1, vg=vg, pool="pool", reason=reason)

        Runbook(booted, ALERT, vg=vg, pool="pool").follow(heading, 0, "", **words)

        guest.wait_for(PATIENCE_SECONDS, STATE, 1, vg=vg, pool="pool", reason="below_threshold")
