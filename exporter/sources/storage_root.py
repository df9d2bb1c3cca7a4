"""Where Docker, containerd and podman keep their data: files and mounts in, a reading out.

Nothing here starts a process or asks a daemon. What cannot be read becomes a Problem, or
the reason why it is not known what a directory is on.
"""

from __future__ import annotations

import os

from msgspec import structs

from exporter.model import DockerInfo, Mount, Problem, StorageReading, StorageRoot
from exporter.sources.block_devices import BlockDevices, UnknownDeviceError
from exporter.sources.engine_roots import EngineRoots
from exporter.sources.host_files import HostFiles, Places, UnreadableFileError, read_text
from exporter.sources.mounts import (
    MountLine,
    Mounts,
    UnresolvedPathError,
    parse_mountinfo,
    visible,
)

MAX_MOUNTS_BYTES = 16 * 1024 * 1024  # some ten thousand containers
# What ProtectHome= of the guard's unit lays over the real directories.
HIDDEN = frozenset({"/home", "/root", "/run/user"})
TMPFS = "tmpfs"


def read(docker: DockerInfo | None, places: Places | None = None) -> StorageReading:
    """Find every engine's directories, and what they lie on.

    `docker` is what Docker said last; where it never answered, its configuration tells.
    """
    return _Reader(places or Places()).read(docker)


class _Reader:
    """One reading, with what it could not read."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._files = HostFiles(places)

    def read(self, docker: DockerInfo | None) -> StorageReading:
        roots = EngineRoots(self._files).find(docker)
        if not roots:
            return StorageReading(problems=tuple(self._files.problems))
        paths = self._paths()
        devices = BlockDevices(paths.mounts, self._places.sys)
        resolved = docker.root_directory if docker else None
        placed = tuple(
            _placed(root, paths, devices, is_canonical=root.path == resolved) for root in roots
        )
        tops = [number for root in placed if root.mount for number in root.mount.devices]
        return StorageReading(
            roots=placed, below=devices.below(tops), problems=tuple(self._files.problems)
        )

    def _paths(self) -> _Paths:
        """Read the mounts of the host, or else our own."""
        own = self._mounts("self")
        host = self._mounts("1") or own
        root = str(self._places.proc / "1" / "root")
        if host is None:
            self._files.problems.append(
                Problem(subject="mounts", message="they cannot be read")
            )
            return _Paths(Mounts(()), Mounts(()))
        if host is own or not os.access(f"{root}/", os.X_OK):
            # In the guard's sandbox: what the host has mounted is told, its files are not.
            return _Paths(Mounts(host), Mounts(own or ()))
        return _Paths(Mounts(host, root), None)

    def _mounts(self, process: str) -> tuple[MountLine, ...] | None:
        file = self._places.proc / process / "mountinfo"
        try:
            return parse_mountinfo(read_text(file, MAX_MOUNTS_BYTES))
        except (FileNotFoundError, UnreadableFileError):
            return None


class _Paths:
    """The host's mounts, and our own where its links must be followed among these."""

    def __init__(self, mounts: Mounts, own: Mounts | None) -> None:
        self.mounts = mounts
        self._own = own

    def resolved(self, path: str) -> str:
        """Follow links. Raises UnknownDeviceError where a sandbox may hide them from us."""
        resolved = self.mounts.resolved(path)
        line = self._own.covering(resolved) if self._own else None
        if line and line.file_system == TMPFS and line.mount_point in HIDDEN:
            raise UnknownDeviceError(
                f"{line.mount_point} is hidden from the guard (ProtectHome=)"
            )
        return resolved


def _placed(
    root: StorageRoot, paths: _Paths, devices: BlockDevices, *, is_canonical: bool
) -> StorageRoot:
    """Find what a directory is on, unless its data is elsewhere."""
    if root.pool_device or root.unknown:
        return root
    try:
        mount = _mount_of(root.path, paths, devices, is_canonical=is_canonical)
    except (UnknownDeviceError, UnresolvedPathError) as error:
        return structs.replace(root, unknown=visible(str(error)))
    return structs.replace(root, mount=mount)


def _mount_of(path: str, paths: _Paths, devices: BlockDevices, *, is_canonical: bool) -> Mount:
    """Find a path's mount; a running Docker has followed the links of its own (daemon.go)."""
    if not path.startswith("/"):
        raise UnknownDeviceError(f"{path} is no absolute path")
    return devices.mount_of(path if is_canonical else paths.resolved(path))
