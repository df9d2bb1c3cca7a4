"""What holds for every pool: never beyond what is free, never short of the threshold."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from exporter import autoextend
from exporter.autoextend import LvmVersion
from exporter.model import Decision, Device, Reason, ThinPool, Usage, VolumeGroup
from exporter.policy import Limits, Outlook, decide
from exporter.policy.need import MARGIN
from tests.factories import (
    EXTENT_BYTES,
    make_kernel_pool,
    make_lvm_pool,
    make_physical_volume,
    make_policy,
    make_pool,
    make_status,
    make_volume_group,
)

# One of each kind that LVM's arithmetic has had, and an unknown one.
STEPS_ALONE = (2, 2, 132)
VERSIONS = st.sampled_from(
    [
        None,
        STEPS_ALONE,
        (2, 2, 165),
        (2, 2, 186),
        (2, 2, 188),
        (2, 3, 2),
        (2, 3, 16),
        (2, 3, 31),
    ]
)
CHUNKS = st.sampled_from([65536, 131072, 196608, 524288, 1048576])


@st.composite
def pools(draw: st.DrawFn) -> ThinPool:
    """Draw an active linear pool of any size, usage, chunk and policy that LVM accepts."""
    data_extents = draw(st.integers(1, 200_000))
    metadata_extents = draw(st.integers(1, 4000))
    chunk = draw(CHUNKS)
    data_blocks = max(1, data_extents * EXTENT_BYTES // chunk)
    metadata_blocks = metadata_extents * EXTENT_BYTES // 4096
    lvm = make_lvm_pool(
        size_bytes=data_extents * EXTENT_BYTES,
        metadata_size_bytes=metadata_extents * EXTENT_BYTES,
        chunk_bytes=chunk,
    )
    status = make_status(
        data=Usage(
            used_blocks=draw(st.integers(0, data_blocks)),
            total_blocks=data_blocks,
            block_bytes=chunk,
        ),
        metadata=Usage(
            used_blocks=draw(st.integers(0, metadata_blocks)),
            total_blocks=metadata_blocks,
            block_bytes=4096,
        ),
    )
    policy = make_policy(
        threshold_percent=draw(st.integers(1, 100)), step_percent=draw(st.integers(1, 200))
    )
    return make_pool(lvm=lvm, kernel=make_kernel_pool(status=status), policy=policy)


@st.composite
def groups(draw: st.DrawFn) -> VolumeGroup:
    """Draw a VG with up to four PVs, some of them of no use."""
    volumes = tuple(
        make_physical_volume(
            name=f"/dev/sd{number}",
            extents=extents,
            allocated_extents=draw(st.integers(0, extents)),
            is_allocatable=draw(st.booleans()),
        )
        for number, extents in enumerate(draw(st.lists(st.integers(0, 50_000), max_size=4)))
    )
    spare = draw(st.integers(0, 4000))
    return make_volume_group(
        physical_volumes=volumes, spare_extents=spare, largest_metadata_extents=spare
    )


def added(decision: Decision, device: Device) -> int:
    """Count the extents that a decision adds to one device."""
    return sum(
        extension.extents - extension.from_extents
        for extension in decision.extensions
        if extension.device is device
    )


@given(pools(), groups(), st.integers(0, 10**12), VERSIONS)
def test_never_more_than_is_free_after_the_reserve(
    pool: ThinPool, group: VolumeGroup, reserve_bytes: int, version: LvmVersion | None
) -> None:
    """Data and metadata together fit into what may be allocated, less the reserve."""
    limits = Limits(reserve_bytes=reserve_bytes)

    decision = decide(pool, group, limits, lvm_version=version)

    total = added(decision, Device.DATA) + added(decision, Device.METADATA)
    reserved = math.ceil(reserve_bytes / EXTENT_BYTES)
    assert total <= max(0, group.usable_free_extents - reserved)


@given(pools(), groups(), st.integers(0, 10**13))
def test_never_above_the_largest_size(pool: ThinPool, group: VolumeGroup, size: int) -> None:
    """Whatever is asked for, data stops at max_size."""
    decision = decide(pool, group, Limits(max_size_bytes=size))

    for extension in decision.extensions:
        if extension.device is Device.DATA:
            assert extension.size_bytes <= size


@given(pools(), groups(), VERSIONS.filter(lambda version: version != STEPS_ALONE))
def test_a_full_step_ends_at_or_below_the_threshold(
    pool: ThinPool, group: VolumeGroup, version: LvmVersion | None
) -> None:
    """Unless clamped, one step is enough, as one call of LVM's is since 2.02.133."""
    decision = decide(pool, group, Limits(), lvm_version=version)

    if decision.reason is Reason.EXTEND and pool.policy and pool.data:
        threshold = autoextend.effective_threshold_percent(pool.policy.threshold_percent)
        for extension in decision.extensions:
            if extension.device is Device.DATA:
                used = pool.data.used_bytes
                assert used * 100 <= extension.size_bytes * threshold * (1 + 1e-6)


@given(pools(), groups())
def test_a_decision_is_stable(pool: ThinPool, group: VolumeGroup) -> None:
    """An extension is never empty, never beyond what is wanted, and repeatable."""
    decision = decide(pool, group, Limits())

    assert decision == decide(pool, group, Limits())
    for extension in decision.extensions:
        assert extension.from_extents < extension.extents <= extension.wanted_extents


@given(pools(), groups(), st.integers(1, 10_000))
def test_more_room_never_gives_less_data(pool: ThinPool, group: VolumeGroup, more: int) -> None:
    """A new PV never makes an extension of data alone smaller."""
    wider = replace(
        group,
        physical_volumes=(
            *group.physical_volumes,
            make_physical_volume(name="/dev/new", extents=more, allocated_extents=0),
        ),
    )

    before, after = decide(pool, group, Limits()), decide(pool, wider, Limits())

    if not added(before, Device.METADATA) and not added(after, Device.METADATA):
        assert added(after, Device.DATA) >= added(before, Device.DATA)


RATES = st.floats(0, 1e11, allow_nan=False)


@st.composite
def outlooks(draw: st.DrawFn) -> Outlook:
    """Draw rates up to 100 GB/s, and horizons up to an hour."""
    return Outlook(
        bytes_per_second={Device.DATA: draw(RATES), Device.METADATA: draw(RATES)},
        lasted_seconds=draw(st.dictionaries(st.sampled_from(Device), st.floats(0, 3600))),
        reaction_seconds=draw(st.floats(0, 600)),
        horizon_seconds=draw(st.floats(0, 3600)),
        is_for_any_policy=draw(st.booleans()),
    )


@given(pools(), groups(), outlooks(), st.integers(0, 10**12))
def test_anticipation_keeps_to_the_reserve(
    pool: ThinPool, group: VolumeGroup, outlook: Outlook, reserve_bytes: int
) -> None:
    """However fast a pool fills, the reserve is left alone."""
    decision = decide(pool, group, Limits(reserve_bytes=reserve_bytes), outlook=outlook)

    total = added(decision, Device.DATA) + added(decision, Device.METADATA)
    reserved = math.ceil(reserve_bytes / EXTENT_BYTES)
    assert total <= max(0, group.usable_free_extents - reserved)


@given(pools(), groups(), outlooks())
def test_anticipation_adds_no_more_than_the_horizon_asks_for(
    pool: ThinPool, group: VolumeGroup, outlook: Outlook
) -> None:
    """The horizon, or two extensions if they take longer; rounded up to one stripe."""
    plain = decide(pool, group, Limits())
    decision = decide(pool, group, Limits(), outlook=outlook)

    for extension in decision.extensions:
        rate = outlook.bytes_per_second[extension.device]
        bound = max(
            rate * max(outlook.horizon_seconds, 2 * outlook.reaction_seconds * MARGIN),
            *(
                other.wanted_bytes - other.from_extents * EXTENT_BYTES
                for other in plain.extensions
                if other.device is extension.device
            ),
            0,
        )
        stripes = pool.lvm.data_stripes if pool.lvm else 1
        assert extension.added_bytes <= bound + (1 + stripes) * EXTENT_BYTES
