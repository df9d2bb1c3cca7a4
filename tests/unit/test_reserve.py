"""The reserve, from the threshold to what the simulated LVM has left in the VG."""

from __future__ import annotations

import pytest

from exporter.autoextend import NEWEST
from exporter.guard import Rules
from exporter.model import Attempt, Reason
from exporter.policy import after_extension
from exporter.simulation import PoolSpec
from tests.factories import (
    make_lvm_pool,
    make_metadata_usage,
    make_physical_volume,
    make_status,
    make_volume_group,
)
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


@pytest.mark.parametrize(("free", "left", "spare"), [(140, 55, 74), (84, 73, 0)])
def test_the_account_after_an_extension_has_the_spare(free: int, left: int, spare: int) -> None:
    """LVM creates it, 74 extents, where it fits beside the metadata's eleven."""
    pool = make_lvm_pool(metadata_size_bytes=METADATA_EXTENTS * EXTENT_BYTES)
    volume = make_physical_volume(extents=1000, allocated_extents=1000 - free)
    group = make_volume_group(
        spare_extents=0,
        largest_metadata_extents=METADATA_EXTENTS,
        physical_volumes=(volume,),
    )
    metadata = make_metadata_usage(total_blocks=(METADATA_EXTENTS + 11) * 1024)
    attempt = Attempt(outcomes=(), duration_seconds=1.0, exit_status=0, message="")

    _, account = after_extension(pool, group, make_status(metadata=metadata), attempt, NEWEST)

    assert account.spare_extents == spare
    assert account.largest_metadata_extents == METADATA_EXTENTS + 11
    assert account.usable_free_extents == left
