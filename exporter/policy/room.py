"""What one VG can give to one pool: extents, spares, stripes, the user's limits.

In one lvextend, LVM extends the metadata LV first. Then it extends the VG's pool metadata
spare to the size of the largest pool metadata LV, or creates it. The data LV comes last.
Each of the three gets all that it needs or nothing. If the spare does not fit, LVM prints an
error and goes on without it. lvextend handles the spare since 2.02.185 and 2.03.03: read in
lvm2's tags up to 2.03.39, lib/metadata/lv_manip.c (lv_resize, before 2.03.17
_lvresize_volume) and lib/metadata/pool_manip.c (handle_pool_metadata_spare). If the spare
came after the data, it could only cost less, because less would be free for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from exporter import autoextend
from exporter.autoextend import NEWEST, Rules
from exporter.model import Device, Extension, LvmPool, VolumeGroup

NO_LIMIT = 2**32  # LVM counts extents in 32 bits
# The areas of these hold copies, so LVM does not round their size to whole stripes.
COPIES = frozenset({"raid1", "mirror"})
PLAIN_SEGMENTS = frozenset({"linear", "striped"})


class Limits(Struct, frozen=True, kw_only=True):
    """What the user allows: the pool's largest data size, what stays free in each VG."""

    max_size_bytes: int | None = None
    reserve_bytes: int = 0


class Room(Struct, frozen=True, kw_only=True):
    """What one VG can give to one pool; all counts in extents.

    Divides by figures that sources/lvm_checks.py has checked: extents and chunks are one or
    more whole sectors. There is at least one data stripe and one metadata area.
    """

    pool: LvmPool
    group: VolumeGroup
    limits: Limits
    rules: Rules = NEWEST

    @property
    def budget(self) -> int:
        """Extents that may be taken from the VG."""
        reserve = -(-self.limits.reserve_bytes // self.group.extent_bytes)
        return max(0, self.group.usable_free_extents - reserve)

    @property
    def data_extents(self) -> int:
        """The data LV's size."""
        return self.pool.size_bytes // self.group.extent_bytes

    @property
    def metadata_extents(self) -> int:
        """The metadata LV's size."""
        return self.pool.metadata_size_bytes // self.group.extent_bytes

    def extents(self, size_bytes: int) -> int:
        """Count the extents that hold this much."""
        return -(-size_bytes // self.group.extent_bytes)

    def metadata(self, more: int) -> Extension:
        """Extend the metadata LV by so many extents, or as far as the budget goes.

        A smaller extension than the wanted one leaves room for its spare. Only if not even
        one extent fits together with its spare, the spare may be left behind.
        """
        now = self.metadata_extents
        wanted = now + more
        # LVM stops there by itself, and calls it success: that is no clamp of ours.
        largest = autoextend.max_metadata_extents(self.group.extent_bytes, rules=self.rules)
        wanted = max(now, min(wanted, largest))
        if self.metadata_cost(wanted) <= self.budget:
            return self._extension(Device.METADATA, now, wanted, wanted)
        fits = _largest(now, wanted, self._fits_with_spare)
        if fits == now:
            fits = self._largest_without_spare(wanted)
        return self._extension(Device.METADATA, now, wanted, fits)

    def _fits_with_spare(self, size: int) -> bool:
        return self._metadata_growth(size) + self._most_spare_growth(size) <= self.budget

    def _largest_without_spare(self, wanted: int) -> int:
        """Return the largest metadata LV for which LVM is sure to leave the spare behind.

        The larger the metadata LV, the less room there is for the spare. So if LVM might
        extend the spare at the largest size, it might at each smaller one.
        """
        now = self.metadata_extents
        size = min(wanted, now + self.budget // self.pool.metadata_areas)
        return size if self.metadata_cost(size) <= self.budget else now

    def metadata_cost(self, size: int) -> int:
        """Return the most extents that LVM may take to make the metadata LV this large.

        The spare counts unless it is sure not to fit into what the VG has left.
        """
        added = self._metadata_growth(size)
        least = self._least_metadata_growth(size) + self._spare_growth(size)
        if least > self.group.usable_free_extents:
            return added
        return added + self._most_spare_growth(size)

    def spare_after(self, size: int) -> int:
        """Return the spare's size after LVM has made the metadata LV this large."""
        is_left_behind = self.metadata_cost(size) == self._metadata_growth(size)
        return self.group.spare_extents + (0 if is_left_behind else self._spare_growth(size))

    def _metadata_growth(self, size: int) -> int:
        """Return the extents for all areas: exact for copies, and an upper bound for stripes.

        For stripes it covers that LVM rounds the size up to whole ones.
        """
        return max(0, size - self.metadata_extents) * self.pool.metadata_areas

    def _least_metadata_growth(self, size: int) -> int:
        if self._has_copies:
            return self._metadata_growth(size)
        return max(0, size - self.metadata_extents)

    @property
    def _has_copies(self) -> bool:
        return self.pool.metadata_segment_type in COPIES

    def _most_spare_growth(self, size: int) -> int:
        """Return the spare's extents if LVM rounds the metadata LV up to whole stripes."""
        rounding = 0 if self._has_copies else self.pool.metadata_areas - 1
        return self._spare_growth(size + rounding) if size > self.metadata_extents else 0

    def _spare_growth(self, size: int) -> int:
        """Return the extents that the spare lacks when the metadata LV has this size."""
        if size <= self.metadata_extents:
            return 0
        spare = autoextend.spare_extents_for(
            max(size, self.group.largest_metadata_extents),
            extent_bytes=self.group.extent_bytes,
            rules=self.rules,
        )
        return max(0, spare - self.group.spare_extents)

    def data(self, more: int, budget: int, *, metadata_named: bool = False) -> Extension:
        """Extend the data LV by so many extents, or as far as budget and limits go."""
        now = self.data_extents
        step = autoextend.stripe_extents(
            self.pool.data_stripes, self.pool.data_stripe_bytes, self.group.extent_bytes
        )
        added = autoextend.round_to_stripes(
            more,
            stripe_extents=step,
            free_extents=self.group.usable_free_extents,
        )

        # A part must fit wherever the metadata goes, since LVM extends that first.
        area, sure_area = self._longest_area(0), self._longest_area(self.budget - budget)

        def fits(steps: int) -> bool:
            size = now + steps * step
            return (
                self._data_cost(size, metadata_named=metadata_named) <= budget
                and self._is_allowed(size)
                and steps * step // self.pool.data_stripes
                <= (area if steps * step == added else sure_area)
            )

        possible = now + step * _largest(0, added // step, fits)
        return self._extension(Device.DATA, now, now + added, possible)

    def _data_cost(self, size: int, *, metadata_named: bool) -> int:
        """Extents that LVM takes to make the data LV this large.

        Unless the command names a metadata size, it raises the metadata with the data.
        """
        areas = (size - self.data_extents) * self.pool.data_areas // self.pool.data_stripes
        if metadata_named:
            return areas
        return areas + self.metadata_cost(self.metadata_extents_for(size))

    def metadata_extents_for(self, size: int) -> int:
        """Return the least metadata LV that LVM gives to a data LV this large."""
        return autoextend.metadata_extents_for(
            size,
            extent_bytes=self.group.extent_bytes,
            chunk_bytes=self.pool.chunk_bytes,
            rules=self.rules,
        )

    def is_data_alone(self, size: int) -> bool:
        """Whether LVM makes no device when it makes the data LV this large.

        When the metadata grows, LVM may make a spare. A pool that is active only through its
        volumes is activated first. What LVM does for other segment types is not known.
        """
        return (
            self.pool.is_active is True
            and self.pool.data_segment_type in PLAIN_SEGMENTS
            and self.metadata_extents_for(size) <= self.metadata_extents
        )

    def _is_allowed(self, size: int) -> bool:
        limit = self.limits.max_size_bytes
        return limit is None or size * self.group.extent_bytes <= limit

    def _longest_area(self, taken: int) -> int:
        """Most extents that each of the areas of a striped or mirrored LV can gain.

        What is taken first comes from where it hurts most: the PVs that have least.
        """
        free = sorted(volume.usable_free_extents for volume in self.group.physical_volumes)
        for number, extents in enumerate(free):
            free[number] = max(0, extents - taken)
            taken = max(0, taken - extents)
        areas = self.pool.data_areas
        if not areas:
            return NO_LIMIT
        return _largest(0, sum(free), lambda length: _spread(free, length) >= areas * length)

    def is_at_max_size(self, extension: Extension) -> bool:
        """Whether it is the user's limit that leaves no room for one more step."""
        return not self._is_allowed(extension.extents + self.pool.data_stripes)

    def _extension(self, device: Device, now: int, wanted: int, fits: int) -> Extension:
        return Extension(
            device=device,
            from_extents=now,
            wanted_extents=wanted,
            extents=fits,
            extent_bytes=self.group.extent_bytes,
        )


def _largest(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Largest number in [low, high] for which `holds`, true up to some point; else low.

    The whole may hold where a part does not: the spare is then left behind.
    """
    if holds(high):
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _spread(free: Iterable[int], length: int) -> int:
    """Extents usable when no PV may give more than `length` to areas side by side."""
    return sum(min(extents, length) for extents in free)
