"""Device-mapper by ioctl: tables, status without flush, and events; changes nothing.

A status request that flushes makes the kernel commit the pool's metadata, which can
block for as long as the pool is in trouble; with DM_NOFLUSH it answers in microseconds,
unless the pool itself is committing to a disk that hangs: then any waits.
Source: kernel include/uapi/linux/dm-ioctl.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import math
import os
import select
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Protocol

from msgspec import Struct

from exporter.errors import DeviceMapperMissingError, KernelError

CONTROL_NODE = "mapper/control"
TARGET_KINDS = ("thin-pool", "thin")

_HEADER = struct.Struct("=3I I I I i I I I Q 128s 129s 7x")
_TARGET = struct.Struct("=Q Q i I 16s")
_LIST_ENTRY = struct.Struct("=Q I")
_VERSION = (4, 0, 0)

_NAME_BYTES = 128  # DM_NAME_LEN, with the null byte

_LIST_DEVICES = 2
_TABLE_STATUS = 12
_ARM_POLL = 16

NONSENSE = "device-mapper's answer leads out of its buffer"
_SUSPENDED = 1 << 1
_STATUS_TABLE = 1 << 4
_BUFFER_FULL = 1 << 8
_NOFLUSH = 1 << 11

_FIRST_BUFFER_BYTES = 16 * 1024
_MAX_BUFFER_BYTES = 16 * 1024 * 1024
# A thin pool's status is some 100 characters, and so is its table.
_STATUS_BUFFER_BYTES = 1024


class DmDevice(Struct, frozen=True, kw_only=True):
    """A device with one thin-pool or thin target: its table and status parameters.

    `status` is None for thin targets where nobody asked for it.
    """

    name: str
    uuid: str
    number: str
    is_suspended: bool
    event_number: int
    kind: str
    length_sectors: int
    table: str
    status: str | None


class DmStatus(Struct, frozen=True):
    """A device as one status request shows it; `text` is "" unless it is a thin pool."""

    uuid: str
    number: str
    is_suspended: bool
    event_number: int
    text: str


def status_of(device: DmDevice) -> DmStatus:
    """Take a device's status from a reading of everything about it."""
    return DmStatus(
        device.uuid,
        device.number,
        device.is_suspended,
        device.event_number,
        device.status or "",
    )


class DeviceReader(Protocol):
    """The part of Kernel that lists everything."""

    def devices(self) -> tuple[DmDevice, ...]:
        """Every thin pool and thin volume, with their statuses. Raises KernelError."""


class Kernel(DeviceReader, Protocol):
    """Device-mapper as the rest of the program sees it; the simulation is one too.

    Every method is for any thread.
    """

    def names(self) -> Mapping[str, str]:
        """Every device of any kind: its number ("253:4") by its name. Raises KernelError."""

    def status(self, name: str) -> DmStatus | None:
        """One device's status, None if it is gone. Raises KernelError.

        As long as nothing has changed it may be the same object again.
        """

    def device(self, name: str) -> DmDevice | None:
        """One of them by its name, None if it is gone or another kind. Raises KernelError.

        Its kind is "" while it has no table yet: LVM creates, then loads, then resumes.
        A thin volume's status may be left out: the guard, which asks so, has no use for it.
        """

    def arm(self) -> None:
        """Make the next `wait` see every event from now on; call it before reading."""

    def wait(self, timeout_seconds: float) -> bool:
        """Sleep until an event, a `wake` or the timeout; returns whether there was an event."""

    def wake(self) -> None:
        """End the present `wait`, or else the next one; this is not an event."""


# Up to this size fcntl.ioctl copies the buffer, and lets go of the interpreter's lock.
_COPIED_BYTES = 1024
_libc = ctypes.CDLL(None, use_errno=True)


def ioctl(descriptor: int, request: int, buffer: bytearray) -> int:
    """Ask the kernel, and let other threads run meanwhile. Raises OSError.

    fcntl.ioctl holds the interpreter's lock for a larger buffer: with a request that waits
    for a disk the whole process would stand, up to the systemd watchdog's own feeding.
    Source: CPython Modules/fcntlmodule.c, fcntl_ioctl_impl.
    """
    if len(buffer) <= _COPIED_BYTES:
        return int(fcntl.ioctl(descriptor, request, buffer))
    memory = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    result = int(_libc.ioctl(descriptor, ctypes.c_ulong(request), memory))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _request(number: int) -> int:
    """_IOWR(DM_IOCTL, number, struct dm_ioctl)."""
    return (3 << 30) | (_HEADER.size << 16) | (0xFD << 8) | number


class IoctlKernel:
    """Asks this host's kernel through /dev/mapper/control (needs CAP_SYS_ADMIN)."""

    def __init__(
        self,
        dev_directory: str = "/dev",
        *,
        ioctl: Callable[[int, int, bytearray], int] = ioctl,
    ) -> None:
        self._ioctl_of = ioctl
        self._path = f"{dev_directory}/{CONTROL_NODE}"
        self._descriptor = -1
        self._can_arm = True
        self._is_armed = False
        self._waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._waker, select.POLLIN)
        self._questions: dict[str, _Question] = {}

    def names(self) -> Mapping[str, str]:
        """See Kernel.names."""
        names = dict(self._entries())
        for gone in self._questions.keys() - names.keys():
            del self._questions[gone]
        return names

    def status(self, name: str) -> DmStatus | None:
        """See Kernel.status."""
        question = self._questions.get(name)
        if question is None:
            question = self._questions[name] = _Question(name)
        try:
            return question.ask(self._ioctl)
        except FileNotFoundError:
            return None

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices."""
        found = (self._device(name, TARGET_KINDS) for name, _ in self._entries())
        return tuple(device for device in found if device and device.kind)

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        return self._device(name, ("thin-pool",))

    def _device(self, name: str, kinds_with_status: Collection[str]) -> DmDevice | None:
        try:
            header, targets = self._table_status(name, _STATUS_TABLE | _NOFLUSH)
            table = targets[0] if targets else NO_TARGET
            if len(targets) > 1 or table.kind not in {*TARGET_KINDS, NO_TARGET.kind}:
                return None
            status = None
            if table.kind in kinds_with_status:
                header, targets = self._table_status(name, _NOFLUSH)
                status = targets[0].parameters if targets else None
        except FileNotFoundError:
            return None  # removed meanwhile
        return DmDevice(
            name=name,
            uuid=header.uuid,
            number=header.number,
            is_suspended=header.is_suspended,
            event_number=header.event_number,
            kind=table.kind,
            length_sectors=table.length_sectors,
            table=table.parameters,
            status=status,
        )

    def arm(self) -> None:
        """See Kernel.arm."""
        if not self._can_arm or self._is_armed:
            return  # what is armed stays so until an event
        try:
            self._ioctl(_ARM_POLL, _pack(_HEADER.size))
        except KernelError:
            # Linux before 4.14 does not know the request: the timeout alone must do.
            self._can_arm = self._descriptor < 0
        else:
            self._is_armed = True
            self._poll.register(self._descriptor, select.POLLIN)

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait."""
        # Rounded up: poll takes whole milliseconds, and a rest of less would spin.
        ready = self._poll.poll(math.ceil(max(0.0, timeout_seconds) * 1000))
        has_event = False
        for descriptor, _ in ready:
            if descriptor == self._waker:
                os.eventfd_read(self._waker)
            else:
                self._disarm()
                has_event = True
        return has_event

    def wake(self) -> None:
        """See Kernel.wake."""
        os.eventfd_write(self._waker, 1)

    def close(self) -> None:
        """Close the control device; the next request opens it again."""
        if self._descriptor >= 0:
            self._disarm()
            os.close(self._descriptor)
            self._descriptor = -1

    def _disarm(self) -> None:
        """Wait for no event until armed anew: the last one would end every wait at once."""
        if self._is_armed:
            self._poll.unregister(self._descriptor)
            self._is_armed = False

    def _entries(self) -> Iterator[tuple[str, str]]:
        """Name and number of every device."""
        buffer = self._ioctl_growing(_LIST_DEVICES, "", 0)
        offset = _Header.of(buffer).data_start
        while True:
            device, following = _unpack(_LIST_ENTRY, buffer, offset)
            if device:  # an empty list is one entry of zeroes
                name = _c_string(buffer, offset + _LIST_ENTRY.size, _NAME_BYTES)
                yield name, _number(device)
            if not following:
                return
            if following < _LIST_ENTRY.size:
                raise KernelError(NONSENSE)
            offset += following

    def _table_status(self, name: str, flags: int) -> tuple[_Header, list[_Target]]:
        buffer = self._ioctl_growing(_TABLE_STATUS, name, flags, size=_STATUS_BUFFER_BYTES)
        header = _Header.of(buffer)
        return header, list(_targets(buffer, header))

    def _ioctl_growing(
        self, number: int, name: str, flags: int, *, size: int = _FIRST_BUFFER_BYTES
    ) -> bytearray:
        """Repeat the request with a larger buffer until the answer fits."""
        while size <= _MAX_BUFFER_BYTES:
            buffer = _pack(size, name, flags)
            self._ioctl(number, buffer)
            if not _Header.of(buffer).flags & _BUFFER_FULL:
                return buffer
            size *= 4
        raise KernelError(f"device-mapper's answer on {name or 'the device list'} is too large")

    def _ioctl(self, number: int, buffer: bytearray) -> None:
        try:
            self._ioctl_of(self._control(), _request(number), buffer)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise FileNotFoundError from error
            raise KernelError(f"device-mapper request {number}: {error.strerror}") from error

    def _control(self) -> int:
        if self._descriptor < 0:
            try:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            except OSError as error:
                missing = error.errno in {errno.ENOENT, errno.ENODEV, errno.ENXIO}
                kind = DeviceMapperMissingError if missing else KernelError
                raise kind(f"cannot open {self._path}: {error.strerror}") from error
        return self._descriptor


class _Header(Struct):
    data_start: int
    target_count: int
    flags: int
    event_number: int
    number: str
    uuid: str

    @property
    def is_suspended(self) -> bool:
        return bool(self.flags & _SUSPENDED)

    @classmethod
    def of(cls, buffer: bytearray) -> _Header:
        fields = _HEADER.unpack_from(buffer)
        _, _, _, _, data_start, targets, _, flags, event_number, _, device, _, uuid = fields
        number = _number(device)
        return cls(data_start, targets, flags, event_number, number, _c_string(uuid, 0))


class _Target(Struct):
    kind: str
    length_sectors: int
    parameters: str


class _Question:
    """One device's status request, asked over and over: the answer is read if it differs.

    The guard asks up to thirty times a second, and most answers are the one before.
    """

    def __init__(self, name: str) -> None:
        self._request = bytes(_pack(_STATUS_BUFFER_BYTES, name, _NOFLUSH))
        self._buffer = bytearray(self._request)
        self._answer = b""
        self._status: DmStatus | None = None

    def ask(self, ioctl: Callable[[int, bytearray], None]) -> DmStatus | None:
        """Ask the kernel. Raises FileNotFoundError and KernelError."""
        self._buffer[:] = self._request  # the last answer was written over it
        ioctl(_TABLE_STATUS, self._buffer)
        if self._buffer == self._answer:
            return self._status
        self._answer = bytes(self._buffer)
        self._status = _status(self._buffer)
        return self._status


def _status(buffer: bytearray) -> DmStatus:
    header = _Header.of(buffer)
    # What does not fit is no thin pool's.
    targets = () if header.flags & _BUFFER_FULL else tuple(_targets(buffer, header))
    is_pool = len(targets) == 1 and targets[0].kind == "thin-pool"
    return DmStatus(
        header.uuid,
        header.number,
        header.is_suspended,
        header.event_number,
        targets[0].parameters if is_pool else "",
    )


def _number(device: int) -> str:
    """Decode kdev_t.h's new_encode_dev: 12 bits of major between two parts of the minor."""
    return f"{(device >> 8) & 0xFFF}:{(device & 0xFF) | ((device >> 12) & 0xFFF00)}"


NO_TARGET = _Target("", 0, "")


def _pack(size: int, name: str = "", flags: int = 0) -> bytearray:
    buffer = bytearray(size)
    raw = os.fsencode(name)
    _HEADER.pack_into(buffer, 0, *_VERSION, size, _HEADER.size, 0, 0, flags, 0, 0, 0, raw, b"")
    return buffer


def _targets(buffer: bytearray, header: _Header) -> Iterator[_Target]:
    """Read the first two: a device that has more than one is neither pool nor thin."""
    offset = header.data_start
    for _ in range(min(header.target_count, 2)):
        _, length, _, following, kind = _unpack(_TARGET, buffer, offset)
        parameters = _c_string(buffer, offset + _TARGET.size)
        yield _Target(_c_string(kind, 0), length, parameters)
        offset = header.data_start + following


def _unpack(form: struct.Struct, buffer: bytearray, offset: int) -> tuple[Any, ...]:
    """Read a structure behind the header. Raises KernelError where there is none."""
    try:
        if offset >= _HEADER.size:
            return form.unpack_from(buffer, offset)
    except struct.error:
        pass
    raise KernelError(NONSENSE)


def _c_string(buffer: bytes | bytearray, offset: int, limit: int | None = None) -> str:
    end = buffer.find(b"\0", offset, None if limit is None else offset + limit)
    if end < 0:
        raise KernelError(NONSENSE)
    return bytes(buffer[offset:end]).decode("utf-8", "backslashreplace")
