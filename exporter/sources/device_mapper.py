"""Thin pools and thin volumes as the kernel sees them: text of tables and status lines.

The kernel's block counts are the truth about usage; LVM's percentages derive from them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec import structs

from exporter.devmapper import DeviceReader, DmDevice, DmStatus, status_of
from exporter.errors import ParseError
from exporter.model import (
    METADATA_BLOCK_BYTES,
    SECTOR_BYTES,
    KernelPool,
    KernelReading,
    KernelThin,
    LoopBacking,
    PoolMode,
    PoolStatus,
    Problem,
    Usage,
)
from exporter.units import MAX_COUNT, parse_count

LoopReader = Callable[[str], "LoopBacking | None"]

_MODES = {word.value: word for word in (PoolMode.RW, PoolMode.RO, PoolMode.OUT_OF_DATA_SPACE)}
_DISCARDS = frozenset({"ignore_discard", "no_discard_passdown", "discard_passdown"})
_NO_SPACE = {"queue_if_no_space": True, "error_if_no_space": False}
_NEEDS_CHECK = {"needs_check": True, "-": False}
_UNUSABLE = frozenset({"Fail", "Error"})
_FIXED_WORDS = 4
MAX_CHUNK_BYTES = 1024**3  # dm-thin.c, DATA_DEV_BLOCK_SIZE_MAX_SECTORS

NO_SPACE_TIMEOUT_SECONDS = 60.0  # dm-thin.c, NO_SPACE_TIMEOUT_SECS
NO_SPACE_TIMEOUT_FILE = Path("/sys/module/dm_thin_pool/parameters/no_space_timeout")


def no_space_timeout(file: Path = NO_SPACE_TIMEOUT_FILE) -> float:
    """For how many seconds writes to a full pool wait before they fail; 0: for ever.

    The kernel's default where it does not tell, as before its module is loaded.
    """
    try:
        return float(parse_count(file.read_text().strip()))
    except (OSError, ValueError):
        return NO_SPACE_TIMEOUT_SECONDS


def read(kernel: DeviceReader, loop_backing: LoopReader) -> KernelReading:
    """Read every thin pool and thin volume; one that makes no sense becomes a Problem.

    Raises KernelError when device-mapper itself cannot be asked.
    """
    pools: list[KernelPool] = []
    thins: list[KernelThin] = []
    problems: list[Problem] = []
    for device in kernel.devices():
        if device.error:
            problems.append(Problem(subject=device.name, message=device.error))
            continue
        try:
            if device.kind == "thin-pool":
                pools.append(kernel_pool(device, loop_backing))
            elif device.table.strip() not in _UNUSABLE:  # all that thins of a failed pool say
                thins.append(_kernel_thin(device))
        except ParseError as error:
            problems.append(Problem(subject=device.name, message=str(error)))
    return KernelReading(pools=tuple(pools), thins=tuple(thins), problems=tuple(problems))


def kernel_pool(device: DmDevice, loop_backing: LoopReader) -> KernelPool:
    """Make a record of one thin-pool device.

    Shape of the table: `META_DEV DATA_DEV CHUNK_SECTORS LOW_WATER_BLOCKS N FEATURE…`.
    Units: chunk in 512-byte sectors, low water mark in chunks.
    Raises ParseError. Source: thin-provisioning.rst, "thin-pool", "Constructor".
    """
    words = device.table.split()
    try:
        metadata_device, data_device, chunk_sectors, low_water = words[:4]
        chunk_bytes = parse_count(chunk_sectors) * SECTOR_BYTES
        low_water_blocks = parse_count(low_water)
    except ValueError as error:
        raise ParseError(f"the table of {device.name}", device.table) from error
    if not 0 < chunk_bytes <= MAX_CHUNK_BYTES:
        raise ParseError(f"the table of {device.name}", device.table, "no size of a chunk")
    return KernelPool(
        dm_name=device.name,
        dm_uuid=device.uuid,
        device_number=device.number,
        data_device_number=data_device,
        metadata_device_number=metadata_device,
        chunk_bytes=chunk_bytes,
        low_water_mark_blocks=low_water_blocks,
        status=pool_status(status_of(device), chunk_bytes),
        loop=_loop_backing(loop_backing, data_device, metadata_device),
    )


def _loop_backing(read_loop: LoopReader, data: str, metadata: str) -> LoopBacking | None:
    below_data, below_metadata = read_loop(data), read_loop(metadata)
    return below_data.joined(below_metadata) if below_data else below_metadata


def pool_status(seen: DmStatus, chunk_bytes: int) -> PoolStatus:
    """Read the status of one thin-pool device. Raises ParseError."""
    status = parse_pool_status(seen.text, chunk_bytes=chunk_bytes)
    return structs.replace(
        status, is_suspended=seen.is_suspended, event_number=seen.event_number
    )


def parse_pool_status(text: str, *, chunk_bytes: int) -> PoolStatus:
    """Read the parameters of a thin-pool status line.

    Shape: `TXID META DATA HELD_ROOT|- [MODE] [DISCARD] [NO_SPACE] [needs_check|-] [LWM]`,
        or `Fail` or `Error` alone, which have no usage. Kernels before 4.x leave out
        words at the end; what is not there is None.
    Units: DATA in chunks, META in 4 KiB blocks; both used/total.
    Raises ParseError holding the text.
    Source: kernel admin-guide/device-mapper/thin-provisioning.rst, "Status".
    """
    words = text.split()
    if len(words) == 1 and words[0] in _UNUSABLE:
        return PoolStatus(mode=PoolMode.FAILED)
    # The words after the counts are told by what they are, not by their position.
    flags = words[_FIXED_WORDS:]
    no_space = next((word for word in flags if word in _NO_SPACE), None)
    after = flags[flags.index(no_space) + 1 :] if no_space else []
    try:
        transaction, metadata, data, held_root = words[:_FIXED_WORDS]
        return PoolStatus(
            transaction_id=parse_count(transaction),
            metadata=_usage(metadata, METADATA_BLOCK_BYTES),
            data=_usage(data, chunk_bytes),
            held_root_block=None if held_root == "-" else parse_count(held_root),
            mode=next((_MODES[word] for word in flags if word in _MODES), PoolMode.UNKNOWN),
            discard=next((word for word in flags if word in _DISCARDS), None),
            queue_if_no_space=_NO_SPACE[no_space] if no_space else None,
            needs_check=_NEEDS_CHECK.get(after[0]) if after else None,
        )
    except ValueError as error:
        raise ParseError("the thin-pool status", text) from error


def _usage(text: str, block_bytes: int) -> Usage:
    used, _, total = text.partition("/")
    usage = Usage(
        used_blocks=parse_count(used), total_blocks=parse_count(total), block_bytes=block_bytes
    )
    if not usage.total_blocks or max(usage.used_bytes, usage.total_bytes) > MAX_COUNT:
        raise ValueError(text)
    return usage


def _size_bytes(sectors: int) -> int:
    if sectors * SECTOR_BYTES > MAX_COUNT:
        raise ValueError(f"{sectors} sectors")
    return sectors * SECTOR_BYTES


def parse_thin_status(text: str) -> int | None:
    """Read the bytes that a thin volume maps; None where the kernel does not tell.

    Shape: `MAPPED HIGHEST|-`, or `Fail`, `Error` or `-` alone.
    Units: MAPPED in 512-byte sectors, whole chunks of the pool.
    Raises ParseError holding the text.
    Source: kernel admin-guide/device-mapper/thin-provisioning.rst, "thin", "Status".
    """
    words = text.split()
    if not words or (len(words) == 1 and words[0] in {*_UNUSABLE, "-"}):
        return None
    try:
        mapped, _highest = words
        return _size_bytes(parse_count(mapped))
    except ValueError as error:
        raise ParseError("the thin status", text) from error


def _kernel_thin(device: DmDevice) -> KernelThin:
    """Make a record of a thin device; its table is `POOL_DEV THIN_ID [ORIGIN]`."""
    try:
        pool_device, thin_id = device.table.split()[:2]
        return KernelThin(
            dm_name=device.name,
            dm_uuid=device.uuid,
            pool_device_number=pool_device,
            thin_id=parse_count(thin_id),
            size_bytes=_size_bytes(device.length_sectors),
            mapped_bytes=parse_thin_status(device.status or ""),
        )
    except ValueError as error:
        raise ParseError(f"the table of {device.name}", device.table) from error
