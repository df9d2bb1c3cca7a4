"""The reserve, from the threshold to what the simulated LVM has left in the VG."""

from __future__ import annotations

import pytest

from exporter.guard import Rules
from exporter.model import Reason
from exporter.simulation import PoolSpec
from tests.fakes import MIB, GuardedHost

EXTENT_BYTES = 4 * MIB
METADATA_EXTENTS = 63
FREE_EXTENTS = 70


def host_without_a_spare(reserve_extents: int) -> GuardedHost:
    """Make a pool whose metadata is nearly full, in a VG with 70 extents left.

    LVM creates the spare, 64 extents or more, as soon as it extends the metadata.
    """
    guarded = GuardedHost(Rules(anticipate=False, reserve_bytes=reserve_extents * EXTENT_BYTES))
    host = guarded.host
    host.add_vg("vg", extents=2000)
    host.set_profile("p", threshold=80, percent=40)
    host.add_pool(
        "vg/pool",
        PoolSpec(
            data_bytes=1000 * EXTENT_BYTES,
            metadata_bytes=METADATA_EXTENTS * EXTENT_BYTES,
            chunk_bytes=512 * 1024,
            profile="p",
        ),
    )
    group = host.vg("vg")
    del group.lvs["lvol0_pmspare"]  # its extents stay taken, as by another LV
    host.add_linear("vg/other", size_bytes=(group.free_extents - FREE_EXTENTS) * EXTENT_BYTES)
    host.fill_metadata("vg/pool", METADATA_EXTENTS * 1024 * 9 // 10)
    guarded.collection.refresh_all()
    return guarded


@pytest.mark.parametrize(
    ("reserve", "reason", "left"),
    [
        # Three extents of metadata would fit, and then the spare's 66 as well.
        (67, Reason.NO_SPACE, 70),
        # 26 extents, the whole step, leave no room for the spare's 89.
        (44, Reason.BELOW_THRESHOLD, 44),
        (0, Reason.BELOW_THRESHOLD, 44),
    ],
)
def test_the_metadata_spare_does_not_take_the_reserve(
    reserve: int, reason: Reason, left: int
) -> None:
    """LVM creates the spare whenever it fits; then the metadata must wait."""
    guarded = host_without_a_spare(reserve)

    guarded.cycle(2)

    assert guarded.verdict("vg/pool").reason is reason
    assert guarded.host.vg("vg").free_extents == left
