"""Which thin pools the engines' data lies on: devices and pools in, places out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exporter.model import StoragePlace, StorageReading, StorageRoot, ThinPool

PoolName = tuple[str, str]
NO_KERNEL = "device-mapper could not be read"
NO_SUCH_POOL = "there is no such pool"
NOT_SEEN = "it cannot be seen what its file system lies on"


def places(
    reading: StorageReading | None, pools: Iterable[ThinPool], *, is_kernel_known: bool
) -> tuple[StoragePlace, ...]:
    """Say of each directory which pools it is on: the nearest below it, on every way down."""
    if reading is None:
        return ()
    pools = tuple(pools)
    by_number = {
        pool.kernel.device_number: (pool.vg_name, pool.name) for pool in pools if pool.kernel
    }
    return tuple(
        _place(root, _named(root, pools), NO_SUCH_POOL if is_kernel_known else NO_KERNEL)
        if root.pool_device
        else _mounted(root, reading.below, by_number, is_kernel_known=is_kernel_known)
        for root in reading.roots
    )


def _named(root: StorageRoot, pools: tuple[ThinPool, ...]) -> tuple[PoolName, ...]:
    return tuple(
        (pool.vg_name, pool.name) for pool in pools if pool.is_called(root.pool_device)
    )


def _mounted(
    root: StorageRoot,
    below: Mapping[str, tuple[str, ...]],
    by_number: Mapping[str, PoolName],
    *,
    is_kernel_known: bool,
) -> StoragePlace:
    if root.mount is None:
        return _place(root, (), root.unknown or NOT_SEEN)
    if not is_kernel_known and root.mount.devices:
        return _place(root, (), NO_KERNEL)
    found: dict[PoolName, None] = {}
    is_seen = True
    queue, met = list(root.mount.devices), set[str]()
    while queue:
        number = queue.pop(0)
        if number in met:
            continue
        met.add(number)
        if number in by_number:
            found[by_number[number]] = None
        elif number in below:
            queue += below[number]
        else:
            is_seen = False
    if found or is_seen:
        return _place(root, tuple(found), None)
    return _place(root, (), NOT_SEEN)


def _place(root: StorageRoot, pools: tuple[PoolName, ...], unknown: str | None) -> StoragePlace:
    """Make the record; `unknown` is why no pools are not the same as none."""
    is_known = bool(pools) or unknown is None
    return StoragePlace(
        engine=root.engine,
        path=root.path,
        holds=root.holds,
        driver=root.driver,
        pools=pools if is_known else None,
        file_system=root.mount.file_system if root.mount else "",
        source=root.mount.source if root.mount else "",
        unknown="" if is_known else (unknown or ""),
    )
