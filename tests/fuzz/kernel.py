"""The ioctl's buffers: whatever the kernel, or what takes its place, leaves in them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import cache

from exporter.devmapper import IoctlKernel
from tests.fuzz.sources import scratch
from tests.fuzz.target import Target

# include/uapi/linux/dm-ioctl.h: dm_ioctl, dm_target_spec, dm_name_list
HEADER = struct.Struct("=3I I I I i I I I Q 128s 129s 7x")
DEVICE = (253 << 8) | 4
POOL_TABLE = b"253:2 253:3 128 8192 1 skip_block_zeroing "
POOL_STATUS = b"0 15/6144 39/40960 - rw discard_passdown queue_if_no_space - 1024 "


def header(*, targets: int = 0, data_start: int = HEADER.size) -> bytes:
    """Build what stands before the data."""
    fields = (4, 0, 0, 16384, data_start, targets, 0, 0, 7, 0, DEVICE)
    return HEADER.pack(*fields, b"pool", b"LVM-uuid-tpool")


def target(kind: bytes, parameters: bytes, following: int = 0) -> bytes:
    """Build one target."""
    return struct.pack("=QQiI16s", 0, 5242880, 0, following, kind) + parameters + b"\0"


def entry(name: bytes, *, is_last: bool) -> bytes:
    """Build one entry of the list of devices."""
    size = (12 + len(name) + 1 + 7) // 8 * 8
    return (struct.pack("=QI", DEVICE, 0 if is_last else size) + name).ljust(size, b"\0")


def lists() -> Iterable[bytes]:
    """Build lists of devices."""
    yield header() + entry(b"pool", is_last=False) + entry(b"thin", is_last=True)
    yield header() + struct.pack("=QI", 0, 0)


def targets() -> Iterable[bytes]:
    """Build tables and statuses."""
    yield header(targets=1) + target(b"thin-pool", POOL_TABLE)
    yield header(targets=1) + target(b"thin-pool", POOL_STATUS)
    yield header(targets=1) + target(b"thin", b"253:4 1")
    first = target(b"linear", b"8:16 2048", following=56)
    yield header(targets=2) + first.ljust(56, b"\0") + target(b"linear", b"8:16 4096")
    yield header()


class Answers:
    """A kernel that answers every question with the same bytes; one for the process."""

    def __init__(self) -> None:
        control = scratch() / "mapper" / "control"
        control.parent.mkdir(exist_ok=True)
        control.touch()
        self.raw = b""
        self.kernel = IoctlKernel(str(scratch()), ioctl=self._answer)

    def _answer(self, _descriptor: int, _request: int, buffer: bytearray) -> int:
        length = min(len(self.raw), len(buffer))
        buffer[:length] = self.raw[:length]
        return 0


ANSWERS = cache(Answers)


def asked(question: Callable[[IoctlKernel], object]) -> Callable[[bytes], object]:
    """Make a parser: a question to a kernel that answers with the input."""

    def parse(raw: bytes) -> object:
        ANSWERS().raw = raw
        return question(ANSWERS().kernel)

    return parse


TARGETS = {
    "ioctl_list": Target(
        parse=asked(lambda kernel: dict(kernel.names())), seeds=lists, units=None
    ),
    "ioctl_table": Target(
        parse=asked(lambda kernel: kernel.device("pool")), seeds=targets, units=None
    ),
    "ioctl_status": Target(
        parse=asked(lambda kernel: kernel.status("pool")), seeds=targets, units=None
    ),
    "ioctl_devices": Target(
        parse=asked(lambda kernel: kernel.devices()), seeds=lists, units=None
    ),
}
