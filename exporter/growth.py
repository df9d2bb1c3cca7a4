"""How fast thin volumes grow: what each maps, from one slow reading to the next."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.fill import FillRate
from exporter.model import KernelReading, KernelThin

# From a second reading that follows at once, as `check` makes it, to a minute or two.
WINDOWS_SECONDS = (1.0, 4.0, 16.0, 64.0)

# A name may come again with another thin ID, and an ID in another pool.
VolumeKey = tuple[str, str, int]


def key_of(thin: KernelThin) -> VolumeKey:
    """Tell a thin volume from every other one that there is or was."""
    return thin.pool_device_number, thin.dm_name, thin.thin_id


class Growth:
    """The rates of all live thin volumes; what is gone is forgotten."""

    def __init__(self) -> None:
        self._rates: dict[VolumeKey, FillRate] = {}
        self.bytes_per_second: Mapping[VolumeKey, float] = {}

    def take(self, reading: KernelReading, now: float) -> None:
        """Take a reading; `now` is monotonic seconds."""
        chunks = {pool.device_number: pool.chunk_bytes for pool in reading.pools}
        known, self._rates = self._rates, {}
        gains = {}
        for thin in reading.thins:
            chunk_bytes = chunks.get(thin.pool_device_number)
            if chunk_bytes is None or thin.mapped_bytes is None:
                continue
            key = key_of(thin)
            rate = self._rates[key] = known.get(key) or FillRate(WINDOWS_SECONDS)
            rate.add(now, thin.mapped_bytes // chunk_bytes)
            blocks_per_second = rate.present.blocks_per_second
            if blocks_per_second > 0:
                gains[key] = blocks_per_second * chunk_bytes
        self.bytes_per_second = gains
