"""A pool whose data is deduplicated and compressed: its size is a promise of VDO's."""

from __future__ import annotations

import pytest

from tests.vm import faults, odd
from tests.vm.guest import CONFIG, check, running
from tests.vm.machine import Machine
from tests.vm.test_odd_hosts import asked

pytestmark = pytest.mark.any_release

POOL = "vdo/pool"
LABELS = {"vg": "vdo", "pool": "pool"}
EXTENT_BYTES = 4 * faults.MIB
GROW_SECONDS = 60


def free_bytes(machine: Machine) -> int:
    """Ask LVM what the VG has left."""
    form = "--noheadings --nosuffix --units b -o vg_free"
    return int(machine.run(f"vgs {form} vdo").stdout)


def test_data_on_vdo_grows_at_no_cost_to_the_group(machine: Machine) -> None:
    """By the step that LVM's own policy would have made, and known beforehand."""
    if not machine.image.release.has_vdo:
        pytest.skip(f"no VDO in the image of {machine.image.release.name}")
    odd.prepared(machine)
    faults.run(machine, *odd.on_vdo(machine.disk()))
    wanted = asked(machine, POOL)
    free = free_bytes(machine)
    _, report = check(machine)
    machine.write(CONFIG, "guard: {anticipate: false}\n")

    with running(machine) as guest:
        metrics = guest.wait_for(
            GROW_SECONDS, "thinpool_guard_extends_total", 1, device="data", **LABELS
        )

    assert wanted == {"data": 77}  # 64 and 20 % of them, rounded up
    assert "data needs 52.00 MiB, the VG can give 52.00 MiB" in report
    assert metrics.value("thinpool_data_size_bytes", **LABELS) == 77 * EXTENT_BYTES
    assert free_bytes(machine) == free
