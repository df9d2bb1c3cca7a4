"""By how much LVM's policy extends a pool: the percents of `lvextend --use-policies`.

Source: lib/metadata/lv_manip.c, _lvresize_adjust_policy() and _adjust_amount().
"""

from __future__ import annotations

from exporter.simulation.figures import MIB, PERCENT_1, PERCENT_100, make_percent, round_up
from exporter.simulation.pool import LOWEST_THRESHOLD, Pool

MIN_FREE_METADATA_BYTES = 4 * MIB
MIN_FREE_METADATA_PERCENT = 25 * PERCENT_1


def policy_percents(pool: Pool, threshold: int, step: int) -> tuple[int, int]:
    """Percents by which LVM's policy grows data and metadata; 0 leaves them."""
    if pool.has_failed:
        return 0, 0
    data = make_percent(pool.used_chunks, pool.data_chunks)
    metadata = make_percent(pool.used_metadata_blocks, pool.metadata_blocks)
    _, size = pool.lv_sizes_bytes()
    free = min(MIN_FREE_METADATA_PERCENT, make_percent(MIN_FREE_METADATA_BYTES, size))
    metadata_threshold = min(threshold, (PERCENT_100 - free) // PERCENT_1)
    growth = _adjust_amount(metadata, metadata_threshold, step)
    # One percent more, for what the kernel itself takes when the metadata grows.
    return _adjust_amount(data, threshold, step), growth + bool(growth)


def _adjust_amount(percent: int, threshold: int, step: int) -> int:
    if not LOWEST_THRESHOLD * PERCENT_1 < percent <= PERCENT_100:
        return 0
    if percent <= threshold * PERCENT_1:
        return 0
    return max(step, round_up(percent, threshold * PERCENT_1 // 100) - 100)
