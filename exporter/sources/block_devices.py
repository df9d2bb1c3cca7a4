"""What a file system's block devices lie on: mount in, device numbers and a graph out.

Read from /sys alone, which answers whatever state the disks are in.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from exporter.model import Mount
from exporter.sources.mounts import NETWORK, NO_DISK, MountLine, Mounts, visible

NO_DEVICE = "0:"  # major number of what has no block device of its own
BTRFS, OVERLAY = "btrfs", "overlay"
DEVICES = "/dev/"
MAX_DEVICES = 1000
DELETED = " (deleted)"


class UnknownDeviceError(Exception):
    """It cannot be told what a file system lies on; the text says why."""


class BlockDevices:
    """The host's block devices, as its mounts and /sys show them."""

    def __init__(self, mounts: Mounts, sys_directory: Path) -> None:
        self._mounts = mounts
        self._sys = sys_directory

    def mount_of(self, path: str) -> Mount:
        """Find the file system under a path without symbolic links, and its devices.

        Raises UnknownDeviceError.
        """
        line = self._mounts.covering(path)
        if line is None:
            raise UnknownDeviceError(f"no mount covers {path}")
        return Mount(
            file_system=visible(line.file_system),
            source=visible(line.source),
            devices=self._devices(line),
        )

    def below(self, numbers: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Map each device to those that it lies on, down to the disks.

        One of which /sys knows nothing is left out.
        """
        found: dict[str, tuple[str, ...]] = {}
        queue = list(numbers)
        while queue and len(found) < MAX_DEVICES:
            number = queue.pop()
            directory = self._sys / "dev" / "block" / number
            if number in found or not directory.exists():
                continue
            found[number] = tuple(sorted(self._under(directory)))
            queue += found[number]
        return found

    def _devices(self, line: MountLine) -> tuple[str, ...]:
        if not line.device.startswith(NO_DEVICE):
            return (line.device,)
        if line.file_system == OVERLAY:
            return self._under_overlay(line)
        if line.file_system in NETWORK | NO_DISK:
            return ()
        if not line.source.startswith(DEVICES):
            raise UnknownDeviceError(f"{line.file_system} does not show its devices")
        # bcachefs names all of its devices: /dev/sda:/dev/sdb
        named = [self._number(name) for name in line.source.split(":")]
        return self._btrfs_members(named[0]) if line.file_system == BTRFS else tuple(named)

    def _under_overlay(self, line: MountLine) -> tuple[str, ...]:
        """Take what its upper directory is on, where that can be seen."""
        upper = line.options.get("upperdir", "")
        under = self._mounts.covering(upper) if upper.startswith("/") else None
        if under is None or under.file_system == OVERLAY:
            raise UnknownDeviceError("it cannot be seen what the overlay lies on")
        return self._devices(under)

    def _number(self, name: str) -> str:
        try:
            status = Path(self._mounts.root + name).stat()
        except OSError as error:
            raise UnknownDeviceError(f"{name}: {error.strerror}") from error
        except ValueError as error:  # a null byte
            raise UnknownDeviceError(f"{name}: {error}") from error
        if not stat.S_ISBLK(status.st_mode):
            raise UnknownDeviceError(f"{name} is no block device")
        return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"

    def _btrfs_members(self, number: str) -> tuple[str, ...]:
        """Take all devices of the file system that this one belongs to."""
        for directory in (self._sys / "fs" / "btrfs").glob("*/devices"):
            members = {_line(device / "dev") for device in directory.iterdir()} - {""}
            if number in members:
                return tuple(sorted(members))
        return (number,)

    def _under(self, directory: Path) -> Iterator[str]:
        """Name what a device lies on: its parts, its disk, or a loop device's file."""
        yield from next_below(directory)
        file = _line(directory / "loop" / "backing_file")
        if file.startswith("/"):
            try:
                yield from self.mount_of(file.removesuffix(DELETED)).devices
            except UnknownDeviceError:
                yield f"under {file}"  # no device: so it is not known what comes below


def next_below(directory: Path) -> Iterator[str]:
    """Read the numbers of a device's parts, or of the disk that a partition is of."""
    devices = list(_children(directory / "slaves"))
    if (directory / "partition").exists():
        devices.append(directory.resolve().parent)
    return filter(None, (_line(device / "dev") for device in devices))


def _children(directory: Path) -> tuple[Path, ...]:
    try:
        return tuple(directory.iterdir())
    except OSError:
        return ()


def _line(file: Path) -> str:
    try:
        return file.read_text(errors="backslashreplace").rstrip("\n")
    except OSError:
        return ""
