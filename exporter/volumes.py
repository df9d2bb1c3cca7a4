"""Who fills a pool: of its thin volumes those that map most, and those that grow fastest."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import structs

from exporter.dm_names import LVM_UUID_LENGTH, LVM_UUID_PREFIX, split_dm_name
from exporter.growth import VolumeKey, key_of
from exporter.model import KernelThin, Snapshot, ThinVolume, VolumeOwner

NOBODY = VolumeOwner()


class Volumes:
    """The live thin volumes by the device number of their pool, at most `limit` of each.

    Half the places are for those that grow, the fastest first, and what these leave for those
    that map most: one that has just begun to fill a pool is far from being the largest.
    """

    def __init__(
        self,
        thins: Iterable[KernelThin],
        growth: Mapping[VolumeKey, float],
        owners: Mapping[str, VolumeOwner],
        *,
        limit: int,
    ) -> None:
        self._growth = growth
        self._owners = owners
        self._limit = limit
        self._by_pool: dict[str, list[KernelThin]] = defaultdict(list)
        for thin in thins:
            if thin.mapped_bytes is not None:
                self._by_pool[thin.pool_device_number].append(thin)

    def of(self, pool_device_number: str) -> tuple[ThinVolume, ...]:
        """Give the volumes of one pool, those that map most first."""
        thins = self._by_pool.get(pool_device_number, [])
        chosen = {key_of(thin): thin for thin in self._fastest(thins)}
        for thin in heapq.nsmallest(self._limit, thins, key=_by_size):
            if len(chosen) < self._limit:
                chosen.setdefault(key_of(thin), thin)
        return tuple(self._volume(thin) for thin in sorted(chosen.values(), key=_by_size))

    def _fastest(self, thins: Sequence[KernelThin]) -> list[KernelThin]:
        growing = [thin for thin in thins if key_of(thin) in self._growth]
        places = (self._limit + 1) // 2
        return heapq.nlargest(places, growing, key=lambda thin: self._growth[key_of(thin)])

    def _volume(self, thin: KernelThin) -> ThinVolume:
        owner = self._owners.get(thin.dm_name, NOBODY)
        return ThinVolume(
            name=_name(thin),
            size_bytes=thin.size_bytes,
            mapped_bytes=thin.mapped_bytes or 0,
            fill_bytes_per_second=self._growth.get(key_of(thin)),
            container=owner.container,
            image=owner.image,
        )


def with_volumes_of(watched: Snapshot, snapshot: Snapshot) -> Snapshot:
    """Take the volumes of a Snapshot whose maker has watched them; the rest as it is."""
    volumes = {pool.label: pool.volumes for pool in watched.pools}
    pools = (
        structs.replace(pool, volumes=volumes.get(pool.label, pool.volumes))
        for pool in snapshot.pools
    )
    return structs.replace(snapshot, pools=tuple(pools))


def _by_size(thin: KernelThin) -> tuple[int, str]:
    return -(thin.mapped_bytes or 0), thin.dm_name


def _name(thin: KernelThin) -> str:
    """Name the LV; under an origin with snapshots lies a layer, whose UUID says so."""
    if not thin.dm_uuid.startswith(LVM_UUID_PREFIX):
        return thin.dm_name
    layer = thin.dm_uuid[LVM_UUID_LENGTH:]
    names = split_dm_name(thin.dm_name.removesuffix(layer) if layer else thin.dm_name)
    return names[1] if names else thin.dm_name
