"""LVM's own autoextend arithmetic: what `lvextend --use-policies` would ask for.

Integers in LVM's units throughout, so that every answer equals LVM's to the extent.
Source: lvm2 2.03.16, lib/metadata/lv_manip.c (_adjust_amount, _lvresize_adjust_policy,
_lvresize_adjust_extents, lv_resize) and lib/metadata/thin_manip.c.
"""

from __future__ import annotations

from exporter.model import Usage

PERCENT_1 = 1_000_000  # dm_percent_t counts millionths of a percent
PERCENT_100 = 100 * PERCENT_1
MIN_THRESHOLD_PERCENT = 50
NEVER_PERCENT = 100
METADATA_MIN_FREE_BYTES = 4 * 1024 * 1024
METADATA_MIN_FREE_PERCENT = 25
METADATA_BYTES_PER_CHUNK = 64
# 255 bitmap blocks of 16 Ki - 64 entries: the largest metadata LV that LVM makes
MAX_METADATA_BYTES = 255 * ((1 << 14) - 64) * 4096


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


def effective_threshold_percent(threshold_percent: int) -> int:
    """LVM uses 50 for anything lower, and never extends at 100 or more."""
    return max(MIN_THRESHOLD_PERCENT, min(threshold_percent, NEVER_PERCENT))


def metadata_threshold_percent(metadata_size_bytes: int, threshold_percent: int) -> int:
    """Lower of the policy's threshold and what leaves the kernel 4 MiB or 25 % free."""
    threshold = effective_threshold_percent(threshold_percent)
    if threshold >= NEVER_PERCENT:
        return NEVER_PERCENT
    free = usage_percent(METADATA_MIN_FREE_BYTES // 512, metadata_size_bytes // 512)
    free = min(free, METADATA_MIN_FREE_PERCENT * PERCENT_1)
    return min(threshold, (PERCENT_100 - free) // PERCENT_1)


def step_percent(usage: Usage, *, threshold_percent: int, policy_percent: int) -> int:
    """Percent of its size that an LV gains now; 0 when it need not.

    Acts strictly above the threshold (75.00 stays at 75) and above 50 %; adds at least
    the policy's percent and as much more as it takes to land at or below the threshold.
    """
    used = usage_percent(usage.used_blocks, usage.total_blocks)
    threshold = effective_threshold_percent(threshold_percent)
    if used > PERCENT_100 or used <= threshold * PERCENT_1:
        return 0
    unit = threshold * (PERCENT_1 // 100)
    return max(policy_percent, -(-used // unit) - 100)


def metadata_step_percent(
    usage: Usage, *, size_bytes: int, threshold_percent: int, policy_percent: int
) -> int:
    """Percent that the metadata LV gains: one more than data, for the kernel's own use."""
    threshold = metadata_threshold_percent(size_bytes, threshold_percent)
    step = step_percent(usage, threshold_percent=threshold, policy_percent=policy_percent)
    return step + 1 if step else 0


def added_extents(percent: int, extents: int) -> int:
    """Turn a percentage of an LV into extents, rounded up."""
    return -(-percent * extents // 100)


def metadata_added_extents(
    percent: int, extents: int, *, is_with_data: bool, lvm_version: tuple[int, int, int] | None
) -> int:
    """Turn the metadata's percentage into extents, as this version of LVM does.

    From 2.02.187 and 2.03.07 on, and up to 2.03.16, LVM adds as many *extents* as it
    has computed percent when it extends data and metadata in one go: _lvresize_setup_aux
    drops the unit (seen in the VM: 1 extent + 21 % became 22 extents). Mirrored, since
    the guard does what LVM would have done; set right by LVM's restructuring in 2.03.17.
    """
    if is_with_data and lvm_version and _drops_the_percent(lvm_version):
        return percent
    return added_extents(percent, extents)


def _drops_the_percent(version: tuple[int, int, int]) -> bool:
    return (2, 2, 187) <= version < (2, 3, 0) or (2, 3, 7) <= version <= (2, 3, 16)


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


def metadata_extents_for(data_extents: int, *, extent_bytes: int, chunk_bytes: int) -> int:
    """Count the metadata extents to which LVM raises the metadata when it extends data.

    64 bytes for each chunk; LVM does this on its own in every extension of data
    that does not name a metadata size (since 2.02.185 and 2.03.03).
    """
    data_sectors = data_extents * (extent_bytes // 512)
    per_sector = (chunk_bytes // 512) * (512 // METADATA_BYTES_PER_CHUNK)
    sectors = data_sectors // per_sector
    return -(-sectors // (extent_bytes // 512))


def max_metadata_extents(extent_bytes: int) -> int:
    """Largest metadata LV, rounded up to extents as LVM does."""
    return -(-MAX_METADATA_BYTES // extent_bytes)
