"""What the guard decides, from records alone."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from exporter.model import (
    UNKNOWN_STATUS,
    Decision,
    Device,
    Extension,
    GuardMode,
    PoolMode,
    PoolSource,
    Reason,
    ThinPool,
    Usage,
    VolumeGroup,
)
from exporter.policy import Limits, Outlook, attainable, authorise, decide, next_steps
from exporter.policy.room import Room
from tests.factories import (
    DATA_EXTENTS,
    EXTENT_BYTES,
    METADATA_EXTENTS,
    USED_EXTENTS,
    make_kernel_pool,
    make_lvm_pool,
    make_metadata_usage,
    make_physical_volume,
    make_policy,
    make_pool,
    make_status,
    make_usage,
    make_volume_group,
)

NO_LIMITS = Limits()


def share(usage: Usage, ratio: float) -> Usage:
    """Use this share of a device."""
    return replace(usage, used_blocks=round(usage.total_blocks * ratio))


def pool_used(data: float = 0.1, metadata: float = 0.1, **status: object) -> ThinPool:
    """Make the article's pool with this usage."""
    return make_pool(
        kernel=make_kernel_pool(
            status=make_status(
                data=share(make_usage(), data),
                metadata=share(make_metadata_usage(), metadata),
                **status,
            )
        )
    )


def group_with(free_extents: int, **changes: object) -> VolumeGroup:
    """Make VG docker with this much free on its one PV."""
    volume = make_physical_volume(extents=USED_EXTENTS + free_extents)
    return make_volume_group(physical_volumes=(volume,), **changes)


def by_device(decision: Decision) -> dict[Device, Extension]:
    """Find extensions by their device."""
    return {extension.device: extension for extension in decision.extensions}


def test_nothing_below_the_threshold() -> None:
    """A pool at exactly its threshold is left alone."""
    decision = decide(pool_used(0.8), group_with(10_000), NO_LIMITS)

    assert decision == Decision(reason=Reason.BELOW_THRESHOLD)


def test_a_full_step_when_the_vg_has_room() -> None:
    """20 % of 4,863 extents, rounded up, to an absolute size."""
    decision = decide(pool_used(0.81), group_with(10_000), NO_LIMITS)

    assert decision.reason is Reason.EXTEND
    extension = by_device(decision)[Device.DATA]
    assert extension.extents == DATA_EXTENTS + 973
    assert not extension.is_clamped


def test_the_articles_layout_gives_what_is_there() -> None:
    """154 extents are free and 973 are asked for: LVM gives none, we give 154."""
    decision = decide(pool_used(0.81), group_with(154), NO_LIMITS)

    assert decision.reason is Reason.EXTEND_CLAMPED
    extension = by_device(decision)[Device.DATA]
    assert extension.extents - extension.from_extents == 154
    assert extension.wanted_extents - extension.from_extents == 973


def test_an_empty_vg_gives_nothing() -> None:
    """Then there is nothing to run, and the reason says so."""
    assert decide(pool_used(0.81), group_with(0), NO_LIMITS).reason is Reason.NO_SPACE


def test_the_reserve_is_left_alone() -> None:
    """Ten extents of reserve stay free, to the extent."""
    limits = Limits(reserve_bytes=10 * EXTENT_BYTES - 1)

    extension = by_device(decide(pool_used(0.81), group_with(154), limits))[Device.DATA]

    assert extension.extents - extension.from_extents == 144


def test_a_pool_never_exceeds_its_largest_size() -> None:
    """max_size clamps, and then stops."""
    most = Limits(max_size_bytes=(DATA_EXTENTS + 100) * EXTENT_BYTES + 1)
    reached = Limits(max_size_bytes=DATA_EXTENTS * EXTENT_BYTES)

    clamped = decide(pool_used(0.81), group_with(10_000), most)
    stopped = decide(pool_used(0.81), group_with(10_000), reached)

    assert by_device(clamped)[Device.DATA].extents == DATA_EXTENTS + 100
    assert stopped.reason is Reason.AT_MAX_SIZE


def test_metadata_comes_first_and_takes_its_spare_along() -> None:
    """21 % of 51 extents is 11, and as much again for the spare; data gets the rest."""
    decision = decide(pool_used(0.81, 0.81), group_with(154), NO_LIMITS)

    assert [extension.device for extension in decision.extensions] == [
        Device.METADATA,
        Device.DATA,
    ]
    extensions = by_device(decision)
    assert extensions[Device.METADATA].extents == METADATA_EXTENTS + 11
    assert extensions[Device.DATA].extents == DATA_EXTENTS + 154 - 22


def test_metadata_alone() -> None:
    """Data below its threshold stays as it is."""
    decision = decide(pool_used(0.1, 0.81), group_with(154), NO_LIMITS)

    assert by_device(decision).keys() == {Device.METADATA}
    assert decision.reason is Reason.EXTEND


def test_metadata_gets_something_even_when_its_spare_cannot_grow() -> None:
    """LVM ignores that the spare fails, and so may we when there is no room for it."""
    group = group_with(5, spare_extents=0)

    extension = by_device(decide(pool_used(0.1, 0.81), group, NO_LIMITS))[Device.METADATA]

    assert extension.extents == METADATA_EXTENTS + 5


def test_metadata_leaves_its_spare_behind_where_lvm_does() -> None:
    """11 extents fit, 22 do not: LVM takes the 11 and goes on without a larger spare."""
    extension = by_device(decide(pool_used(0.1, 0.81), group_with(21), NO_LIMITS))[
        Device.METADATA
    ]

    assert extension.extents == METADATA_EXTENTS + 11


def pool_of_metadata(extents: int, used: int, **changes: object) -> ThinPool:
    """Make a pool with so many extents of metadata, of which so many blocks are in use."""
    usage = make_metadata_usage(used_blocks=used, total_blocks=extents * 1024)
    return make_pool(
        lvm=make_lvm_pool(metadata_size_bytes=extents * EXTENT_BYTES, **changes),
        kernel=make_kernel_pool(status=make_status(metadata=usage)),
    )


@pytest.mark.parametrize(
    ("reserve", "reason", "added"),
    [
        # Three extents leave room for the spare's 40, so LVM would take 43; four leave none.
        (40, Reason.NO_SPACE, 0),
        (39, Reason.EXTEND_CLAMPED, 4),
        (29, Reason.EXTEND, 14),
        (0, Reason.EXTEND, 14),
    ],
)
def test_the_spare_takes_nothing_of_the_reserve(
    reserve: int, reason: Reason, added: int
) -> None:
    """A smaller extension of the metadata may be what makes room for the spare."""
    pool = pool_of_metadata(63, 63 * 900)
    group = group_with(43, spare_extents=26, largest_metadata_extents=63)

    decision = decide(pool, group, Limits(reserve_bytes=reserve * EXTENT_BYTES))

    assert decision.reason is reason
    assert sum(extension.added_bytes for extension in decision.extensions) == (
        added * EXTENT_BYTES
    )


def test_metadata_leaves_its_spare_behind_within_the_reserve() -> None:
    """42 extents are too few for any spare: LVM takes the five that the reserve allows."""
    pool = pool_of_metadata(63, 63 * 900)
    group = group_with(42, spare_extents=0, largest_metadata_extents=63)
    limits = Limits(reserve_bytes=37 * EXTENT_BYTES)

    (extension,) = decide(pool, group, limits).extensions

    assert extension.added_bytes == 5 * EXTENT_BYTES


@pytest.mark.parametrize(("reserve", "is_extended"), [(7, False), (6, True)])
def test_striped_metadata_is_rounded_up_with_its_spare(
    reserve: int, *, is_extended: bool
) -> None:
    """LVM makes one extent a whole stripe of two, and the spare two extents larger."""
    stripes = {"metadata_segment_type": "striped", "metadata_areas": 2}
    pool = pool_of_metadata(50, 50 * 820, **stripes)
    pool = replace(pool, policy=make_policy(step_percent=1))
    group = group_with(10, spare_extents=50, largest_metadata_extents=50)

    decision = decide(pool, group, Limits(reserve_bytes=reserve * EXTENT_BYTES))

    assert bool(decision.extensions) is is_extended


@pytest.mark.parametrize(("version", "left"), [((2, 2, 184), 143), ((2, 2, 185), 132)])
def test_older_lvm_leaves_the_spare_alone(version: tuple[int, int, int], left: int) -> None:
    """Then all that metadata does not take is data's."""
    pool = pool_used(0.81, 0.81)

    decision = decide(pool, group_with(154), NO_LIMITS, lvm_version=version)

    assert by_device(decision)[Device.DATA].extents == DATA_EXTENTS + left


def test_metadata_at_lvms_limit_is_said() -> None:
    """LVM would report success and do nothing, for ever."""
    size = 4065 * EXTENT_BYTES
    pool = pool_used(0.1)
    pool = replace(
        pool,
        lvm=make_lvm_pool(metadata_size_bytes=size),
        kernel=make_kernel_pool(
            status=make_status(metadata=make_metadata_usage(used_blocks=900, total_blocks=1000))
        ),
    )

    decision = decide(pool, group_with(10_000), NO_LIMITS)

    assert decision.reason is Reason.AT_METADATA_LIMIT


def test_growing_data_leaves_room_for_the_metadata_that_lvm_adds() -> None:
    """64 KiB chunks want 64 bytes each: LVM grows small metadata along with the data."""
    lvm = make_lvm_pool(chunk_bytes=65536, metadata_size_bytes=4 * EXTENT_BYTES)
    usage = Usage(
        used_blocks=round(DATA_EXTENTS * 64 * 0.81),
        total_blocks=DATA_EXTENTS * 64,
        block_bytes=65536,
    )
    metadata = make_metadata_usage(used_blocks=10, total_blocks=4 * 1024)
    kernel = make_kernel_pool(status=make_status(data=usage, metadata=metadata))
    group = group_with(100, spare_extents=4, largest_metadata_extents=4)

    decision = decide(replace(make_pool(), lvm=lvm, kernel=kernel), group, NO_LIMITS)

    extension = by_device(decision)[Device.DATA]
    # 4,961 extents of data want 5 extents of metadata: one more, and one for the spare
    assert extension.extents - extension.from_extents == 98


def test_a_striped_pool_takes_whole_stripes_from_enough_pvs() -> None:
    """Two stripes need two PVs: what only one of them has is of no use."""
    volumes = (
        make_physical_volume(extents=1000, allocated_extents=990),
        make_physical_volume(name="/dev/sdc", extents=1000, allocated_extents=500),
    )
    lvm = make_lvm_pool(data_stripes=2, data_areas=2, data_stripe_bytes=65536)
    pool = replace(pool_used(0.81), lvm=lvm)

    decision = decide(pool, make_volume_group(physical_volumes=volumes), NO_LIMITS)

    extension = by_device(decision)[Device.DATA]
    assert extension.extents - extension.from_extents == 20


def test_data_on_vdo_takes_nothing_of_the_vg() -> None:
    """LVM makes the VDO volume larger, which costs no extents, even where none are free."""
    pool = make_pool(
        kernel=pool_used(data=0.9).kernel,
        lvm=make_lvm_pool(data_segment_type="vdo", data_areas=0),
    )

    decision = decide(pool, group_with(0), Limits())

    assert decision.reason is Reason.EXTEND
    extension = by_device(decision)[Device.DATA]
    assert extension.extents - extension.from_extents == 973


def test_pvs_that_may_not_be_used_do_not_count() -> None:
    """Not allocatable or missing PVs give nothing, whatever is free on them."""
    volumes = (
        make_physical_volume(extents=USED_EXTENTS),
        make_physical_volume(name="/dev/sdc", is_allocatable=False, allocated_extents=0),
        make_physical_volume(name="/dev/sdd", is_missing=True, allocated_extents=0),
    )

    decision = decide(pool_used(0.81), make_volume_group(physical_volumes=volumes), NO_LIMITS)

    assert decision.reason is Reason.NO_SPACE


@pytest.mark.parametrize(
    ("pool", "group", "reason"),
    [
        (pool_used(0.99, needs_check=True), group_with(99), Reason.NEEDS_CHECK),
        (pool_used(0.99, mode=PoolMode.FAILED), group_with(99), Reason.FAILED),
        (pool_used(0.99, mode=PoolMode.RO), group_with(99), Reason.READ_ONLY),
        (pool_used(0.99, mode=PoolMode.UNKNOWN), group_with(99), Reason.USAGE_UNKNOWN),
        (pool_used(0.99, is_suspended=True), group_with(99), Reason.SUSPENDED),
        (pool_used(0.99), None, Reason.LAYOUT_UNKNOWN),
        (pool_used(0.99), group_with(99, is_exported=True), Reason.VG_EXPORTED),
        (
            replace(pool_used(0.99), lvm=None),
            group_with(99, is_exported=True),
            Reason.VG_EXPORTED,
        ),
        (pool_used(0.99), group_with(99, is_shared=True), Reason.VG_SHARED),
        (pool_used(0.99), group_with(99, is_clustered=True), Reason.VG_SHARED),
        (pool_used(0.99), group_with(99, is_foreign=True), Reason.VG_FOREIGN),
        (pool_used(0.99), group_with(99, is_partial=True), Reason.VG_PARTIAL),
        (pool_used(0.99), group_with(99, is_writable=False), Reason.NOT_WRITABLE),
        (
            replace(pool_used(0.99), lvm=make_lvm_pool(is_locked=True)),
            group_with(99),
            Reason.LOCKED,
        ),
        # The row of the LV was refused: nobody knows what an extension costs.
        (
            replace(pool_used(0.99), lvm=make_lvm_pool(data_segment_type=None)),
            group_with(99),
            Reason.LAYOUT_UNKNOWN,
        ),
        (
            replace(pool_used(0.99), lvm=make_lvm_pool(metadata_segment_type=None)),
            group_with(99),
            Reason.LAYOUT_UNKNOWN,
        ),
        (
            replace(pool_used(0.99), lvm=make_lvm_pool(needs_check=True)),
            group_with(99),
            Reason.NEEDS_CHECK,
        ),
        (
            replace(pool_used(0.99), lvm=make_lvm_pool(size_bytes=4 * EXTENT_BYTES)),
            group_with(99),
            Reason.LAYOUT_DIFFERS,
        ),
        # Renamed since LVM was asked: what is to be extended has another name now.
        (
            replace(pool_used(0.99), lvm=make_lvm_pool(vg_name="old")),
            group_with(99),
            Reason.LAYOUT_DIFFERS,
        ),
        (
            replace(pool_used(0.99), source=PoolSource.DEVICE_MAPPER),
            group_with(99),
            Reason.NOT_LVM,
        ),
        (
            replace(pool_used(0.99), kernel=None, mode=PoolMode.INACTIVE),
            group_with(99),
            Reason.INACTIVE,
        ),
        (
            replace(
                pool_used(0.99),
                kernel=None,
                mode=PoolMode.UNKNOWN,
                lvm=make_lvm_pool(data_percent=None),
            ),
            group_with(99),
            Reason.USAGE_UNKNOWN,
        ),
        (replace(pool_used(0.99), policy=None), group_with(99), Reason.POLICY_UNKNOWN),
        (
            replace(pool_used(0.99), policy=make_policy(threshold_percent=100)),
            group_with(99),
            Reason.POLICY_OFF,
        ),
        (
            replace(
                pool_used(0.99),
                policy=make_policy(threshold_percent=100),
                is_profile_missing=True,
            ),
            group_with(99),
            Reason.PROFILE_MISSING,
        ),
        (
            replace(pool_used(0.99), policy=make_policy(step_percent=0)),
            group_with(99),
            Reason.POLICY_STEP_ZERO,
        ),
    ],
)
def test_what_is_never_touched(
    pool: ThinPool, group: VolumeGroup | None, reason: Reason
) -> None:
    """Each obstacle has its own reason, and no extension comes with it."""
    assert decide(pool, group, NO_LIMITS) == Decision(reason=reason)


def test_a_pool_out_of_metadata_alone_is_mended() -> None:
    """Read-only, metadata full and needs_check unset: the kernel recovers when it grows."""
    decision = decide(pool_used(0.5, 1.0, mode=PoolMode.RO), group_with(154), NO_LIMITS)

    assert by_device(decision).keys() == {Device.METADATA}


GROWTH = Decision(
    reason=Reason.EXTEND,
    extensions=(
        Extension(
            device=Device.DATA, from_extents=1, wanted_extents=2, extents=2, extent_bytes=4096
        ),
    ),
)
CALM = Decision(reason=Reason.BELOW_THRESHOLD)


@pytest.mark.parametrize(
    ("decision", "mode", "is_monitored", "is_due", "reason"),
    [
        (GROWTH, GuardMode.AUTO, False, False, Reason.EXTEND),
        (GROWTH, GuardMode.AUTO, True, False, Reason.DMEVENTD_MONITORS),
        (GROWTH, GuardMode.AUTO, None, False, Reason.DMEVENTD_MONITORS),
        (GROWTH, GuardMode.AUTO, True, True, Reason.EXTEND),
        (GROWTH, GuardMode.ALWAYS, True, False, Reason.EXTEND),
        (GROWTH, GuardMode.OBSERVE, False, False, Reason.OBSERVE_ONLY),
        (GROWTH, GuardMode.OFF, False, True, Reason.GUARD_OFF),
        (CALM, GuardMode.AUTO, True, False, Reason.DMEVENTD_MONITORS),
        (CALM, GuardMode.AUTO, False, False, Reason.BELOW_THRESHOLD),
        (CALM, GuardMode.OFF, False, False, Reason.GUARD_OFF),
        (Decision(reason=Reason.NO_SPACE), GuardMode.AUTO, True, False, Reason.NO_SPACE),
    ],
)
def test_the_mode_decides_who_acts(
    decision: Decision,
    mode: GuardMode,
    is_monitored: bool | None,  # noqa: FBT001 - a column of the table
    is_due: bool,  # noqa: FBT001 - same
    reason: Reason,
) -> None:
    """Only an authorised growth keeps its extensions."""
    pool = make_pool(is_monitored=is_monitored)

    verdict = authorise(decision, pool, mode, is_takeover_due=is_due)

    assert verdict.reason is reason
    assert bool(verdict.extensions) == (reason is Reason.EXTEND)


def test_the_next_step_is_told_before_it_is_needed() -> None:
    """The article's VG will be asked for 973 extents and can give 154."""
    steps = {step.device: step for step in next_steps(pool_used(), group_with(154), NO_LIMITS)}

    assert steps[Device.DATA].wanted_bytes == 973 * EXTENT_BYTES
    assert steps[Device.DATA].possible_bytes == 154 * EXTENT_BYTES
    assert steps[Device.METADATA].wanted_bytes == 11 * EXTENT_BYTES
    assert steps[Device.METADATA].possible_bytes == 11 * EXTENT_BYTES


@pytest.mark.parametrize(
    ("version", "metadata_extents"), [((2, 2, 98), 0), ((2, 3, 10), 26), ((2, 3, 16), 27)]
)
def test_the_next_step_is_that_of_the_lvm_found(
    version: tuple[int, int, int], metadata_extents: int
) -> None:
    """Of 51 extents, 50 % or 51 %; the oldest LVM extends no metadata."""
    pool = replace(pool_used(), policy=make_policy(step_percent=50))

    steps = next_steps(pool, group_with(5000), NO_LIMITS, lvm_version=version)

    wanted = {step.device: step.wanted_bytes for step in steps}
    assert wanted[Device.METADATA] == metadata_extents * EXTENT_BYTES


def test_a_negative_step_asks_for_nothing_ahead_of_its_time() -> None:
    """LVM extends by what it takes to land at the threshold, and by no less than nothing."""
    pool = replace(pool_used(), policy=make_policy(step_percent=-3))

    steps = next_steps(pool, group_with(154), NO_LIMITS)

    assert [step.wanted_bytes for step in steps] == [0, 0]


def test_no_next_step_where_the_policy_never_extends() -> None:
    """Absent, not zero."""
    pool = replace(pool_used(), policy=make_policy(threshold_percent=100))

    assert next_steps(pool, group_with(154), NO_LIMITS) == ()


def test_what_a_device_can_reach() -> None:
    """All that the VG can give it, within the user's limits, and never less than it is."""
    pool = pool_used()
    data, metadata = (
        attainable(pool, group_with(154), NO_LIMITS)[device] // EXTENT_BYTES
        for device in (Device.DATA, Device.METADATA)
    )
    now = pool.lvm.size_bytes // EXTENT_BYTES if pool.lvm else 0

    assert data == now + 154
    # Metadata needs as much again for its spare.
    assert 51 < metadata <= 51 + 154
    kept = Limits(reserve_bytes=100 * EXTENT_BYTES)
    assert attainable(pool, group_with(154), kept)[Device.DATA] == (now + 54) * EXTENT_BYTES
    capped = Limits(max_size_bytes=(now + 10) * EXTENT_BYTES)
    assert attainable(pool, group_with(154), capped)[Device.DATA] == (now + 10) * EXTENT_BYTES
    small = Limits(max_size_bytes=EXTENT_BYTES)
    assert attainable(pool, group_with(154), small)[Device.DATA] == now * EXTENT_BYTES
    assert attainable(pool, None, NO_LIMITS) == {}


@pytest.mark.parametrize("free", [0, 1, 7, 154, 5000])
def test_no_extension_goes_beyond_what_can_be_reached(free: int) -> None:
    """Of the policy's own steps; and what is possible of a step can be reached."""
    pool, group = pool_used(), group_with(free)
    reach = attainable(pool, group, NO_LIMITS)
    sizes = {Device.DATA: pool.lvm and pool.lvm.size_bytes}
    for step in next_steps(pool, group, NO_LIMITS):
        if step.device in sizes:
            assert (sizes[step.device] or 0) + step.possible_bytes <= reach[step.device]


MIB = 1024 * 1024


def outlook(data: float = 0.0, metadata: float = 0.0, **changes: object) -> Outlook:
    """Expect these MiB/s, with the default horizon."""
    rates = {Device.DATA: data * MIB, Device.METADATA: metadata * MIB}
    expected = Outlook(bytes_per_second=rates, reaction_seconds=0.0, horizon_seconds=10.0)
    return replace(expected, **changes)


def test_a_pool_that_would_be_full_too_soon_is_extended_early() -> None:
    """Half full, 9,726 MiB free, 2,000 MiB/s: ten seconds of that, less what is free."""
    decision = decide(pool_used(0.5), group_with(10_000), NO_LIMITS, outlook=outlook(data=2000))

    assert decision.reason is Reason.EXTEND_ANTICIPATED
    assert not decision.is_over_threshold
    extension = by_device(decision)[Device.DATA]
    assert extension.is_anticipated
    assert extension.added_bytes == -(-(20_000 - 9726) // 4) * 4 * MIB


def test_a_pool_that_lasts_longer_than_a_reaction_waits_for_its_threshold() -> None:
    """9,726 MiB free last five seconds at 1,945 MiB/s."""
    for rate, reason in (
        (1945, Reason.BELOW_THRESHOLD),
        (1946, Reason.EXTEND_ANTICIPATED),
    ):
        decision = decide(
            pool_used(0.5), group_with(10_000), NO_LIMITS, outlook=outlook(data=rate)
        )

        assert decision.reason is reason


def test_a_step_over_the_threshold_lasts_for_the_horizon() -> None:
    """Where 20 % would be written in a second, one extension must do for ten."""
    decision = decide(
        pool_used(0.81), group_with(10_000), NO_LIMITS, outlook=outlook(data=2000)
    )

    assert decision.reason is Reason.EXTEND
    extension = by_device(decision)[Device.DATA]
    assert not extension.is_anticipated
    assert extension.added_bytes > 16_000 * MIB


@pytest.mark.parametrize("seconds", [0.2, 2.0, 5.0, 10.0, 20.0, 60.0])
def test_a_pool_that_is_full_before_the_next_reaction_is_extended(seconds: float) -> None:
    """However slow lvextend is: what is free lasts for 1.2 times as long as one takes."""
    rate = 9726 / (1.2 * seconds)
    expected = outlook(data=rate, reaction_seconds=seconds)

    decision = decide(pool_used(0.5), group_with(100_000), NO_LIMITS, outlook=expected)

    assert decision.reason is Reason.EXTEND_ANTICIPATED
    added = by_device(decision)[Device.DATA].added_bytes / MIB
    assert 9726 + added >= 2 * seconds * rate


@pytest.mark.parametrize(
    ("data_percent", "reason"),
    [(80.0, Reason.BELOW_THRESHOLD), (80.01, Reason.EXTEND), (None, Reason.USAGE_UNKNOWN)],
)
def test_lvs_serves_while_the_kernel_gives_no_status(
    data_percent: float | None, reason: Reason
) -> None:
    """In decisions as well; without either nothing is known, and nothing is claimed."""
    lvm = make_lvm_pool(data_percent=data_percent, metadata_percent=1.0)
    pool = replace(pool_used(0.1), lvm=lvm, kernel=None, mode=PoolMode.UNKNOWN)

    assert decide(pool, group_with(10_000), NO_LIMITS).reason is reason
    unread = make_kernel_pool(status=UNKNOWN_STATUS)
    pool = replace(pool_used(0.1), lvm=lvm).with_kernel(unread)
    assert decide(pool, group_with(10_000), NO_LIMITS).reason is reason


@pytest.mark.parametrize(
    ("lasted", "reaction", "seconds"),
    [
        *[
            (0.25, 0.1, 2.0),
            (0.5, 0.1, 2.0),
            (0.25, 0.8, 2.4),
            (2.0, 0.1, 8.0),
            (3.0, 0.1, 10.0),
        ],
        # An lvextend that waits for a lock: with what a burst of its length writes.
        *[(60.0, 30.0, 90.0), (0.25, 60.0, 6.0), (5.0, 60.0, 20.0), (60.0, 60.0, 180.0)],
    ],
)
def test_a_rate_is_taken_to_go_on_for_four_times_as_long_as_it_has(
    lasted: float, reaction: float, seconds: float
) -> None:
    """Within the horizon; and for two extensions and a half more, whatever the horizon."""
    lasts = {Device.DATA: lasted}
    expected = outlook(data=20_000, lasted_seconds=lasts, reaction_seconds=reaction)

    decision = decide(pool_used(0.5), group_with(1_000_000), NO_LIMITS, outlook=expected)

    added = by_device(decision)[Device.DATA].added_bytes
    assert added == -(-(20_000 * seconds - 9726) // 4) * 4 * MIB


@pytest.mark.parametrize("lasted", [0.25, 0.6, 1.5, 30.0])
@pytest.mark.parametrize("reaction", [0.1, 0.3, 1.0, 2.0])
def test_a_pool_is_extended_when_half_of_what_an_extension_adds_is_left(
    lasted: float, reaction: float
) -> None:
    """Not before, since each extension suspends the pool; and early enough for the next one."""
    free = 9726
    lasts = {Device.DATA: lasted}

    def decided(rate: float) -> Decision:
        expected = outlook(data=rate, lasted_seconds=lasts, reaction_seconds=reaction)
        return decide(pool_used(0.5), group_with(1_000_000), NO_LIMITS, outlook=expected)

    seconds = max(2 * reaction * 1.5, min(10.0, max(2.0, 4 * lasted)))
    at_half = 2 * free / seconds

    assert decided(at_half * 0.99).reason is Reason.BELOW_THRESHOLD
    extending = decided(at_half * 1.01)
    assert extending.reason is Reason.EXTEND_ANTICIPATED
    assert by_device(extending)[Device.DATA].added_bytes >= free * MIB
    assert free / at_half >= reaction * 1.5


def test_a_short_burst_is_given_no_whole_horizon() -> None:
    """300 MiB in a quarter of a second: what is free lasts 3 s of that, and is left to do."""
    burst = outlook(data=1200, lasted_seconds={Device.DATA: 0.25}, reaction_seconds=0.2)

    decision = decide(pool_used(0.8), group_with(10_000), NO_LIMITS, outlook=burst)

    assert decision.reason is Reason.BELOW_THRESHOLD


def test_metadata_is_anticipated_too() -> None:
    """It first, and alone where data lasts."""
    decision = decide(
        pool_used(0.1, 0.5), group_with(10_000), NO_LIMITS, outlook=outlook(metadata=30)
    )

    assert list(by_device(decision)) == [Device.METADATA]
    assert by_device(decision)[Device.METADATA].added_bytes == 200 * MIB


def test_anticipation_takes_what_is_there_and_no_more() -> None:
    """Clamped to the VG, the reserve and the largest size, as every extension is."""
    expected = outlook(data=5000)
    size = DATA_EXTENTS * EXTENT_BYTES

    scarce = decide(pool_used(0.5), group_with(10), NO_LIMITS, outlook=expected)
    limited = decide(
        pool_used(0.5),
        group_with(10_000),
        Limits(max_size_bytes=size + 3 * EXTENT_BYTES),
        outlook=expected,
    )
    none = decide(pool_used(0.5), group_with(0), NO_LIMITS, outlook=expected)

    assert scarce.reason is Reason.EXTEND_CLAMPED
    assert by_device(scarce)[Device.DATA].added_bytes == 10 * EXTENT_BYTES
    assert by_device(limited)[Device.DATA].added_bytes == 3 * EXTENT_BYTES
    assert none.reason is Reason.NO_SPACE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"threshold_percent": 100}, Reason.POLICY_OFF),
        ({"step_percent": 0}, Reason.POLICY_STEP_ZERO),
    ],
)
def test_a_policy_that_is_off_is_not_anticipated_unless_the_user_wants_it(
    changes: dict[str, int], reason: Reason
) -> None:
    """What LVM would never extend, we do not either; where it is wanted, by the rate alone."""
    pool = replace(pool_used(0.9), policy=make_policy(**changes))
    expected = outlook(data=2000)

    refused = decide(pool, group_with(10_000), NO_LIMITS, outlook=expected)
    wanted = decide(
        pool,
        group_with(10_000),
        NO_LIMITS,
        outlook=replace(expected, is_for_any_policy=True),
    )

    assert refused == Decision(reason=reason)
    assert wanted.reason is Reason.EXTEND_ANTICIPATED
    assert by_device(wanted)[Device.DATA].added_bytes == pytest.approx(
        20_000 * MIB - 0.1 * DATA_EXTENTS * EXTENT_BYTES, abs=EXTENT_BYTES
    )


def test_a_policy_that_is_off_stays_off_where_nothing_is_expected() -> None:
    """Wanted or not: a pool that does not fill needs nothing."""
    pool = replace(pool_used(0.9), policy=make_policy(threshold_percent=100))

    decision = decide(pool, group_with(100), NO_LIMITS, outlook=outlook(is_for_any_policy=True))

    assert decision == Decision(reason=Reason.POLICY_OFF)


def test_part_of_a_striped_pool_fits_wherever_the_metadata_goes() -> None:
    """Metadata takes 22 of the 29 extents first: the second area may find nothing left."""
    volumes = (
        make_physical_volume(extents=1000, allocated_extents=986),
        make_physical_volume(name="/dev/sdc", extents=1000, allocated_extents=985),
    )
    lvm = make_lvm_pool(data_stripes=2, data_areas=2, data_stripe_bytes=65536)
    pool = replace(pool_used(0.81, 0.81), lvm=lvm)

    decision = decide(pool, make_volume_group(physical_volumes=volumes), NO_LIMITS)

    assert by_device(decision).keys() == {Device.METADATA}
    assert decision.reason is Reason.EXTEND_CLAMPED


@pytest.mark.parametrize(
    ("changes", "is_alone"),
    [
        ({}, True),
        ({"data_segment_type": "striped", "data_stripes": 2, "data_areas": 2}, True),
        ({"data_segment_type": "raid1"}, False),
        ({"data_segment_type": None}, False),
        ({"is_active": False}, False),
        ({"is_active": None}, False),
        ({"metadata_size_bytes": 4 * MIB, "chunk_bytes": 64 * 1024}, False),
    ],
    ids=str,
)
def test_lvextend_waits_for_udev_where_it_may_make_a_device(
    changes: dict[str, object], *, is_alone: bool
) -> None:
    """Not for a data LV alone.

    With the metadata, which LVM raises by itself for much data, goes the spare. A pool that is
    inactive is made active, and parts of parts are LVM's business.
    """
    lvm = make_lvm_pool(**changes)
    room = Room(pool=lvm, group=group_with(10_000), limits=NO_LIMITS)

    assert room.is_data_alone(room.data_extents + 100) is is_alone


def test_a_decision_tells_whether_data_grows_alone() -> None:
    """By name, and not beside metadata."""
    data = decide(pool_used(0.9), group_with(10_000), NO_LIMITS)
    both = decide(pool_used(0.9, 0.9), group_with(10_000), NO_LIMITS)

    assert data.is_data_alone
    assert len(both.extensions) == 2
    assert not both.is_data_alone
