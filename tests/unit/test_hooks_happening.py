"""What a hook finds in its environment."""

from __future__ import annotations

import pytest

from exporter.hooks import HookEvent
from exporter.hooks.happening import Happening, environment
from exporter.model import Device, ThinPool
from tests.factories import (
    make_kernel_pool,
    make_metadata_usage,
    make_pool,
    make_status,
    make_usage,
)

MIB = 1024 * 1024


def make_used_pool(used: int, total: int = 8000) -> ThinPool:
    """Return docker/thinpool with this many chunks of 64 KiB, 238 of 2048 for metadata."""
    data = make_usage(used_blocks=used, total_blocks=total, block_bytes=65536)
    metadata = make_metadata_usage(used_blocks=238, total_blocks=2048)
    status = make_status(data=data, metadata=metadata)
    return make_pool(kernel=make_kernel_pool(status=status))


def test_tells_dmeventds_figures_and_ours() -> None:
    """The first three are those that the real dmeventd gave for this very usage."""
    told = environment(
        Happening(
            event=HookEvent.FULL,
            reason="no_space",
            pool=make_used_pool(5760),
            seconds_left=59.9,
        )
    )

    assert told == {
        "DMEVENTD_THIN_POOL_DATA": "72",
        "DMEVENTD_THIN_POOL_METADATA": "11",
        "LVM_RUN_BY_DMEVENTD": "1",
        "THINPOOL_EVENT": "full",
        "THINPOOL_REASON": "no_space",
        "THINPOOL_VG": "docker",
        "THINPOOL_POOL": "thinpool",
        "THINPOOL_DATA_USED_BYTES": str(360 * MIB),
        "THINPOOL_DATA_SIZE_BYTES": str(500 * MIB),
        "THINPOOL_METADATA_USED_BYTES": str(238 * 4096),
        "THINPOOL_METADATA_SIZE_BYTES": str(8 * MIB),
        "THINPOOL_SECONDS_LEFT": "59",
    }


def test_tells_what_was_added() -> None:
    """To the devices that have grown, and to no other."""
    told = environment(
        Happening(
            event=HookEvent.EXTENDED,
            reason="extend",
            pool=make_used_pool(1),
            added_bytes={Device.METADATA: 4 * MIB},
        )
    )

    assert told["THINPOOL_METADATA_ADDED_BYTES"] == str(4 * MIB)
    assert not told.keys() & {"THINPOOL_DATA_ADDED_BYTES", "THINPOOL_SECONDS_LEFT"}


@pytest.mark.parametrize(
    ("used", "total", "percent"),
    [
        (0, 8000, "0"),
        (79, 8000, "0"),
        # 58 % in whole numbers; in double precision a little less. The real dmeventd of
        # LVM 2.03.16 said 57 of a pool with just these blocks.
        (4640, 8000, "57"),
        (7999, 8000, "99"),
        (8000, 8000, "100"),
    ],
)
def test_percent_are_cut_off_as_dmeventd_does(used: int, total: int, percent: str) -> None:
    """100 is full, and nothing else is."""
    told = environment(
        Happening(event=HookEvent.FULL, reason="", pool=make_used_pool(used, total))
    )

    assert told["DMEVENTD_THIN_POOL_DATA"] == percent


def test_what_is_not_known_is_absent() -> None:
    """As in dmeventd's calls for an event; never 0."""
    pool = make_pool(kernel=None, lvm=None)
    told = environment(Happening(event=HookEvent.IMPOSSIBLE, reason="failed", pool=pool))

    assert told == {
        "LVM_RUN_BY_DMEVENTD": "1",
        "THINPOOL_EVENT": "impossible",
        "THINPOOL_REASON": "failed",
        "THINPOOL_VG": "docker",
        "THINPOOL_POOL": "thinpool",
    }
