"""What one VG can give to one pool: extents, spares, stripes, the user's limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from exporter import autoextend
from exporter.autoextend import NEWEST, Rules
from exporter.model import Device, Extension, LvmPool, VolumeGroup

NO_LIMIT = 2**32  # LVM counts extents in 32 bits


class Limits(Struct, frozen=True, kw_only=True):
    """What the user allows: the pool's largest data size, what stays free in each VG."""

    max_size_bytes: int | None = None
    reserve_bytes: int = 0


class Room(Struct, frozen=True, kw_only=True):
    """What one VG can give to one pool; all counts in extents."""

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
        """Extend the metadata LV by so many extents, or as far as the budget goes."""
        now = self.metadata_extents
        wanted = now + more
        # LVM stops there by itself, and calls it success: that is no clamp of ours.
        largest = autoextend.max_metadata_extents(self.group.extent_bytes, rules=self.rules)
        wanted = max(now, min(wanted, largest))
        if self.metadata_cost(wanted) <= self.budget:
            return self._extension(Device.METADATA, now, wanted, wanted)
        fits = _largest(now, wanted, self._fits_with_spare)
        if fits == now and self._spare_growth(wanted) > self.group.usable_free_extents:
            fits = min(wanted, now + self.budget // self.pool.metadata_areas)
        return self._extension(Device.METADATA, now, wanted, fits)

    def _fits_with_spare(self, size: int) -> bool:
        """Whether there is room for a metadata LV of this size and for its spare.

        One that is smaller than the policy's has no right to leave the spare behind.
        """
        return self._metadata_growth(size) + self._spare_growth(size) <= self.budget

    def metadata_cost(self, size: int) -> int:
        """Extents that LVM takes to make the metadata LV this large, spare included.

        Where the spare does not fit as well, LVM ignores that and takes nothing for it.
        """
        added, spare = self._metadata_growth(size), self._spare_growth(size)
        return added + spare if added + spare <= self.group.usable_free_extents else added

    def _metadata_growth(self, size: int) -> int:
        return max(0, size - self.metadata_extents) * self.pool.metadata_areas

    def _spare_growth(self, size: int) -> int:
        """Extents that the spare lacks once the metadata LV has grown to this size."""
        if size <= self.metadata_extents or not self.rules.grows_metadata_with_data:
            return 0
        spare = max(size, self.group.largest_metadata_extents) - self.group.spare_extents
        return max(0, spare)

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
        metadata = autoextend.metadata_extents_for(
            size,
            extent_bytes=self.group.extent_bytes,
            chunk_bytes=self.pool.chunk_bytes,
            rules=self.rules,
        )
        return areas + self.metadata_cost(metadata)

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
