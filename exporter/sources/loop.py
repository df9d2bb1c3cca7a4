"""The files under a device's loop devices, however far below, and what their file systems have.

A pool may be made on loop devices, or on what lies on them: a PV, a partition, LUKS.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import structlog
from msgspec import structs

from exporter.model import LoopBacking, LoopFile
from exporter.sources.block_devices import next_below
from exporter.sources.mounts import MountLine, parse_mountinfo, visible

NUMBER = re.compile(r"[0-9]{1,10}:[0-9]{1,10}")  # it becomes a path
LOOP_MAJOR = "7"  # kernel admin-guide/devices.txt
SYS, MOUNTS = Path("/sys"), Path("/proc/self/mountinfo")
DELETED = " (deleted)"  # behind the name that a file had
# linux/loop.h: struct loop_info64 begins with the file's device and inode.
LOOP_GET_STATUS64 = 0x4C05
LOOP_INFO = struct.Struct("=QQ216x")
BLOCK_BYTES = 512  # of st_blocks, whatever the file system's blocks are
PATIENCE_SECONDS = 5.0  # a busy host takes a while to start a thread
MOST_DEVICES = 1000  # below one pool; a real host has a dozen

Look = Callable[[LoopFile], LoopFile]

log = structlog.get_logger(__name__)


class Identity(NamedTuple):
    """Device and inode of a file, as stat gives them."""

    device: int
    inode: int


def log_error(device: str, error: Exception) -> None:
    """Log that the figures of a loop device's file could not be read."""
    log.error("loop_file_not_read", device=device, error=str(error) or repr(error))


class LoopFiles:
    """Reads what lies under devices. A file that does not answer costs its own figures alone.

    On a server that is away (NFS) stat waits, for ever and unkillable: one thread does.
    `on_error` is called with a device and what reading it raised, once until that changes.
    """

    def __init__(
        self,
        look: Look | None = None,
        *,
        sys_directory: Path = SYS,
        patience_seconds: float = PATIENCE_SECONDS,
        on_error: Callable[[str, Exception], object] = log_error,
    ) -> None:
        self._look = look or look_at
        self._sys = sys_directory
        self._patience_seconds = patience_seconds
        self._on_error = on_error
        self._waiting: dict[str, threading.Thread] = {}
        self._told: dict[str, str] = {}

    def read(self, device_number: str) -> LoopBacking | None:
        """Describe the loop devices under the device of this number, None without any.

        Also None where that cannot be found out. Never raises.
        """
        try:
            found = (self._with_figures(file) for file in below(device_number, self._sys))
            files = tuple(map(_visible, found))
        except Exception as error:  # noqa: BLE001 - the bulkhead of one device
            self._tell(device_number, error)
            return None
        self._told.pop(device_number, None)
        return LoopBacking(files=files) if files else None

    def join(self) -> None:
        """Wait until every file that has been asked for has answered."""
        for thread in self._waiting.values():
            thread.join()

    def _with_figures(self, file: LoopFile) -> LoopFile:
        before = self._waiting.get(file.device)
        if before and before.is_alive():
            return file
        found: list[LoopFile] = []
        thread = threading.Thread(
            target=self._take, args=(file, found), name="loop-file", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads: unknown, until there are
            self._tell(file.device, error)
            return file
        self._waiting[file.device] = thread
        thread.join(self._patience_seconds)
        return found[0] if found else file

    def _take(self, file: LoopFile, found: list[LoopFile]) -> None:
        try:
            found.append(self._look(file))
        except Exception as error:  # noqa: BLE001 - the bulkhead of this thread
            self._tell(file.device, error)
        else:
            self._told.pop(file.device, None)

    def _tell(self, device: str, error: Exception) -> None:
        if self._told.get(device) != repr(error):
            self._told[device] = repr(error)
            self._on_error(device, error)


def _visible(file: LoopFile) -> LoopFile:
    return structs.replace(file, file=visible(file.file)) if file.file else file


def below(device_number: str, sys_directory: Path = SYS) -> Iterator[LoopFile]:
    """Find the loop devices that a device lies on, itself included, by name of their files."""
    waiting = [device_number] if NUMBER.fullmatch(device_number) else []
    known = {device_number}
    while waiting:
        number = waiting.pop()
        if number.partition(":")[0] == LOOP_MAJOR:
            yield _loop_file(number, sys_directory)
            continue
        layers = next_below(sys_directory / "dev" / "block" / number)
        more = sorted(set(layers) - known)
        known.update(more)
        if len(known) > MOST_DEVICES:
            return
        waiting += reversed(more)


def _loop_file(number: str, sys_directory: Path) -> LoopFile:
    directory = sys_directory / "dev" / "block" / number
    device = f"/dev/{_name(directory)}"
    try:
        path = directory / "loop" / "backing_file"
        text = path.read_text(errors="surrogateescape").removesuffix("\n")
    except OSError:
        return LoopFile(device=device)
    return LoopFile(
        device=device, file=text.removesuffix(DELETED), is_deleted=text.endswith(DELETED)
    )


def _name(directory: Path) -> str:
    """Name a loop device: its number is not always the minor one, by which it is listed."""
    name = directory.resolve().name
    return name if name.startswith("loop") else f"loop{name.partition(':')[2]}"


def look_at(
    file: LoopFile,
    *,
    identify: Callable[[str], Identity | None] | None = None,
    mounts: Path = MOUNTS,
) -> LoopFile:
    """Add the figures of a file and its file system, as far as they can be known.

    The name is the one that the file had for whoever made the loop device. Here (in a
    container, or where /tmp is private) it may be another file's, or nobody's: the device
    and inode that the kernel keeps decide. Then its file system may still be mounted here.
    Free bytes are f_bfree times f_frsize, as Docker counts them: dockerd is root and may
    use the reserved blocks.
    """
    identity = (identify or identified)(file.device)
    figures = None if file.is_deleted or file.file is None else _stat(file.file)
    if figures and identity and (figures.st_dev, figures.st_ino) != identity:
        figures = None
    device = figures.st_dev if figures else identity.device if identity else None
    if device is None:
        return file
    mount = _mount(device, mounts)
    place = file.file if figures else mount.mount_point if mount else None
    return structs.replace(
        file,
        file_system=numbered(device),
        file_system_type=mount.file_system if mount else None,
        free_bytes=_free_bytes(place) if place else None,
        promised_bytes=_promised_bytes(figures) if figures else None,
    )


def identified(device: str) -> Identity | None:
    """Ask the kernel which file is under a loop device; None where it cannot be asked."""
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        answer = fcntl.ioctl(descriptor, LOOP_GET_STATUS64, bytes(LOOP_INFO.size))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return Identity(*LOOP_INFO.unpack(answer))


def _stat(file: str) -> os.stat_result | None:
    try:
        return Path(file).stat()
    except (OSError, ValueError):
        return None


def _promised_bytes(figures: os.stat_result) -> int | None:
    """Count what a file may still take: what it lacks of its size. Unknown of a disk."""
    if not stat.S_ISREG(figures.st_mode):
        return None
    return max(0, figures.st_size - figures.st_blocks * BLOCK_BYTES)


def _free_bytes(place: str) -> int | None:
    try:
        figures = os.statvfs(place)
    except (OSError, ValueError):
        return None
    return figures.f_bfree * figures.f_frsize


def _mount(device: int, mounts: Path) -> MountLine | None:
    """Find where a file system can be reached here: not where another is mounted over it."""
    try:
        lines = parse_mountinfo(mounts.read_text(errors="surrogateescape"))
    except OSError:
        return None
    for line in lines:
        figures = _stat(line.mount_point) if line.device == numbered(device) else None
        if figures and figures.st_dev == device:
            return line
    return None


def numbered(device: int) -> str:
    """Write a device number as the kernel does."""
    return f"{os.major(device)}:{os.minor(device)}"
