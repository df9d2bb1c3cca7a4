"""The pools as the guard judges them: the kernel's latest status in LVM's last account.

Merging everything takes milliseconds with a hundred pools, and is done when LVM's account
or the set of pools changes; a change of status replaces one pool.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from exporter.bulkhead import Bulkheads
from exporter.guard.sight import SeenPool, Sight
from exporter.model import Snapshot, ThinPool
from exporter.snapshot import Readings, build, without_old_percentages


class View:
    """Every pool by its label, with the VGs they are in."""

    def __init__(self, bulkheads: Bulkheads) -> None:
        self._bulkheads = bulkheads
        self._readings = Readings()
        self._by_device: dict[str, str] = {}
        self.snapshot: Snapshot = build(self._readings, {}, taken_at=0.0)
        self.pools: dict[str, ThinPool] = {}

    def is_stale(self, readings: Readings) -> bool:
        """Whether LVM's account or its policies have been read again."""
        known = self._readings
        return known.lvm is not readings.lvm or known.policies is not readings.policies

    @property
    def is_complete(self) -> bool:
        """Whether both LVM and the kernel have been read."""
        return self._readings.lvm is not None and self._readings.kernel is not None

    @property
    def is_ageing(self) -> bool:
        """Whether lvs serves for a pool, whose figures may become too old."""
        return any(
            pool.status is not None and not pool.is_by_kernel for pool in self.pools.values()
        )

    def rebuild(self, readings: Readings, sight: Sight, *, oldest_lvm: float) -> None:
        """Merge everything anew; before the kernel was first read, its part is unknown.

        The usage by lvs that was read before `oldest_lvm` is left out.
        """
        self._readings = structs.replace(readings, kernel=sight.reading())
        lvm = readings.lvm
        if lvm is not None:
            lvm = without_old_percentages(lvm, readings.groups_read_at, oldest=oldest_lvm)
        current = structs.replace(self._readings, lvm=lvm, is_list_old=sight.is_list_old)
        self.snapshot = build(current, {}, taken_at=0.0, bulkheads=self._bulkheads)
        self.pools = {pool.label: pool for pool in self.snapshot.pools}
        self._by_device = {
            pool.kernel.dm_name: label for label, pool in self.pools.items() if pool.kernel
        }

    def update(self, changed: Iterable[SeenPool]) -> list[ThinPool]:
        """Put new statuses in their places; returns those pools."""
        labels = []
        for seen in changed:
            label = self._by_device.get(seen.pool.dm_name)
            if label is not None:
                self.pools[label] = self.pools[label].with_kernel(seen.pool)
                labels.append(label)
        return [self.pools[label] for label in labels]
