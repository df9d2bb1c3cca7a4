"""How a test or the demo builds the simulated host: VGs, pools and volumes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from exporter.model import SECTOR_BYTES
from exporter.simulation.device_events import DeviceEvents
from exporter.simulation.figures import GIB, MIB, make_id
from exporter.simulation.flow import Flow
from exporter.simulation.pool import DM_MAJOR, Pool, metadata_blocks
from exporter.simulation.records import LoopPoolSpec, PoolSpec, Sawtooth
from exporter.simulation.state import DockerThin, HostState, Loop
from exporter.simulation.storage import LvKind, Vg

DOCKER_LOW_WATER_CHUNKS = 32768  # what Docker's devicemapper driver loads
LVM_POOL_DEVICES = 3  # metadata, data, and the target over both


class _Devices(NamedTuple):
    """Device numbers of a pool's target and of what is under it."""

    minor: int
    metadata: str
    data: str


class HostBuilder:
    """Makes what the simulated host consists of.

    A pool is named `vg/pool`, or by its device-mapper name where LVM does not own it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._events = DeviceEvents()
        self._state = HostState()

    @contextmanager
    def _present(self) -> Iterator[HostState]:
        """Hold the host still, and moved to this moment."""
        with self._lock:
            if self._state.advance(self._clock()):
                self._events.note()
            yield self._state

    def vg(self, name: str) -> Vg:
        """Give out a VG, for a test to look at or to set its flags."""
        with self._present() as state:
            return state.vgs[name]

    def pool(self, label: str) -> Pool:
        """Give out a pool, for a test to look at or to set its flags."""
        with self._present() as state:
            return state.pools[label]

    def add_vg(
        self,
        name: str,
        *,
        extents: int,
        extent_bytes: int = 4 * MIB,
        profile: str | None = None,
    ) -> None:
        """Make a VG on one disk."""
        with self._present() as state:
            vg = Vg(name=name, uuid=make_id(name), extent_bytes=extent_bytes, profile=profile)
            state.vgs[name] = vg
            state.add_disk(vg, extents)

    def vgextend(self, vg: str, extents: int) -> None:
        """Take another disk into a VG."""
        with self._present() as state:
            state.add_disk(state.vgs[vg], extents)

    def add_linear(self, label: str, *, size_bytes: int) -> None:
        """Make an ordinary LV, which takes room in its VG."""
        with self._present() as state:
            vg_name, _, name = label.partition("/")
            vg = state.vgs[vg_name]
            vg.add_lv(name, LvKind.LINEAR, vg.to_extents(size_bytes))
            vg.seqno += 1

    def add_pool(self, label: str, spec: PoolSpec) -> None:
        """Make a thin pool of LVM's, with its hidden LVs and the metadata spare."""
        with self._present() as state:
            vg_name, _, name = label.partition("/")
            vg = state.vgs[vg_name]
            _add_pool_lvs(vg, name, spec)
            first = state.take_minors(LVM_POOL_DEVICES)
            devices = _Devices(first + 2, f"{DM_MAJOR}:{first}", f"{DM_MAJOR}:{first + 1}")
            pool = self._make_pool(spec, name, vg, devices)
            state.pools[label] = pool
            state.reload(pool)
            pool.event_number = 0
            self._events.note()

    def add_loop_pool(self, name: str, spec: LoopPoolSpec) -> None:
        """Make the pool that Docker sets up by itself, over two sparse files."""
        with self._present() as state:
            devices = _Devices(state.take_minors(1), metadata="7:1", data="7:0")
            pool = self._make_pool(spec.pool, name, None, devices)
            state.pools[name] = pool
            used = self._flow(
                spec.backing_used_bytes, spec.backing_bytes_per_second, spec.backing_cleanup
            )
            state.loops[name] = Loop(spec=spec, used=used)
            self._events.note()

    def _make_pool(self, spec: PoolSpec, name: str, vg: Vg | None, devices: _Devices) -> Pool:
        data = self._flow(spec.used_bytes, spec.bytes_per_second, spec.cleanup)
        metadata = self._flow(
            spec.metadata_used_bytes, spec.metadata_bytes_per_second, spec.metadata_cleanup
        )
        return Pool(
            spec=spec,
            vg=vg,
            name=name,
            minor=devices.minor,
            data=data,
            metadata=metadata,
            data_chunks=spec.data_bytes // spec.chunk_bytes,
            metadata_blocks=metadata_blocks(spec.metadata_bytes),
            table_sectors=spec.data_bytes // SECTOR_BYTES,
            low_water_chunks=DOCKER_LOW_WATER_CHUNKS,
            data_device=devices.data,
            metadata_device=devices.metadata,
        )

    def _flow(self, used_bytes: float, rate: float, cleanup: Sawtooth | None) -> Flow:
        now = self._clock()
        return Flow(used_bytes=used_bytes, bytes_per_second=rate, at=now, cleanup=cleanup)

    def add_thin(self, label: str, name: str, *, size_bytes: int, share: float) -> None:
        """Make a thin LV of LVM's; `share` is its part of what the pool has in use."""
        with self._present() as state:
            pool = state.pools[label]
            vg = state.vgs[label.partition("/")[0]]
            # The first one puts a layer, with a device of its own, between LV and pool.
            state.take_minors(1 if pool.thins else 2)
            lv = vg.add_lv(name, LvKind.THIN, vg.to_extents(size_bytes))
            lv.pool_name, lv.share = pool.name, share
            vg.seqno += 1

    def add_docker_thin(
        self,
        label: str,
        *,
        size_bytes: int = 10 * GIB,
        share: float = 0.25,
        container: str | None = None,
        image: str = "busybox",
    ) -> None:
        """Make a thin device as Docker does for a container: LVM does not know of it."""
        with self._present() as state:
            pool = state.pools[label]
            pool.docker_transactions += 1
            thin_id = pool.docker_transactions
            minor = state.take_minors(1)
            prefix = "docker-253:0-1234" if pool.vg else pool.name.removesuffix("-pool")
            digest = hashlib.sha256(f"{label} {thin_id}".encode()).hexdigest()
            thin = DockerThin(
                name=f"{prefix}-{digest}",
                pool=pool,
                minor=minor,
                thin_id=thin_id,
                size_bytes=size_bytes,
                share=share,
                container=container,
                image=image,
            )
            state.docker_thins.append(thin)


def _add_pool_lvs(vg: Vg, name: str, spec: PoolSpec) -> None:
    data = vg.to_extents(spec.data_bytes)
    metadata = vg.to_extents(spec.metadata_bytes)
    vg.add_lv(f"{name}_tdata", LvKind.DATA, data)
    vg.add_lv(f"{name}_tmeta", LvKind.METADATA, metadata)
    vg.add_lv(name, LvKind.POOL, data)
    spare = vg.lvs.get("lvol0_pmspare")
    if spare is None:
        vg.add_lv("lvol0_pmspare", LvKind.SPARE, metadata)
    elif spare.extents < metadata:
        vg.extend(spare, metadata - spare.extents)
    vg.seqno += 1
