"""What LVM says on stderr while it looks for PVs, before any command's own messages.

It tries every block device, foreign thin volumes too, unless their pool is in trouble.
Source: lib/activate/dev_manager.c, dm_device_is_usable(); lib/metadata/metadata.c.
"""

from __future__ import annotations

from collections.abc import Iterator

from exporter.simulation.figures import dashed
from exporter.simulation.pool import DM_MAJOR
from exporter.simulation.state import HostState


def scan_warnings(state: HostState) -> list[str]:
    """Warn of thin volumes whose pool takes no writes, and of disks that are gone."""
    return [*_thin_warnings(state), *_missing_disks(state)]


def _thin_warnings(state: HostState) -> Iterator[str]:
    for thin in state.docker_thins:
        if not thin.pool.is_active:
            continue
        if thin.pool.has_failed:
            number = f"{DM_MAJOR}:{thin.minor}"
            yield f"  WARNING: Cannot get thin-pool major:minor for thin device {number}."
        elif thin.pool.mode != "rw":
            yield f"  WARNING: /dev/mapper/{thin.name}: Thin's thin-pool needs inspection."


def _missing_disks(state: HostState) -> Iterator[str]:
    missing = [(vg, pv) for vg in state.vgs.values() for pv in vg.pvs if pv.is_missing]
    for _, pv in missing:
        yield f"  WARNING: Couldn't find device with uuid {dashed(pv.uuid)}."
    for vg, pv in missing:
        where = f"{dashed(pv.uuid)} (last written to {pv.name})"
        yield f"  WARNING: VG {vg.name} is missing PV {where}."
