"""The device-mapper devices of the simulated host."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.devmapper import DmDevice
from exporter.model import SECTOR_BYTES, LoopBacking, LoopFile
from exporter.simulation.figures import dm_name
from exporter.simulation.pool import DM_MAJOR, Pool
from exporter.simulation.state import DockerThin, HostState
from exporter.simulation.storage import Lv, Vg

# LVM marks a pool's target so whether or not it is layered: dev_manager.c,
# "New thin-pool is regular LV with -tpool UUID suffix".
POOL_UUID_SUFFIX = "-tpool"
BACKING_NUMBER = "259:1"  # of the file system under the sparse files


def devices(state: HostState) -> Iterator[DmDevice]:
    """Every thin pool with the thin volumes in it."""
    for pool in state.pools.values():
        if pool.is_active:
            yield _pool_device(pool)
            yield from _thin_devices(pool)
    yield from (_docker_device(thin) for thin in state.docker_thins if thin.pool.is_active)


def pool_device(state: HostState, name: str) -> DmDevice | None:
    """Find one thin pool by the name of its device."""
    pools = (pool for pool in state.pools.values() if pool.is_active)
    return next((_pool_device(pool) for pool in pools if device_name(pool) == name), None)


def loop_backing(state: HostState, device_number: str) -> LoopBacking | None:
    """Describe what is under a loop device that a pool of this host uses."""
    for loop in state.loops.values():
        files = {"7:0": "data", "7:1": "metadata"}
        if device_number in files:
            file = LoopFile(
                device=f"/dev/loop{device_number[-1]}",
                file=f"{loop.spec.directory}/{files[device_number]}",
                file_system=BACKING_NUMBER,
                free_bytes=loop.free_bytes,
            )
            return LoopBacking(files=(file,))
    return None


def device_name(pool: Pool) -> str:
    """Device-mapper name of a pool's target."""
    if pool.vg is None:
        return pool.name
    layer = "-tpool" if pool.is_layered else ""
    return dm_name(pool.vg.name, pool.name) + layer


def _pool_device(pool: Pool) -> DmDevice:
    return DmDevice(
        name=device_name(pool),
        uuid=_uuid(pool.vg, pool.vg.lvs[pool.name], POOL_UUID_SUFFIX) if pool.vg else "",
        number=pool.number,
        is_suspended=pool.is_suspended,
        event_number=pool.event_number,
        kind="thin-pool",
        length_sectors=pool.table_sectors,
        table=pool.table_text(),
        status=pool.status_text(),
    )


def _uuid(vg: Vg, lv: Lv, suffix: str = "") -> str:
    return f"LVM-{vg.uuid}{lv.uuid}{suffix}"


def _thin_devices(pool: Pool) -> Iterator[DmDevice]:
    if pool.vg is None:
        return
    # The pool's own, layered device has the number after that of its target.
    for thin_id, lv in enumerate(pool.thins, start=1):
        yield DmDevice(
            name=dm_name(pool.vg.name, lv.name),
            uuid=_uuid(pool.vg, lv),
            number=f"{DM_MAJOR}:{pool.minor + 1 + thin_id}",
            is_suspended=False,
            event_number=0,
            kind="thin",
            length_sectors=lv.extents * pool.vg.extent_bytes // SECTOR_BYTES,
            table=_thin_table(pool, thin_id),
            status=_thin_status(pool, lv.share, lv.extents * pool.vg.extent_bytes),
        )


def _thin_status(pool: Pool, share: float, size_bytes: int) -> str:
    """Give the status' parameters: sectors mapped, and the highest one; dm-thin.c as above."""
    if pool.has_failed:
        return "Fail"
    chunks = min(int(pool.used_chunks * share), size_bytes // pool.spec.chunk_bytes)
    sectors = chunks * pool.spec.chunk_bytes // SECTOR_BYTES
    return f"{sectors} {sectors - 1}" if sectors else "0 -"


def _thin_table(pool: Pool, thin_id: int) -> str:
    """Give the table's parameters; dm-thin.c, thin_status(): Fail stands for them, too."""
    return "Fail" if pool.has_failed else f"{pool.number} {thin_id}"


def _docker_device(thin: DockerThin) -> DmDevice:
    return DmDevice(
        name=thin.name,
        uuid="",
        number=f"{DM_MAJOR}:{thin.minor}",
        is_suspended=False,
        event_number=0,
        kind="thin",
        length_sectors=thin.size_bytes // SECTOR_BYTES,
        table=_thin_table(thin.pool, thin.thin_id),
        status=_thin_status(thin.pool, thin.share, thin.size_bytes),
    )
