"""Device-mapper's ioctl as the kernel answers it, and its control node."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

HEADER = struct.Struct("=3I I I I i I I I Q 128s 129s 7x")
NAME_BYTES = 128  # DM_NAME_LEN; dm-ioctl.c ends a longer one there
LIST_DEVICES, TABLE_STATUS, ARM_POLL = 2, 12, 16
STATUS_TABLE, SUSPENDED, BUFFER_FULL, NOFLUSH = 1 << 4, 1 << 1, 1 << 8, 1 << 11
POOL_TABLE = "253:2 253:3 128 8192 1 skip_block_zeroing "
POOL_STATUS = "0 15/6144 39/40960 - rw discard_passdown queue_if_no_space - 1024 "


class FakeIoctl:
    """Answers as the kernel does, for these devices: name → (kind, table, status).

    `errors` are by the number of a request, `errors_of` by a device's name.
    """

    def __init__(self, **devices: tuple[str, str, str]) -> None:
        self.devices = devices
        self.errors: dict[int, int] = {}
        self.errors_of: dict[str, int] = {}
        self.flags: list[tuple[int, int]] = []
        self.device_number = (253 << 8) | 4
        self.is_suspended = False
        self.without_table: set[str] = set()

    def __call__(self, _descriptor: int, request: int, buffer: bytearray) -> int:
        """Serve one request."""
        number = request & 0xFF
        fields = list(HEADER.unpack_from(buffer))
        name = bytes(fields[11])[: NAME_BYTES - 1].split(b"\0")[0].decode()
        self.flags.append((number, fields[7]))
        error = self.errors.get(number) or self.errors_of.get(name)
        if error:
            raise OSError(error, os.strerror(error))
        if number == LIST_DEVICES:
            self._answer(buffer, fields, self._names(), targets=0)
        elif number == TABLE_STATUS:
            if name not in self.devices:
                raise OSError(errno.ENXIO, "No such device or address")
            count = int(name not in self.without_table)
            data = self._targets(name, fields[7]) if count else b""
            self._answer(buffer, fields, data, targets=count)
        return 0

    def _names(self) -> bytes:
        entries = b""
        for index, name in enumerate(self.devices):
            size = (12 + len(name) + 1 + 7) // 8 * 8
            is_last = index == len(self.devices) - 1
            entry = struct.pack("=QI", 1, 0 if is_last else size) + name.encode() + b"\0"
            entries += entry.ljust(size, b"\0")
        return entries or struct.pack("=QI", 0, 0)

    def _targets(self, name: str, flags: int) -> bytes:
        kind, table, status = self.devices[name]
        text = (table if flags & STATUS_TABLE else status).encode() + b"\0"
        return struct.pack("=QQiI16s", 0, 5242880, 0, 0, kind.encode()) + text

    def _answer(
        self, buffer: bytearray, fields: list[object], data: bytes, *, targets: int
    ) -> None:
        flags = SUSPENDED if self.is_suspended else 0
        if HEADER.size + len(data) > len(buffer):
            flags, data = BUFFER_FULL, b""
        fields[4], fields[5], fields[7], fields[8] = HEADER.size, targets, flags, 7
        fields[10], fields[12] = self.device_number, b"LVM-uuid-tpool"
        HEADER.pack_into(buffer, 0, *fields)
        buffer[HEADER.size : HEADER.size + len(data)] = data


def plain_node(directory: Path) -> None:
    """Make a control node that can be opened, and has no events."""
    (directory / "mapper").mkdir()
    (directory / "mapper" / "control").touch()


@contextmanager
def event_node(directory: Path) -> Iterator[FileIO]:
    """Make a control node that has an event once something is written here."""
    (directory / "mapper").mkdir()
    node = directory / "mapper" / "control"
    os.mkfifo(node)
    # Open for both, which does not wait for a reader.
    with node.open("r+b", buffering=0) as event:
        yield event


POOL = ("thin-pool", POOL_TABLE, POOL_STATUS)
THIN = ("thin", "253:4 1", "1024 1023")
LINEAR = ("linear", "8:16 2048", "")
