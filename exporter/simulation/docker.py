"""docker info as Docker 20.10 gives it: `docker info --format '{{json .}}'`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from exporter.model import (
    METADATA_BLOCK_BYTES,
    DockerInfo,
    Engine,
    Mount,
    StorageReading,
    StorageRoot,
)
from exporter.simulation.figures import docker_size
from exporter.simulation.kernel import device_name
from exporter.simulation.pool import Pool
from exporter.simulation.state import Docker, HostState, Loop

INFO = ("info", "--format", "{{json .}}")
ROOT = "/var/lib/docker"
# The system's disk and its partition, on which there is no LVM.
SYSTEM = Mount(file_system="ext4", source="/dev/sda1", devices=("8:1",))
SYSTEM_BELOW: dict[str, tuple[str, ...]] = {"8:1": ("8:0",), "8:0": ()}
BASE_DEVICE_BYTES = 10 * 1024**3
MIN_FREE_PERCENT = 10  # dm.min_free_space
DEPRECATED = (
    "WARNING: the devicemapper storage-driver is deprecated, and will be removed in a "
    "future release."
)
ON_LOOP = (
    "WARNING: devicemapper: usage of loopback devices is strongly discouraged for "
    "production use.\n         Use `--storage-opt dm.thinpooldev` to specify a custom "
    "block storage device."
)
_CLIENT = {"Debug": False, "Context": "default", "Plugins": [], "Warnings": None}
_DOWN: dict[str, object] = {
    "ServerErrors": [
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
            "Is the docker daemon running?"
        ),
    ],
    "ClientInfo": _CLIENT,
}
Pairs = Iterable[tuple[str, str]]


def docker(state: HostState, words: Sequence[str]) -> tuple[int, str, str]:
    """Run `docker …`: exit status, stdout and stderr."""
    daemon = state.docker
    if daemon is None or tuple(words) != INFO:
        return 1, "", "docker: the simulated host knows `docker info` as JSON only\n"
    # Status 0 either way: the client prints what it has.
    info = _DOWN if daemon.is_down else _info(state, daemon)
    return 0, f"{json.dumps(info, separators=(',', ':'))}\n", ""


def storage(state: HostState, said: DockerInfo | None) -> StorageReading:
    """Stand in for the mounts and /sys: Docker's directory is on the system's disk."""
    if state.docker is None:
        return StorageReading()
    root = StorageRoot(
        engine=Engine.DOCKER,
        path=ROOT,
        driver=said.storage_driver if said else None,
        pool_device=said.pool_name if said else None,
        mount=SYSTEM,
    )
    return StorageReading(roots=(root,), below=SYSTEM_BELOW)


def _info(state: HostState, daemon: Docker) -> dict[str, object]:
    pool = daemon.pool
    loop = state.loops.get(pool.name) if pool else None
    return {
        "ID": "AAAA:BBBB:CCCC:DDDD:EEEE:FFFF:GGGG:HHHH:IIII:JJJJ:KKKK:LLLL",
        "Containers": daemon.containers,
        "ContainersRunning": daemon.containers - 1,
        "ContainersPaused": 0,
        "ContainersStopped": 1,
        "Images": 23,
        "Driver": "devicemapper" if pool else "overlay2",
        "DriverStatus": list(_status(pool, loop) if pool else _OVERLAY2),
        "SystemStatus": None,
        "Name": "host.example.com",
        "ServerVersion": "20.10.21",
        "DockerRootDir": ROOT,
        "Warnings": [DEPRECATED, *([ON_LOOP] if loop else [])] if pool else None,
        "ClientInfo": _CLIENT,
    }


_OVERLAY2 = (
    ("Backing Filesystem", "extfs"),
    ("Supports d_type", "true"),
    ("Native Overlay Diff", "true"),
    ("userxattr", "false"),
)


def _status(pool: Pool, loop: Loop | None) -> Pairs:
    yield "Pool Name", device_name(pool)
    yield "Pool Blocksize", docker_size(pool.spec.chunk_bytes)
    yield "Base Device Size", docker_size(BASE_DEVICE_BYTES)
    yield "Backing Filesystem", "xfs"
    yield "Udev Sync Supported", "true"
    if loop:
        yield "Data file", "/dev/loop0"
        yield "Metadata file", "/dev/loop1"
        yield "Data loop file", f"{loop.spec.directory}/data"
        yield "Metadata loop file", f"{loop.spec.directory}/metadata"
    yield from _space(pool, loop)
    yield "Deferred Removal Enabled", "true"
    yield "Deferred Deletion Enabled", "true"
    yield "Deferred Deleted Device Count", "0"
    yield "Library Version", "1.02.175 (2021-01-08)"


def _space(pool: Pool, loop: Loop | None) -> Pairs:
    """Print the figures; Docker shows no size at all of a pool that has failed."""
    chunk = 0 if pool.has_failed else pool.spec.chunk_bytes
    block = 0 if pool.has_failed else METADATA_BLOCK_BYTES
    total = pool.data_chunks * chunk
    yield from _usage("Data", pool.used_chunks * chunk, total, loop)
    metadata = pool.used_metadata_blocks * block, pool.metadata_blocks * block
    yield from _usage("Metadata", *metadata, loop)
    free_chunks = pool.data_chunks * MIN_FREE_PERCENT // 100
    yield "Thin Pool Minimum Free Space", docker_size(free_chunks * chunk)


def _usage(device: str, used: int, total: int, loop: Loop | None) -> Pairs:
    """Print one device; a sparse file cannot grow beyond its file system."""
    free = total - used
    yield f"{device} Space Used", docker_size(used)
    yield f"{device} Space Total", docker_size(total)
    yield f"{device} Space Available", docker_size(min(free, loop.free_bytes) if loop else free)
