"""The pools as the guard judges them: the kernel's latest status in LVM's last account.

Merging everything takes milliseconds with a hundred pools, and is done when LVM's account
or the set of pools changes; a change of status replaces one pool.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from exporter.guard.sight import SeenPool, Sight
from exporter.model import KernelReading, Snapshot, ThinPool
from exporter.snapshot import Readings, build


class View:
    """Every pool by its label, with the VGs they are in."""

    def __init__(self) -> None:
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

    def rebuild(self, readings: Readings, sight: Sight) -> None:
        """Merge everything anew; before the kernel was first read, its part is unknown."""
        kernel = KernelReading(pools=sight.kernel_pools()) if sight.is_complete else None
        self._readings = structs.replace(readings, kernel=kernel)
        self.snapshot = build(self._readings, {}, taken_at=0.0)
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
                pool = self.pools[label]
                mode = seen.pool.status.mode
                self.pools[label] = structs.replace(pool, kernel=seen.pool, mode=mode)
                labels.append(label)
        return [self.pools[label] for label in labels]
