"""Latches: held by what would fail again, opened by what may change the outcome."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from exporter.guard.latch import Latch, circumstances
from exporter.model import Failure, Reason
from tests.factories import (
    make_kernel_pool,
    make_lvm_pool,
    make_physical_volume,
    make_policy,
    make_pool,
    make_status,
    make_volume_group,
)

POOL, GROUP = make_pool(), make_volume_group()
HERE = circumstances(POOL, GROUP)


def close(failure: Failure = Failure.REFUSED, last: Latch | None = None) -> Latch:
    """Close a latch at 1,000 seconds."""
    return Latch.close(failure, "VG docker is busy", HERE, now=1000.0, last=last)


@pytest.mark.parametrize(
    ("pool", "group"),
    [
        (POOL, replace(GROUP, seqno=GROUP.seqno + 1)),
        (POOL, replace(GROUP, physical_volumes=(make_physical_volume(extents=90_000),))),
        (make_pool(profile="other"), GROUP),
        (make_pool(policy=make_policy(step_percent=30)), GROUP),
        (make_pool(lvm=make_lvm_pool(size_bytes=1)), GROUP),
        (make_pool(lvm=make_lvm_pool(is_locked=True)), GROUP),
        (make_pool(kernel=make_kernel_pool(status=make_status(needs_check=True))), GROUP),
        (make_pool(kernel=make_kernel_pool(status=make_status(is_suspended=True))), GROUP),
    ],
)
def test_what_may_change_the_outcome_opens_it(pool: object, group: object) -> None:
    """The VG, its free space, the profile, its policy, the sizes, the state."""
    latch = close(Failure.INEFFECTIVE)

    now_in = circumstances(pool, group)  # type: ignore[arg-type]

    assert not latch.holds(now_in, now=1000.0, is_urgent=False)


def test_usage_alone_does_not() -> None:
    """A pool that fills on would fail to be extended as before."""
    fuller = make_pool(
        kernel=make_kernel_pool(
            status=make_status(data=replace(make_status().data, used_blocks=30_000))  # type: ignore[type-var]
        )
    )

    assert circumstances(fuller, GROUP) == HERE


def test_a_refusal_is_tried_again_ever_more_rarely() -> None:
    """Ten seconds, twenty, up to ten minutes, unless something has changed."""
    waits = []
    latch = None
    for _ in range(8):
        latch = close(last=latch)
        waits.append(latch.retry_seconds)

    assert waits == [10, 20, 40, 80, 160, 320, 600, 600]
    assert latch is not None
    assert latch.reason is Reason.LATCHED_REFUSED
    assert latch.holds(HERE, now=1599.9, is_urgent=False)
    assert not latch.holds(HERE, now=1600.0, is_urgent=False)
    elsewhere = Latch.close(Failure.REFUSED, "", "other", now=0, last=latch)
    assert elsewhere.retry_seconds == 10


def test_a_full_pool_is_tried_again_soon() -> None:
    """Its writers have a minute."""
    latch = close(last=close(last=close()))

    assert latch.holds(HERE, now=1001.9, is_urgent=True)
    assert not latch.holds(HERE, now=1002.0, is_urgent=True)


def test_what_had_no_effect_is_not_tried_again_by_time() -> None:
    """The kernel would ignore it once more, and the VG would be eaten up."""
    latch = close(Failure.INEFFECTIVE)

    assert latch.reason is Reason.LATCHED_INEFFECTIVE
    assert latch.holds(HERE, now=1e9, is_urgent=True)
