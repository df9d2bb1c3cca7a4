"""What LVM takes from the VG for a decision, the metadata spare included: never the reserve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from exporter import autoextend
from exporter.autoextend import LvmVersion
from exporter.model import (
    METADATA_BLOCK_BYTES,
    Attempt,
    Decision,
    Device,
    Outcome,
    PhysicalVolume,
    ThinPool,
    Usage,
    VolumeGroup,
)
from exporter.policy import Limits, after_extension, decide
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

# As LVM has it with the spare, with the spare but without limits, and without the spare.
VERSIONS = st.sampled_from([None, (2, 3, 31), (2, 3, 16), (2, 3, 11), (2, 2, 185), (2, 2, 166)])
CHUNK_BYTES = 65536
SHARES = st.sampled_from([0.1, 0.82, 1.0])
BUDGETS = st.integers(0, 12) | st.integers(0, 300)
ALL_OF_IT = 10**9
many = settings(max_examples=1000)


class Layout(NamedTuple):
    """How an LV lies on the VG: `stripes` of its `areas` add to its size."""

    segment_type: str
    stripes: int
    areas: int

    def cost(self, added: int) -> int:
        """Count the extents of the VG for whole stripes that hold so many extents."""
        return self.whole_stripes(added) // self.stripes * self.areas

    def whole_stripes(self, added: int) -> int:
        """Round up to whole stripes, as LVM does with a size that it is given."""
        return -(-added // self.stripes) * self.stripes


LINEAR = Layout("linear", 1, 1)
COPIES = (Layout("raid1", 1, 2), Layout("mirror", 1, 3))
STRIPED = (
    Layout("striped", 2, 2),
    Layout("striped", 3, 3),
    Layout("raid10", 2, 4),
    Layout("raid5", 2, 3),
)
ON_VDO = Layout("vdo", 1, 0)
METADATA_LAYOUTS = st.sampled_from([LINEAR, LINEAR, *COPIES, *STRIPED])
DATA_LAYOUTS = st.sampled_from([LINEAR, LINEAR, *COPIES, *STRIPED, ON_VDO])


class Host(NamedTuple):
    """A pool, its VG, and how the two LVs of the pool lie on it."""

    pool: ThinPool
    group: VolumeGroup
    data: Layout
    metadata: Layout
    version: LvmVersion | None

    def decide(self, *, reserve_extents: int = 0) -> Decision:
        """Decide with so many extents in reserve."""
        limits = Limits(reserve_bytes=reserve_extents * EXTENT_BYTES)
        return decide(self.pool, self.group, limits, lvm_version=self.version)


def used(size_bytes: int, block_bytes: int, share: float) -> Usage:
    """Use this share of a device."""
    total = size_bytes // block_bytes
    return Usage(used_blocks=round(total * share), total_blocks=total, block_bytes=block_bytes)


@st.composite
def hosts(
    draw: st.DrawFn,
    data_layouts: st.SearchStrategy[Layout] = DATA_LAYOUTS,
    metadata_layouts: st.SearchStrategy[Layout] = METADATA_LAYOUTS,
) -> Host:
    """Draw a pool in a VG that has about as much left as the metadata spare needs."""
    data, metadata = draw(data_layouts), draw(metadata_layouts)
    data_extents = data.whole_stripes(draw(st.integers(50, 2000)))
    metadata_extents = metadata.whole_stripes(draw(st.integers(1, 120)))
    largest = metadata_extents + draw(st.just(0) | st.integers(0, 40) | st.integers(0, 5000))
    lacking = draw(st.just(0) | st.integers(-20, 60) | st.just(largest))
    free = max(0, lacking + draw(st.integers(-5, 60) | st.integers(0, 2000)))
    cuts = draw(st.lists(st.floats(0, 1), max_size=2))
    pool = make_pool(
        lvm=make_lvm_pool(
            chunk_bytes=CHUNK_BYTES,
            data_segment_type=data.segment_type,
            data_stripes=data.stripes,
            data_areas=data.areas,
            data_stripe_bytes=65536,
            metadata_segment_type=metadata.segment_type,
            metadata_areas=metadata.areas,
        ),
        policy=make_policy(step_percent=draw(st.sampled_from([1, 20, 40]))),
    )
    return Host(
        pool=of_sizes(pool, (data_extents, metadata_extents), (draw(SHARES), draw(SHARES))),
        group=make_volume_group(
            physical_volumes=on_disks(free, cuts),
            spare_extents=max(0, largest - lacking),
            largest_metadata_extents=largest,
        ),
        data=data,
        metadata=metadata,
        version=draw(VERSIONS),
    )


def of_sizes(pool: ThinPool, extents: tuple[int, int], shares: tuple[float, float]) -> ThinPool:
    """Give data and metadata these sizes, and use these shares of them."""
    assert pool.lvm
    data_bytes, metadata_bytes = (count * EXTENT_BYTES for count in extents)
    status = make_status(
        data=used(data_bytes, CHUNK_BYTES, shares[0]),
        metadata=used(metadata_bytes, METADATA_BLOCK_BYTES, shares[1]),
    )
    return replace(
        pool,
        lvm=replace(pool.lvm, size_bytes=data_bytes, metadata_size_bytes=metadata_bytes),
        kernel=make_kernel_pool(status=status),
    )


def on_disks(free: int, cuts: Sequence[float] = ()) -> tuple[PhysicalVolume, ...]:
    """Spread what is free over the PVs."""
    marks = [0, *sorted(round(free * cut) for cut in cuts), free]
    return tuple(
        make_physical_volume(
            name=f"/dev/sd{number}",
            extents=1000 + marks[number + 1],
            allocated_extents=1000 + mark,
        )
        for number, mark in enumerate(marks[:-1])
    )


class Run(NamedTuple):
    """What an lvextend has left in the VG, and whether it did all that it was to do."""

    left: int
    is_whole: bool
    spare: int  # what the spare has gained


def lvextend(host: Host, decision: Decision, *, is_spare_last: bool = False) -> Run:
    """Extend as LVM does: each LV whole or not at all, and no data without the metadata.

    LVM extends the spare before the data; the other order is here to show that it costs no
    more. It does not matter which PVs the extents come from: what LVM cannot place costs
    nothing.
    """
    data_size, size = sizes_after(host, decision)
    added = size - metadata_extents(host)
    left = host.group.usable_free_extents - host.metadata.cost(added)
    if left < 0:
        return Run(host.group.usable_free_extents, is_whole=False, spare=0)
    data = host.data.cost(data_size - data_extents(host))
    spare = spare_growth(host, size) if added else 0
    if spare > (left - data if is_spare_last else left):
        spare = 0
    left -= spare
    if data > left:
        return Run(left, is_whole=False, spare=spare)
    return Run(left - data, is_whole=True, spare=spare)


def sizes_after(host: Host, decision: Decision) -> tuple[int, int]:
    """Return the sizes that LVM gives to data and metadata; it may round the latter up."""
    sizes = {extension.device: extension.extents for extension in decision.extensions}
    data, now = sizes.get(Device.DATA, data_extents(host)), metadata_extents(host)
    metadata = sizes.get(Device.METADATA) or max(now, followed(host, data))
    return data, now + host.metadata.whole_stripes(metadata - now)


def spare_growth(host: Host, metadata_extents: int) -> int:
    """Count the extents that the spare lacks for metadata of this size."""
    wanted = autoextend.spare_extents_for(
        max(metadata_extents, host.group.largest_metadata_extents),
        extent_bytes=EXTENT_BYTES,
        rules=autoextend.rules_of(host.version),
    )
    return max(0, wanted - host.group.spare_extents)


def followed(host: Host, data_extents: int) -> int:
    """Return the metadata's size to which LVM raises it with the data, if nobody names one."""
    return autoextend.metadata_extents_for(
        data_extents,
        extent_bytes=EXTENT_BYTES,
        chunk_bytes=CHUNK_BYTES,
        rules=autoextend.rules_of(host.version),
    )


def metadata_extents(host: Host) -> int:
    """Count the extents of the metadata LV."""
    return host.pool.lvm.metadata_size_bytes // EXTENT_BYTES if host.pool.lvm else 0


def data_extents(host: Host) -> int:
    """Count the extents of the data LV."""
    return host.pool.lvm.size_bytes // EXTENT_BYTES if host.pool.lvm else 0


def in_a_larger_vg(host: Host) -> Host:
    """Give the VG room for everything."""
    return host._replace(group=replace(host.group, physical_volumes=on_disks(ALL_OF_IT)))


@many
@given(hosts(), BUDGETS)
def test_lvm_never_takes_the_reserve(host: Host, budget: int) -> None:
    """Whatever it does with the spare, and in whichever order."""
    free = host.group.usable_free_extents
    reserve = max(0, free - budget)

    decision = host.decide(reserve_extents=reserve)

    if decision.extensions:
        for is_spare_last in (False, True):
            assert lvextend(host, decision, is_spare_last=is_spare_last).left >= reserve


def extended(host: Host, decision: Decision, run: Run) -> Host:
    """Return the host as it is after an lvextend that did all, with both LVs full again."""
    sizes = sizes_after(host, decision)
    largest = max(sizes[1], host.group.largest_metadata_extents)
    return host._replace(
        pool=of_sizes(host.pool, sizes, (1.0, 1.0)),
        group=replace(
            host.group,
            physical_volumes=on_disks(run.left),
            spare_extents=host.group.spare_extents + run.spare,
            largest_metadata_extents=largest,
        ),
    )


def believed(before: Host, after: Host, decision: Decision) -> Host:
    """Return the second host as the guard takes it to be before LVM is read again."""
    assert before.pool.lvm
    assert after.pool.kernel
    outcomes = (
        Outcome(extension=extension, before_bytes=0, after_bytes=extension.size_bytes)
        for extension in decision.extensions
    )
    attempt = Attempt(outcomes=tuple(outcomes), duration_seconds=1.0, exit_status=0, message="")
    lvm, group = after_extension(
        before.pool.lvm,
        before.group,
        after.pool.kernel.status,
        attempt,
        autoextend.rules_of(before.version),
    )
    return after._replace(pool=replace(after.pool, lvm=lvm), group=group)


@settings(max_examples=3000)
@given(hosts(), BUDGETS)
def test_a_second_extension_does_not_take_the_reserve_either(host: Host, budget: int) -> None:
    """It is decided by the account that the guard itself made of the first one."""
    reserve = max(0, host.group.usable_free_extents - budget)
    first = host.decide(reserve_extents=reserve)
    run = lvextend(host, first) if first.extensions else None
    if run is None or not run.is_whole:
        return
    after = extended(host, first, run)

    second = believed(host, after, first).decide(reserve_extents=reserve)

    if second.extensions:
        assert lvextend(after, second).left >= reserve


@many
@given(hosts(st.just(LINEAR), st.sampled_from([LINEAR, *COPIES])))
def test_without_a_reserve_all_that_lvm_can_do_is_done(host: Host) -> None:
    """What `lvextend --use-policies` can extend in full, with or without the spare, we do."""
    wanted = in_a_larger_vg(host).decide()

    if wanted.extensions and lvextend(host, wanted).is_whole:
        assert host.decide() == wanted


@many
@given(hosts(metadata_layouts=st.sampled_from([LINEAR, *COPIES])))
def test_without_a_reserve_no_decision_is_too_large_for_the_vg(host: Host) -> None:
    """The metadata, its spare and the data fit, in LVM's order."""
    decision = host.decide()

    if decision.extensions:
        assert lvextend(host, decision).is_whole
