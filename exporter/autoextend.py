"""LVM's own autoextend arithmetic: what `lvextend --use-policies` would ask for.

Integers in LVM's units throughout, so that every answer equals LVM's to the extent; what
differs between its versions is in Rules. tests/vm/test_oracle.py holds it against LVM.
Extents and chunks must be one or more whole sectors: some functions divide by them, and
sources/lvm_checks.py refuses other ones.
Source: lvm2 2.03.16, lib/metadata/lv_manip.c (_adjust_amount, _lvresize_adjust_policy,
_lvresize_adjust_extents, lv_resize) and lib/metadata/thin_manip.c; 2.03.39 is the same
but for _lvresize_adjust_policy's name, lv_extend_policy_calculate_percent.
"""

from __future__ import annotations

from msgspec import Struct

from exporter.model import Usage

LvmVersion = tuple[int, int, int]

PERCENT_1 = 1_000_000  # dm_percent_t counts millionths of a percent
PERCENT_100 = 100 * PERCENT_1
MIN_THRESHOLD_PERCENT = 50
NEVER_PERCENT = 100
METADATA_MIN_FREE_BYTES = 4 * 1024 * 1024
METADATA_MIN_FREE_PERCENT = 25
METADATA_BYTES_PER_CHUNK = 64
# 255 bitmap blocks of 16 Ki - 64 entries, all that the kernel can use
MAX_METADATA_BYTES = 255 * ((1 << 14) - 64) * 4096
# device_mapper/all.h, DM_THIN_MAX_METADATA_SIZE: all that older LVM gives to the kernel
CROPPED_METADATA_BYTES = (255 * (1 << 14) * (4096 // 512) - 256 * 1024) * 512
# lib/metadata/pool_manip.c, handle_pool_metadata_spare, MAX_SIZE
MAX_SPARE_BYTES = 16 * 1024**3


class Rules(Struct, frozen=True, kw_only=True):
    """In what LVM's versions differ; the defaults are the newest's.

    `lands_below_threshold`: a step is as large as it takes, and no threshold is below 50.
    `has_metadata_minimum`: the kernel is left 4 MiB or 25 % of the metadata.
    `grows_metadata_with_data`: to 64 bytes a chunk, and the metadata spare with it.
    `rounds_up_exactly`: ceil() instead of a sum that is 1 % short where the ceiling is
    needed for less than 1/100 %; from the same version on, metadata gains 1 % more.
    `caps_metadata`: metadata that follows data stops at the largest that is of use, and
    the metadata spare at 16 GiB.
    `counts_percent_as_extents`: with data in one go, metadata gains N extents, not N %.
    """

    extends_metadata: bool = True
    lands_below_threshold: bool = True
    has_metadata_minimum: bool = True
    grows_metadata_with_data: bool = True
    rounds_up_exactly: bool = True
    counts_percent_as_extents: bool = False
    caps_metadata: bool = True
    max_metadata_bytes: int = MAX_METADATA_BYTES


NEWEST = Rules()


def rules_of(version: LvmVersion | None) -> Rules:
    """Choose the rules of an LVM version; the newest's where it is not known.

    Read in the tags of lvm2: 2.02.98 answers "Resize … is not yet supported" for metadata
    (tools/lvresize.c, _adjust_policy_params); 2.02.133 brings _adjust_amount; 2.02.166
    pool_metadata_min_threshold; 2.02.185 and 2.03.03 estimate_thin_pool_metadata_size and
    handle_pool_metadata_spare in lv_resize; 2.02.188 and 2.03.11 the exact rounding and the
    1 % (and a floor of 50 % usage, which no threshold of 50 or more lets one see);
    2.02.188 and 2.03.12 get_thin_pool_max_metadata_size and the spare's limit. From
    2.02.187 and 2.03.07 on, until lv_resize was rewritten in 2.03.17, _lvresize_setup_aux
    sets PERCENT_NONE and so drops the unit: 1 extent + 21 % became 22 extents (seen with
    2.03.16). Mirrored, since the guard does what LVM would have done.
    """
    if version is None:
        return NEWEST
    has_crop = _is_since(version, old=188, new=12)
    return Rules(
        extends_metadata=_is_since(version, old=99),
        lands_below_threshold=_is_since(version, old=133),
        has_metadata_minimum=_is_since(version, old=166),
        grows_metadata_with_data=_is_since(version, old=185, new=3),
        rounds_up_exactly=_is_since(version, old=188, new=11),
        counts_percent_as_extents=_is_since(version, old=187, new=7) and version < (2, 3, 17),
        caps_metadata=has_crop,
        max_metadata_bytes=MAX_METADATA_BYTES if has_crop else CROPPED_METADATA_BYTES,
    )


def _is_since(version: LvmVersion, *, old: int, new: int = 0) -> bool:
    """Whether it is 2.02.`old` or a later 2.02, or 2.03.`new` or anything later."""
    return (2, 2, old) <= version < (2, 3, 0) or version >= (2, 3, new)


def usage_percent(used: int, total: int) -> int:
    """Usage in millionths of a percent, as dm_make_percent counts it.

    Never 0 or 100 % unless exactly so; a total of 0 is 100 %. The division is done in
    double precision as there, so that the last digit agrees too.
    """
    if not total or used == total:
        return PERCENT_100
    if not used:
        return 0
    percent = int(PERCENT_100 * (used / total))
    return min(max(percent, 1), PERCENT_100 - 1) if used < total else percent


def effective_threshold_percent(threshold_percent: int, *, rules: Rules = NEWEST) -> int:
    """LVM uses 50 for anything lower, and never extends at 100 or more."""
    lowest = MIN_THRESHOLD_PERCENT if rules.lands_below_threshold else 0
    return max(lowest, min(threshold_percent, NEVER_PERCENT))


def metadata_threshold_percent(
    metadata_size_bytes: int, threshold_percent: int, *, rules: Rules = NEWEST
) -> int:
    """Lower of the policy's threshold and what leaves the kernel 4 MiB or 25 % free."""
    threshold = effective_threshold_percent(threshold_percent, rules=rules)
    if threshold >= NEVER_PERCENT or not rules.has_metadata_minimum:
        return threshold
    free = usage_percent(METADATA_MIN_FREE_BYTES // 512, metadata_size_bytes // 512)
    free = min(free, METADATA_MIN_FREE_PERCENT * PERCENT_1)
    return min(threshold, (PERCENT_100 - free) // PERCENT_1)


def step_percent(
    usage: Usage, *, threshold_percent: int, policy_percent: int, rules: Rules = NEWEST
) -> int:
    """Percent of its size that an LV gains now; 0 when it need not.

    Acts strictly above the threshold (75.00 stays at 75); adds at least the policy's
    percent and as much more as it takes to land at or below the threshold. Never
    negative, whatever the policy says.
    """
    used = usage_percent(usage.used_blocks, usage.total_blocks)
    threshold = effective_threshold_percent(threshold_percent, rules=rules)
    if used > PERCENT_100 or used <= threshold * PERCENT_1:
        return 0
    if not rules.lands_below_threshold:
        return max(0, policy_percent)
    return max(policy_percent, _percent_to(threshold, used, rules))


def _percent_to(threshold: int, used: int, rules: Rules) -> int:
    """Percent by which an LV must grow for its usage to land at the threshold."""
    unit = PERCENT_1 // 100
    if rules.rounds_up_exactly:
        return -(-used // (threshold * unit)) - 100
    return (used // threshold + (PERCENT_1 - 1) // 100) // unit - 100


def metadata_step_percent(
    usage: Usage,
    *,
    size_bytes: int,
    threshold_percent: int,
    policy_percent: int,
    rules: Rules = NEWEST,
) -> int:
    """Percent that the metadata LV gains: one more than data, for the kernel's own use."""
    if not rules.extends_metadata:
        return 0
    threshold = metadata_threshold_percent(size_bytes, threshold_percent, rules=rules)
    step = step_percent(
        usage, threshold_percent=threshold, policy_percent=policy_percent, rules=rules
    )
    return metadata_percent(step, rules=rules)


def metadata_percent(percent: int, *, rules: Rules = NEWEST) -> int:
    """Percent that the metadata LV gains where the policy means `percent`."""
    if not rules.extends_metadata:
        return 0
    return percent + 1 if percent and rules.rounds_up_exactly else percent


def added_extents(percent: int, extents: int) -> int:
    """Turn a percentage of an LV into extents, rounded up."""
    return -(-percent * extents // 100)


def metadata_added_extents(
    percent: int, extents: int, *, is_with_data: bool, rules: Rules = NEWEST
) -> int:
    """Turn the metadata's percentage into extents, as this version of LVM does."""
    if is_with_data and rules.counts_percent_as_extents:
        return percent
    return added_extents(percent, extents)


def round_to_stripes(added: int, *, stripe_extents: int, free_extents: int) -> int:
    """Make an extension of whole stripes: up if the VG has room for it, else down."""
    rest = added % stripe_extents
    if not rest:
        return added
    up = added - rest + stripe_extents
    return up if free_extents >= up else added - rest


def stripe_extents(stripes: int, stripe_bytes: int, extent_bytes: int) -> int:
    """Count the extents of one whole stripe: a stripe may be larger than an extent."""
    if stripes <= 1:
        return 1
    return stripes * max(1, stripe_bytes // extent_bytes)


def metadata_extents_for(
    data_extents: int, *, extent_bytes: int, chunk_bytes: int, rules: Rules = NEWEST
) -> int:
    """Count the metadata extents to which LVM raises the metadata when it extends data.

    64 bytes for each chunk, in every extension of data that does not name a metadata
    size; 0 where LVM leaves the metadata alone.
    """
    if not rules.grows_metadata_with_data:
        return 0
    data_sectors = data_extents * (extent_bytes // 512)
    per_sector = (chunk_bytes // 512) * (512 // METADATA_BYTES_PER_CHUNK)
    sectors = data_sectors // per_sector
    follows = -(-sectors // (extent_bytes // 512))
    # From some 16 TiB in chunks of 64 KiB on, there is more than the kernel could use.
    largest = max_metadata_extents(extent_bytes, rules=rules)
    return min(follows, largest) if rules.caps_metadata else follows


def max_metadata_extents(extent_bytes: int, *, rules: Rules = NEWEST) -> int:
    """Largest metadata LV, rounded up to extents as LVM does.

    Before 2.02.188 and 2.03.12 LVM itself knows no limit, but maps no more than this:
    what it adds beyond is lost, and not mirrored.
    """
    return -(-rules.max_metadata_bytes // extent_bytes)


def spare_extents_for(
    metadata_extents: int, *, extent_bytes: int, rules: Rules = NEWEST
) -> int:
    """Return the size to which LVM extends the spare for the VG's largest pool metadata LV.

    0 if this LVM does not extend the spare.
    """
    if not rules.grows_metadata_with_data:
        return 0
    largest = -(-MAX_SPARE_BYTES // extent_bytes)
    return min(metadata_extents, largest) if rules.caps_metadata else metadata_extents
