"""Where Docker, containerd and podman keep their data: configuration in, StorageRoots out.

Nothing here starts a process or asks a daemon, or looks at what a directory lies on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from msgspec import structs

from exporter.model import Content, DockerInfo, Engine, StorageRoot
from exporter.sources import docker_daemon
from exporter.sources.docker_files import (
    DEVICEMAPPER,
    DOCKER_ROOT,
    parse_daemon_json,
    parse_docker_flags,
    parse_storage_setup,
    parse_sysconfig,
)
from exporter.sources.engine_files import (
    CONTAINERD_ROOT,
    DEVMAPPER,
    PODMAN_ROOT,
    SNAPSHOTTER_NAMES,
    SNAPSHOTTERS,
    ContainerdFile,
    EngineFile,
    parse_containerd,
    parse_storage_conf,
)
from exporter.sources.host_files import HostFiles
from exporter.sources.mounts import visible

DAEMON_JSON = "/etc/docker/daemon.json"
# Docker's unit is the first of these that exists. Drop-ins and sysconfig add to it.
UNITS = tuple(
    f"{directory}/systemd/system/docker.service"
    for directory in ("/etc", "/run", "/usr/lib", "/lib")
)
DROP_INS = "etc/systemd/system/docker.service.d/*.conf"
SYSCONFIG = ("/etc/sysconfig/docker", "/etc/sysconfig/docker-storage")
STORAGE_SETUP = "/etc/sysconfig/docker-storage-setup"
ZFS = "zfs"
# If no driver is configured, Docker takes the one whose directory it finds.
# Source: moby daemon/graphdriver/driver.go, scanPriorDrivers.
GRAPH_DRIVERS = (
    *("aufs", "btrfs", DEVICEMAPPER, "fuse-overlayfs", "overlay", "overlay2", ZFS),
)
# Docker uses containerd's store with these, since only containerd has such names.
STORE_DRIVERS = SNAPSHOTTER_NAMES - set(GRAPH_DRIVERS)
CONTAINERD_SOCKETS = ("/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock")
# dockerd starts a containerd of its own if none runs: moby daemon/command/daemon.go.
OWN_CONTAINERD, OWN_SOCKET = "containerd/daemon", "/docker/containerd/containerd.sock"
MAX_FILES = 32
NO_DRIVER = "Docker has not answered, and its storage driver is not known"
STARS = re.compile(r"\*+")
DEFAULT_SNAPSHOTTER = "overlayfs"
CONTAINERD_TOML = "/etc/containerd/config.toml"
# The first that there is; a vendor's defaults are in the second.
STORAGE_CONF = ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf")


class EngineRoots:
    """Finds the engines' directories from Docker's last answer and the host's files."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files

    def find(self, docker: DockerInfo | None) -> tuple[StorageRoot, ...]:
        """Find all directories. Until Docker has answered, use its configuration."""
        return (*self._docker(docker), *self._containerd(), *self._podman())

    def _docker(self, docker: DockerInfo | None) -> Iterator[StorageRoot]:
        """Find Docker's directories from its answer, or else from its configuration."""
        is_told = docker is not None and (
            docker.storage_driver != DEVICEMAPPER or docker.pool_name is not None
        )
        said = self._docker_files(is_told=is_told)
        if docker:
            said = EngineFile(
                root=docker.root_directory,
                driver=docker.storage_driver,
                pool_device=docker.pool_name,
                is_containerd_store=docker.has_containerd_store,
            ).over(said)
        elif not said.root and not self._files.exists(DOCKER_ROOT):
            return
        root = said.root or DOCKER_ROOT
        is_store = said.is_containerd_store
        if is_store or (is_store is None and said.driver in STORE_DRIVERS):
            yield self._images(said, root, docker.containerd_socket if docker else None)
            yield StorageRoot(engine=Engine.DOCKER, path=root, holds=Content.VOLUMES)
            return
        driver = said.driver or self._prior_driver(root)
        found = _root(Engine.DOCKER, self._with_pool(said, driver), DOCKER_ROOT)
        yield found if driver else structs.replace(found, unknown=NO_DRIVER)

    def _docker_files(self, *, is_told: bool) -> EngineFile:
        """Read daemon.json, and also dockerd's flags unless Docker has answered (`is_told`)."""
        said = EngineFile()
        if not is_told:
            words = docker_daemon.command_line(self._files.places.proc)
            said = parse_docker_flags(map(visible, words))
            for path in () if words else self._unit_files():
                said = (self._files.parsed(path, parse_sysconfig) or EngineFile()).over(said)
        file = self._files.parsed(said.config_file or DAEMON_JSON, parse_daemon_json)
        return said.over(file or EngineFile())

    def _with_pool(self, said: EngineFile, driver: str | None) -> EngineFile:
        """Add docker-storage-setup's pool if devicemapper has no other one."""
        pool = said.pool_device if driver == DEVICEMAPPER else None
        if driver == DEVICEMAPPER and pool is None:
            setup = self._files.parsed(STORAGE_SETUP, parse_storage_setup)
            pool = setup.pool_device if setup else None
        return structs.replace(said, driver=driver, pool_device=pool)

    def _unit_files(self) -> Iterator[str]:
        yield from [path for path in UNITS if self._files.exists(path)][:1]
        yield from self._files.globbed(DROP_INS)
        yield from SYSCONFIG

    def _prior_driver(self, root: str) -> str | None:
        """Return the only driver that has left files in the data root, or None."""
        found = [name for name in GRAPH_DRIVERS if _is_filled(self._files.at(f"{root}/{name}"))]
        return found[0] if len(found) == 1 else None

    def _images(self, said: EngineFile, root: str, socket: str | None) -> StorageRoot:
        """Find where Docker's containerd keeps images and containers."""
        driver = said.driver or DEFAULT_SNAPSHOTTER
        own = f"{root}/{OWN_CONTAINERD}"
        if (
            socket is None
            and not any(map(self._files.exists, CONTAINERD_SOCKETS))
            and self._files.exists(own)
        ):
            socket = OWN_SOCKET
        unknown = ""
        if socket is None or socket in CONTAINERD_SOCKETS:
            containerd = self._containerd_files() or ContainerdFile()
        elif socket.endswith(OWN_SOCKET):
            containerd = ContainerdFile(root=own)
        else:
            containerd = ContainerdFile()
            unknown = f"where the containerd at {socket} keeps its data is not known"
        if driver not in SNAPSHOTTER_NAMES:
            unknown = (
                unknown or f"snapshotter {driver} is a plugin with a data directory of its own"
            )
        snapshotter = containerd.snapshotters.get(driver, EngineFile())
        found = _root(
            Engine.DOCKER,
            EngineFile(
                root=snapshotter.root, driver=driver, pool_device=snapshotter.pool_device
            ),
            containerd.root or CONTAINERD_ROOT,
        )
        found = structs.replace(found, holds=Content.IMAGES)
        return structs.replace(found, pool_device=None, unknown=unknown) if unknown else found

    def _containerd(self) -> Iterator[StorageRoot]:
        said = self._containerd_files()
        if said is None and not self._files.exists(CONTAINERD_ROOT):
            return
        said = said or ContainerdFile()
        root = said.root or CONTAINERD_ROOT
        yield _root(Engine.CONTAINERD, EngineFile(root=root), root)
        snapshotter = said.snapshotters.get(DEVMAPPER)
        if snapshotter and snapshotter.pool_device and DEVMAPPER not in said.disabled:
            yield _root(Engine.CONTAINERD, snapshotter, f"{root}/{SNAPSHOTTERS}{DEVMAPPER}")

    def _containerd_files(self) -> ContainerdFile | None:
        """Read containerd's file and those that it imports; of two the later one counts."""
        files, read = [CONTAINERD_TOML], set[str]()
        merged: ContainerdFile | None = None
        while files and len(read) < MAX_FILES:
            path = files.pop(0)
            said = None if path in read else self._files.parsed(path, parse_containerd)
            read.add(path)
            if said is None:
                continue
            files += (one for name in said.imports for one in self._imported(path, name))
            before = merged or ContainerdFile()
            merged = ContainerdFile(
                root=said.root or before.root,
                snapshotters={**before.snapshotters, **said.snapshotters},
                disabled=before.disabled | said.disabled,
            )
        return merged

    def _imported(self, importing: str, name: str) -> Iterator[str]:
        """Name the files that a pattern means, from the importing file's directory on."""
        pattern = os.path.normpath(PurePosixPath(importing).parent / name).lstrip("/")
        yield from self._files.globbed(
            STARS.sub("*", pattern)
        )  # Go has no pattern for whole trees

    def _podman(self) -> Iterator[StorageRoot]:
        file = next((name for name in STORAGE_CONF if self._files.exists(name)), None)
        said = self._files.parsed(file, parse_storage_conf) if file else None
        if (said and said.root) or self._files.exists(PODMAN_ROOT):
            yield _root(Engine.PODMAN, said or EngineFile(), PODMAN_ROOT)


def _root(engine: Engine, said: EngineFile, default: str) -> StorageRoot:
    root = StorageRoot(
        engine=engine,
        path=said.root or default,
        driver=said.driver,
        pool_device=said.pool_device,
    )
    # These drivers keep data in a pool that is named elsewhere, not in the directory.
    if said.driver in {DEVICEMAPPER, DEVMAPPER} and not said.pool_device:
        return structs.replace(root, unknown="the pool of its driver is not known")
    if said.driver == ZFS:
        return structs.replace(root, unknown="ZFS does not show its devices")
    return root


def _is_filled(directory: Path) -> bool:
    """Whether there is anything in a directory; yes if it is there and cannot be read."""
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is not None
    except OSError as error:
        return isinstance(error, PermissionError)
