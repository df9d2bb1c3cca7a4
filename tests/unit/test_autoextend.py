"""LVM's arithmetic, against figures worked out from lvm2's source and seen in the VM."""

from __future__ import annotations

import pytest

from exporter.autoextend import (
    CROPPED_METADATA_BYTES,
    MAX_METADATA_BYTES,
    added_extents,
    effective_threshold_percent,
    max_metadata_extents,
    metadata_added_extents,
    metadata_extents_for,
    metadata_step_percent,
    metadata_threshold_percent,
    round_to_stripes,
    rules_of,
    spare_extents_for,
    step_percent,
    stripe_extents,
    usage_percent,
)
from exporter.model import Usage

MIB = 1024 * 1024


def usage(used: int, total: int) -> Usage:
    """Make a usage of 64 KiB chunks."""
    return Usage(used_blocks=used, total_blocks=total, block_bytes=65536)


@pytest.mark.parametrize(
    ("used", "total", "percent"),
    [
        (0, 100, 0),
        (100, 100, 100_000_000),
        (75, 100, 75_000_000),
        (1, 3, 33_333_333),
        (1, 10**12, 1),
        (10**12 - 1, 10**12, 99_999_999),
        (0, 0, 100_000_000),
        (101, 100, 101_000_000),
    ],
)
def test_usage_is_counted_as_lvm_counts_it(used: int, total: int, percent: int) -> None:
    """Millionths of a percent, biased away from 0 and 100 % like dm_make_percent."""
    assert usage_percent(used, total) == percent


@pytest.mark.parametrize(
    ("used", "threshold", "policy", "step"),
    [
        (75, 75, 20, 0),  # strictly above: 75.00 does not fire at 75
        (80, 80, 20, 0),
        (81, 80, 20, 20),
        (96, 70, 20, 38),
        (100, 70, 20, 43),
        (100, 50, 20, 100),
        (50, 30, 20, 0),  # LVM uses 50 for a lower threshold
        (51, 30, 20, 20),
        (99, 100, 20, 0),  # 100 is never
        (100, 80, 10, 25),
    ],
)
def test_a_step_lands_at_or_below_the_threshold(
    used: int, threshold: int, policy: int, step: int
) -> None:
    """At least the policy's percent, and as much more as it takes."""
    assert (
        step_percent(usage(used, 100), threshold_percent=threshold, policy_percent=policy)
        == step
    )


def test_one_chunk_above_the_threshold_acts() -> None:
    """Strictness is exact to the chunk, not to a printed percent."""
    below, above = usage(800_000, 1_000_000), usage(800_001, 1_000_000)

    assert step_percent(below, threshold_percent=80, policy_percent=20) == 0
    assert step_percent(above, threshold_percent=80, policy_percent=20) == 20


@pytest.mark.parametrize(
    ("size_mib", "threshold", "effective"),
    [
        (2, 80, 75),
        (4, 80, 75),
        (16, 80, 75),
        (32, 90, 87),
        (32, 80, 80),
        (100, 99, 96),
        (100, 80, 80),
        (8, 100, 100),
        (8, 40, 50),
    ],
)
def test_metadata_keeps_room_for_the_kernel(
    size_mib: int, threshold: int, effective: int
) -> None:
    """4 MiB or 25 % stay free, and 100 still means never."""
    assert metadata_threshold_percent(size_mib * MIB, threshold) == effective


def test_metadata_gains_one_percent_more() -> None:
    """LVM adds one percent for what the kernel itself uses while it grows."""
    grown = metadata_step_percent(
        usage(76, 100), size_bytes=4 * MIB, threshold_percent=80, policy_percent=20
    )

    assert grown == 21


@pytest.mark.parametrize(
    ("percent", "extents", "added"), [(20, 125, 25), (20, 126, 26), (1, 1, 1), (43, 100, 43)]
)
def test_percentages_of_extents_round_up(percent: int, extents: int, added: int) -> None:
    """As percent_of_extents does."""
    assert added_extents(percent, extents) == added


def test_stripes_round_up_when_there_is_room_and_down_when_not() -> None:
    """LVM makes whole stripes and does not fail for the rest of one."""
    assert round_to_stripes(25, stripe_extents=2, free_extents=26) == 26
    assert round_to_stripes(25, stripe_extents=2, free_extents=25) == 24
    assert round_to_stripes(24, stripe_extents=2, free_extents=0) == 24


def test_a_stripe_may_be_larger_than_an_extent() -> None:
    """Then a whole stripe takes several extents from each PV."""
    assert stripe_extents(1, 0, 4 * MIB) == 1
    assert stripe_extents(2, 65536, 4 * MIB) == 2
    assert stripe_extents(2, 8 * MIB, 4 * MIB) == 4


def test_metadata_follows_data_with_64_bytes_a_chunk() -> None:
    """A 1 TiB pool of 64 KiB chunks wants 1 GiB of metadata, a 512 KiB one 128 MiB."""
    extents = 1024**4 // (4 * MIB)

    assert metadata_extents_for(extents, extent_bytes=4 * MIB, chunk_bytes=65536) == 256
    assert metadata_extents_for(extents, extent_bytes=4 * MIB, chunk_bytes=524288) == 32


def test_the_largest_metadata_is_lvms() -> None:
    """15.875 GiB less 64 blocks a bitmap, in whole extents."""
    assert max_metadata_extents(4 * MIB) == 4065


def test_thresholds_have_a_floor_and_a_ceiling() -> None:
    """Below 50 is 50; above 100 is never, as 100."""
    assert [effective_threshold_percent(value) for value in (0, 49, 50, 80, 100, 250)] == [
        50,
        50,
        50,
        80,
        100,
        100,
    ]


@pytest.mark.parametrize(
    ("version", "is_with_data", "added"),
    [
        ((2, 3, 16), True, 21),
        ((2, 3, 7), True, 21),
        ((2, 2, 187), True, 21),
        ((2, 3, 16), False, 1),
        ((2, 3, 17), True, 1),
        ((2, 3, 6), True, 1),
        ((2, 2, 186), True, 1),
        (None, True, 1),
    ],
)
def test_some_versions_count_percent_as_extents(
    version: tuple[int, int, int] | None,
    is_with_data: bool,  # noqa: FBT001 - a column of the table
    added: int,
) -> None:
    """Only in one go with data; seen with 2.03.16, read in the sources of the others."""
    assert (
        metadata_added_extents(21, 1, is_with_data=is_with_data, rules=rules_of(version))
        == added
    )


@pytest.mark.parametrize(
    ("version", "step"),
    [
        ((2, 2, 98), 0),
        ((2, 2, 99), 20),
        ((2, 2, 187), 20),
        ((2, 2, 188), 21),
        ((2, 3, 0), 20),
        ((2, 3, 10), 20),
        ((2, 3, 11), 21),
        ((2, 4, 0), 21),
    ],
)
def test_metadata_gains_what_its_version_gives(
    version: tuple[int, int, int], step: int
) -> None:
    """Not at all, the policy's percent, or one more."""
    rules = rules_of(version)

    assert (
        metadata_step_percent(
            usage(81, 100),
            size_bytes=4 * MIB,
            threshold_percent=80,
            policy_percent=20,
            rules=rules,
        )
        == step
    )


@pytest.mark.parametrize(
    ("version", "threshold"), [((2, 2, 165), 80), ((2, 2, 166), 75), (None, 75)]
)
def test_older_lvm_leaves_the_kernel_no_metadata(
    version: tuple[int, int, int] | None, threshold: int
) -> None:
    """The policy's threshold was metadata's."""
    rules = rules_of(version)

    assert metadata_threshold_percent(4 * MIB, 80, rules=rules) == threshold


@pytest.mark.parametrize(
    ("version", "used", "threshold", "step"),
    [
        ((2, 2, 132), 100, 70, 20),  # and once more, until it is enough
        ((2, 2, 133), 100, 70, 43),
        ((2, 2, 132), 49, 40, 20),
        ((2, 2, 133), 49, 40, 0),
    ],
)
def test_older_lvm_steps_by_the_policys_percent(
    version: tuple[int, int, int], used: int, threshold: int, step: int
) -> None:
    """Whether that was enough or not, and at any threshold."""
    rules = rules_of(version)

    assert (
        step_percent(
            usage(used, 100), threshold_percent=threshold, policy_percent=20, rules=rules
        )
        == step
    )


@pytest.mark.parametrize(("version", "step"), [((2, 3, 10), 10), ((2, 3, 11), 11), (None, 11)])
def test_older_lvm_rounds_a_hair_down(version: tuple[int, int, int] | None, step: int) -> None:
    """77.00001 % at a threshold of 70 takes 10.00001 % more, so 11."""
    used = usage(7_700_001, 10_000_000)
    rules = rules_of(version)

    assert step_percent(used, threshold_percent=70, policy_percent=1, rules=rules) == step


@pytest.mark.parametrize(
    ("version", "extents"),
    [((2, 2, 184), 0), ((2, 2, 185), 256), ((2, 3, 2), 0), ((2, 3, 3), 256)],
)
def test_older_lvm_leaves_metadata_when_data_grows(
    version: tuple[int, int, int], extents: int
) -> None:
    """Then the metadata may end up too small for its pool."""
    data = 1024**4 // (4 * MIB)
    rules = rules_of(version)

    assert (
        metadata_extents_for(data, extent_bytes=4 * MIB, chunk_bytes=65536, rules=rules)
        == extents
    )


@pytest.mark.parametrize(("version", "gib"), [((2, 3, 11), 512), ((2, 3, 12), 16), (None, 16)])
def test_metadata_follows_data_as_far_as_it_is_of_use(
    version: tuple[int, int, int] | None, gib: int
) -> None:
    """512 TiB in chunks of 64 KiB would want 512 GiB; LVM stops at 15.875 GiB since 2.03.12."""
    rules = rules_of(version)
    data, extent = 512 * 1024, 1024**3

    follows = metadata_extents_for(data, extent_bytes=extent, chunk_bytes=65536, rules=rules)

    assert follows == gib


@pytest.mark.parametrize(
    ("version", "size"),
    [
        ((2, 2, 187), CROPPED_METADATA_BYTES),
        ((2, 2, 188), MAX_METADATA_BYTES),
        ((2, 3, 11), CROPPED_METADATA_BYTES),
        ((2, 3, 12), MAX_METADATA_BYTES),
    ],
)
def test_the_largest_metadata_depends_on_the_version(
    version: tuple[int, int, int], size: int
) -> None:
    """15.81 GiB were used of any larger LV, later 15.875."""
    assert max_metadata_extents(4096, rules=rules_of(version)) == size // 4096


@pytest.mark.parametrize(
    ("version", "extents"),
    [((2, 2, 184), 0), ((2, 2, 187), 5000), ((2, 3, 11), 5000), ((2, 3, 12), 4096)],
)
def test_the_spare_is_as_large_as_the_largest_metadata(
    version: tuple[int, int, int], extents: int
) -> None:
    """Up to 16 GiB in newer LVM; the oldest leaves the spare alone."""
    rules = rules_of(version)

    assert spare_extents_for(5000, extent_bytes=4 * MIB, rules=rules) == extents
    assert spare_extents_for(4, extent_bytes=4 * MIB, rules=rules) == (4 if extents else 0)


def test_a_step_is_never_negative() -> None:
    """A policy may say so; LVM before 2.02.133 has no least step."""
    for version in ((2, 2, 132), (2, 2, 133)):
        step = step_percent(
            usage(90, 100), threshold_percent=80, policy_percent=-3, rules=rules_of(version)
        )
        assert step == (0 if version < (2, 2, 133) else 13)
