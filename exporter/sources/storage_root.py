"""Where Docker, containerd and podman keep their data: files and mounts in, a reading out.

Nothing here starts a process or asks a daemon. What cannot be read becomes a Problem, or
the reason why it is not known what a directory is on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TypeVar

from msgspec import Struct, structs

from exporter.errors import HostError, ParseError
from exporter.model import (
    DockerInfo,
    Engine,
    Mount,
    Problem,
    StorageReading,
    StorageRoot,
)
from exporter.sources.block_devices import BlockDevices, UnknownDeviceError
from exporter.sources.engine_files import (
    CONTAINERD_ROOT,
    DOCKER_ROOT,
    PODMAN_ROOT,
    SNAPSHOTTER,
    ContainerdFile,
    EngineFile,
    parse_containerd,
    parse_daemon_json,
    parse_storage_conf,
)
from exporter.sources.mounts import (
    MountLine,
    Mounts,
    UnresolvedPathError,
    parse_mountinfo,
    visible,
)

T = TypeVar("T")

DAEMON_JSON = "/etc/docker/daemon.json"
CONTAINERD_TOML = "/etc/containerd/config.toml"
# The first that there is; a vendor's defaults are in the second.
STORAGE_CONF = ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf")
DEVICEMAPPER = "devicemapper"
MAX_FILE_BYTES = 1024 * 1024
MAX_MOUNTS_BYTES = 16 * 1024 * 1024  # some ten thousand containers
MAX_FILES = 32
STARS = re.compile(r"\*+")
# What ProtectHome= of the guard's unit lays over the real directories.
HIDDEN = frozenset({"/home", "/root", "/run/user"})
TMPFS = "tmpfs"


class UnreadableFileError(HostError):
    """A file of the host could not be read, or is larger than such files are."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


class Places(Struct, frozen=True, kw_only=True):
    """Where the host's files are."""

    root: Path = Path("/")
    proc: Path = Path("/proc")
    sys: Path = Path("/sys")


def read(docker: DockerInfo | None, places: Places | None = None) -> StorageReading:
    """Find every engine's directories, and what they lie on.

    `docker` is what Docker said last; where it never answered, its configuration tells.
    """
    return _Reader(places or Places()).read(docker)


class _Reader:
    """One reading, with what it could not read."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._problems: list[Problem] = []

    def read(self, docker: DockerInfo | None) -> StorageReading:
        roots = (*self._docker(docker), *self._containerd(), *self._podman())
        if not roots:
            return StorageReading(problems=tuple(self._problems))
        paths = self._paths()
        devices = BlockDevices(paths.mounts, self._places.sys)
        is_canonical = docker is not None and docker.root_directory is not None
        placed = tuple(
            _placed(
                root,
                paths,
                devices,
                is_canonical=is_canonical and root.engine is Engine.DOCKER,
            )
            for root in roots
        )
        tops = [number for root in placed if root.mount for number in root.mount.devices]
        return StorageReading(
            roots=placed, below=devices.below(tops), problems=tuple(self._problems)
        )

    def _docker(self, docker: DockerInfo | None) -> Iterator[StorageRoot]:
        said = self._file(DAEMON_JSON, parse_daemon_json) or EngineFile()
        if docker:
            said = structs.replace(
                said,
                root=docker.root_directory or said.root,
                driver=docker.storage_driver,
                pool_device=docker.pool_name,
            )
        elif not said.root and not self._exists(DOCKER_ROOT):
            return
        yield _root(Engine.DOCKER, said, DOCKER_ROOT)

    def _containerd(self) -> Iterator[StorageRoot]:
        said = self._containerd_files()
        if said is None and not self._exists(CONTAINERD_ROOT):
            return
        root = (said.root if said else None) or CONTAINERD_ROOT
        yield _root(Engine.CONTAINERD, EngineFile(root=root), root)
        snapshotter = said.snapshotter if said else None
        if said and snapshotter and snapshotter.pool_device and not said.has_disabled:
            yield _root(Engine.CONTAINERD, snapshotter, f"{root}/{SNAPSHOTTER}")

    def _containerd_files(self) -> ContainerdFile | None:
        """Read containerd's file and those that it imports; of two the later one counts."""
        files, read = [CONTAINERD_TOML], set[str]()
        merged: ContainerdFile | None = None
        while files and len(read) < MAX_FILES:
            path = files.pop(0)
            said = None if path in read else self._file(path, parse_containerd)
            read.add(path)
            if said is None:
                continue
            files += (one for name in said.imports for one in self._imported(path, name))
            before = merged or ContainerdFile()
            merged = ContainerdFile(
                root=said.root or before.root,
                snapshotter=said.snapshotter or before.snapshotter,
                has_disabled=said.has_disabled or before.has_disabled,
            )
        return merged

    def _imported(self, importing: str, name: str) -> Iterator[str]:
        """Name the files that a pattern means, from the importing file's directory on."""
        pattern = os.path.normpath(PurePosixPath(importing).parent / name).lstrip("/")
        pattern = STARS.sub("*", pattern)  # Go knows no pattern for whole trees
        try:
            found = sorted(self._places.root.glob(pattern))
        except (OSError, ValueError, NotImplementedError):
            return
        for file in found:
            yield f"/{file.relative_to(self._places.root)}"

    def _podman(self) -> Iterator[StorageRoot]:
        file = next((name for name in STORAGE_CONF if self._exists(name)), None)
        said = self._file(file, parse_storage_conf) if file else None
        if (said and said.root) or self._exists(PODMAN_ROOT):
            yield _root(Engine.PODMAN, said or EngineFile(), PODMAN_ROOT)

    def _file(self, path: str, parse: Callable[[str], T]) -> T | None:
        """Read and parse a file; None without it, or where it says nothing."""
        file = self._at(path)
        try:
            return parse(visible(_text(file, MAX_FILE_BYTES)))
        except FileNotFoundError:
            return None
        except (ParseError, UnreadableFileError) as error:
            self._problems.append(Problem(subject=path, message=str(error)))
            return None

    def _paths(self) -> _Paths:
        """Read the mounts of the host, or else our own."""
        own = self._mounts("self")
        host = self._mounts("1") or own
        root = str(self._places.proc / "1" / "root")
        if host is None:
            self._problems.append(Problem(subject="mounts", message="they cannot be read"))
            return _Paths(Mounts(()), Mounts(()))
        if host is own or not os.access(f"{root}/", os.X_OK):
            # In the guard's sandbox: what the host has mounted is told, its files are not.
            return _Paths(Mounts(host), Mounts(own or ()))
        return _Paths(Mounts(host, root), None)

    def _mounts(self, process: str) -> tuple[MountLine, ...] | None:
        file = self._places.proc / process / "mountinfo"
        try:
            return parse_mountinfo(_text(file, MAX_MOUNTS_BYTES))
        except (FileNotFoundError, UnreadableFileError):
            return None

    def _exists(self, path: str) -> bool:
        return os.path.lexists(self._at(path))

    def _at(self, path: str) -> Path:
        return self._places.root / path.lstrip("/")


def _root(engine: Engine, said: EngineFile, default: str) -> StorageRoot:
    root = StorageRoot(
        engine=engine,
        path=said.root or default,
        driver=said.driver,
        pool_device=said.pool_device,
    )
    if said.driver == DEVICEMAPPER and not said.pool_device:
        # Its data is in a pool that it names nowhere, and not where the directory is.
        return structs.replace(root, unknown="the pool of its driver is not known")
    return root


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


def _text(file: Path, limit: int) -> str:
    """Read a file. Raises FileNotFoundError or UnreadableFileError."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(file) from error
    except OSError as error:
        raise UnreadableFileError(file, error.strerror or str(error)) from error
    if len(raw) > limit:
        raise UnreadableFileError(file, f"larger than {limit} bytes")
    return raw.decode("utf-8", "surrogateescape")
