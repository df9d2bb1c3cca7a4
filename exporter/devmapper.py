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
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

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
# A device whose table and status never match is replaced again and again.
_READ_ATTEMPTS = 3
_LONGEST_WAIT_SECONDS = 3600.0  # poll takes neither infinity nor a month


class DmDevice(Struct, frozen=True, kw_only=True):
    """A device with one thin-pool or thin target: its table and status parameters.

    `status` is None for thin targets where nobody asked for it. A device that cannot be
    read has an `error`, which says why, and no kind.
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
    error: str | None = None


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
        """Every thin pool and thin volume, with their statuses.

        A device that cannot be read is among them, with its `error`. Raises KernelError if
        the devices cannot be listed, or if none of them can be read.
        """


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
        """Make `wait` report the events from now on; call it before reading.

        Never raises. If the kernel fails this request, the next `arm` tries again.
        """

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
        open_node: Callable[[str, int], int] = os.open,
    ) -> None:
        self._ioctl_of = ioctl
        self._open_node = open_node
        self._path = f"{dev_directory}/{CONTROL_NODE}"
        self._opening = threading.Lock()
        self._control: _Control | None = None
        self._can_arm = True
        self._waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._waker)
        self._questions: dict[str, _Question] = {}

    def names(self) -> Mapping[str, str]:
        """See Kernel.names."""
        names = dict(self._entries())
        for name in tuple(self._questions):
            if name not in names:
                self._questions.pop(name, None)
        return names

    def status(self, name: str) -> DmStatus | None:
        """See Kernel.status."""
        try:
            question = self._questions.get(name)
            if question is None:
                question = self._questions[name] = _Question(name)
            return question.ask(self._ioctl)
        except _GoneError:
            return None

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices."""
        found, errors = [], []
        for name, number in self._entries():
            try:
                device = self._device(name, TARGET_KINDS)
            except KernelError as error:
                errors.append(error)
                device = replace(_UNREAD, name=name, number=number, error=str(error))
            found.append(device)
        if errors and len(errors) == len(found):
            raise errors[0]
        return tuple(device for device in found if device and (device.kind or device.error))

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        return self._device(name, ("thin-pool",))

    def _device(self, name: str, kinds_with_status: Collection[str]) -> DmDevice | None:
        try:
            for _ in range(_READ_ATTEMPTS):
                header, targets = self._table_status(name, _STATUS_TABLE | _NOFLUSH)
                table = targets[0] if targets else NO_TARGET
                if len(targets) > 1 or table.kind not in {*TARGET_KINDS, NO_TARGET.kind}:
                    return None
                if table.kind not in kinds_with_status:
                    return _dm_device(name, header, table, None)
                before = header
                header, targets = self._table_status(name, _NOFLUSH)
                status = targets[0] if len(targets) == 1 else NO_TARGET
                # The table and the status are two answers: another device, or a resized
                # one, may have taken this one's place in between.
                if _identity(before, table) == _identity(header, status):
                    return _dm_device(name, header, table, status.parameters)
        except _GoneError:
            return None  # removed meanwhile
        raise KernelError(f"{name} has changed each time while it was read")

    def arm(self) -> None:
        """See Kernel.arm."""
        if not self._can_arm:
            return
        try:
            control = self._opened()
            if not control.is_armed:  # what is armed stays so until an event
                self._ioctl_of(control.descriptor, _request(_ARM_POLL), _pack(_HEADER.size))
                control.is_armed = True
        except OSError as error:
            # Linux before 4.14 does not know the request: the timeout alone must do.
            self._can_arm = error.errno != errno.ENOTTY
        except KernelError:
            pass  # not opened: the requests that read report why

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait."""
        control = self._control  # the descriptor cannot be closed as long as we hold this
        poll = select.poll()  # a poll object is for one thread
        poll.register(self._waker, select.POLLIN)
        if control and control.is_armed:
            poll.register(control.descriptor, select.POLLIN)
        # Rounded up: poll takes whole milliseconds, and a rest of less would spin.
        seconds = min(max(0.0, timeout_seconds), _LONGEST_WAIT_SECONDS)
        ready = dict(poll.poll(math.ceil(seconds * 1000)))
        if self._waker in ready:
            with suppress(BlockingIOError):  # another thread was woken as well
                os.eventfd_read(self._waker)
        if control is None or control.descriptor not in ready:
            return False
        control.is_armed = False  # or else this event would end every later wait
        return bool(ready[control.descriptor] & select.POLLIN)

    def wake(self) -> None:
        """See Kernel.wake."""
        os.eventfd_write(self._waker, 1)

    def close(self) -> None:
        """Close the control device; the next request opens it again.

        It stays open for the threads that use it at this moment.
        """
        self._control = None

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
            self._ioctl(number, name, buffer)
            if not _Header.of(buffer).flags & _BUFFER_FULL:
                return buffer
            size *= 4
        raise KernelError(f"device-mapper's answer on {name or 'the device list'} is too large")

    def _ioctl(self, number: int, name: str, buffer: bytearray) -> None:
        """Ask about a device, or about all if there is no name."""
        control = self._opened()
        try:
            self._ioctl_of(control.descriptor, _request(number), buffer)
        except OSError as error:
            if name and error.errno == errno.ENXIO:
                raise _GoneError(name) from error
            subject = f" on {name}" if name else ""
            message = f"device-mapper request {number}{subject}: {error.strerror}"
            raise KernelError(message) from error

    def _opened(self) -> _Control:
        """Open the control device if no thread has done so yet. Raises KernelError."""
        with self._opening:
            if self._control is None:
                try:
                    self._control = _Control(self._path, self._open_node)
                except OSError as error:
                    missing = error.errno in {errno.ENOENT, errno.ENODEV, errno.ENXIO}
                    kind = DeviceMapperMissingError if missing else KernelError
                    raise kind(f"cannot open {self._path}: {error.strerror}") from error
            return self._control


class _GoneError(Exception):
    """The kernel has no device of this name."""


class _Control:
    """The control device; it is closed when the last thread that uses it lets go of it."""

    def __init__(self, path: str, open_node: Callable[[str, int], int]) -> None:
        self.descriptor = open_node(path, os.O_RDWR | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        self.is_armed = False  # whether the next event makes the descriptor readable


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
        self._name = name
        self._request = bytes(_pack(_STATUS_BUFFER_BYTES, name, _NOFLUSH))
        self._last: tuple[bytes, DmStatus] | None = None

    def ask(self, ioctl: Callable[[int, str, bytearray], None]) -> DmStatus:
        """Ask the kernel. Raises _GoneError and KernelError.

        Each call has a buffer of its own: the kernel writes into that of a thread which hung
        here for minutes while another thread asks the same.
        """
        buffer = bytearray(self._request)
        ioctl(_TABLE_STATUS, self._name, buffer)
        last = self._last
        if last is not None and buffer == last[0]:
            return last[1]
        status = _status(buffer)
        self._last = bytes(buffer), status  # together, and only if it could be read
        return status


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
_UNREAD = DmDevice(
    name="",
    uuid="",
    number="",
    is_suspended=False,
    event_number=0,
    kind=NO_TARGET.kind,
    length_sectors=0,
    table="",
    status=None,
)


def _dm_device(name: str, header: _Header, table: _Target, status: str | None) -> DmDevice:
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


def _identity(header: _Header, target: _Target) -> tuple[object, ...]:
    """Give what a table and a status of one device have in common."""
    return header.uuid, header.number, target.kind, target.length_sectors


def _pack(size: int, name: str = "", flags: int = 0) -> bytearray:
    """Make a request. Raises _GoneError for a name that is too long for any device."""
    buffer = bytearray(size)
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) >= _NAME_BYTES:
        raise _GoneError(name)
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
