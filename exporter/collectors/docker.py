"""Docker's account of itself, and pools on loop devices → metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from exporter.collectors.families import (
    OLD,
    Labels,
    Row,
    gauges,
    pools_by_labels,
    present,
    printable,
)
from exporter.model import (
    Collector,
    CollectorState,
    Content,
    DockerInfo,
    Engine,
    KernelPool,
    Snapshot,
    ThinPool,
)

INFO_LABELS = ("server_version", "storage_driver", "vg", "pool")
DEVICEMAPPER = "devicemapper"
ROUNDED = (
    ", as docker info prints it: rounded to four digits, never used for decisions. While "
    "thinpool_docker_up is 0 it is the last known value; its age is in "
    'thinpool_collector_last_success_timestamp_seconds{collector="docker"}.'
)


def _is_on_loopback(docker: DockerInfo) -> bool | None:
    if docker.storage_driver is None:
        return None
    return docker.storage_driver == DEVICEMAPPER and docker.has_loop_files


UP: tuple[Row[CollectorState], ...] = (
    Row(
        "thinpool_docker_up",
        "1 if Docker answered docker info within its deadline at the last attempt, else 0. "
        f"Absent {OLD}.",
        lambda state: state.is_ok,
    ),
)
INFO: tuple[Row[DockerInfo], ...] = (
    Row(
        "thinpool_docker_info",
        "Always 1. Labels: Docker's version and storage driver, and the pool that its images "
        "and containers are on, empty if they are on none, on several, or that is not known; "
        "from docker info, the last that succeeded, and from what its directories lie on.",
        present,
    ),
)
DOCKER: tuple[Row[DockerInfo], ...] = (
    Row(
        "thinpool_docker_loopback_warning",
        "1 if Docker runs devicemapper on loopback devices, which it discourages for "
        "production, else 0; from docker info, the last that succeeded.",
        _is_on_loopback,
    ),
    Row(
        "thinpool_docker_data_size_bytes",
        "Bytes of Docker's data space" + ROUNDED,
        lambda docker: docker.data_size_bytes,
    ),
    Row(
        "thinpool_docker_data_used_bytes",
        "Bytes of Docker's data space in use" + ROUNDED,
        lambda docker: docker.data_used_bytes,
    ),
    Row(
        "thinpool_docker_data_available_bytes",
        "Bytes that Docker's data space has left, on loopback limited by the file system "
        "below" + ROUNDED,
        lambda docker: docker.data_available_bytes,
    ),
    Row(
        "thinpool_docker_metadata_size_bytes",
        "Bytes of Docker's metadata space" + ROUNDED,
        lambda docker: docker.metadata_size_bytes,
    ),
    Row(
        "thinpool_docker_metadata_used_bytes",
        "Bytes of Docker's metadata space in use" + ROUNDED,
        lambda docker: docker.metadata_used_bytes,
    ),
    Row(
        "thinpool_docker_metadata_available_bytes",
        "Bytes that Docker's metadata space has left" + ROUNDED,
        lambda docker: docker.metadata_available_bytes,
    ),
    Row(
        "thinpool_docker_min_free_space_bytes",
        "Free data space in bytes below which Docker makes no new device" + ROUNDED,
        lambda docker: docker.min_free_space_bytes,
    ),
    Row(
        "thinpool_docker_base_device_size_bytes",
        "Size in bytes of the device that a new image or container starts from" + ROUNDED,
        lambda docker: docker.base_device_size_bytes,
    ),
    Row(
        "thinpool_docker_deferred_deleted_devices",
        "Number of devices that Docker has yet to delete; from docker info, the last that "
        "succeeded.",
        lambda docker: docker.deferred_deleted_devices,
    ),
)
LOOP: tuple[Row[KernelPool], ...] = (
    Row(
        "thinpool_loopback",
        "1 if the pool lies on loop devices over files, itself or by its disks, else 0; from "
        "the kernel.",
        lambda kernel: kernel.loop is not None,
    ),
    Row(
        "thinpool_loopback_backing_free_bytes",
        "Free bytes of the file system that holds the file under a pool on loop devices: a "
        "sparse file may promise more. From statvfs; of several, the tightest. "
        f"Absent {OLD}.",
        lambda kernel: kernel.loop.free_bytes if kernel.loop else None,
    ),
    Row(
        "thinpool_loopback_backing_promised_bytes",
        "Bytes that the sparse files under the pool may still take from that file system; "
        f"from stat. Absent {OLD}.",
        lambda kernel: kernel.loop.promised_bytes if kernel.loop else None,
    ),
)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe Docker, and which pools are on loop devices."""
    pools = pools_by_labels(snapshot.pools)
    yield from _docker_up(snapshot)
    if snapshot.docker:
        info = {_info(snapshot, snapshot.docker, pools): snapshot.docker}
        yield from gauges(INFO, info, INFO_LABELS)
        yield from gauges(DOCKER, {(): snapshot.docker}, ())
    kernels = {labels: pool.kernel for labels, pool in pools.items() if pool.kernel}
    yield from gauges(LOOP, kernels)


def _docker_up(snapshot: Snapshot) -> Iterator[Metric]:
    state = snapshot.collectors.get(Collector.DOCKER)
    if state and state.attempted_at is not None:
        yield from gauges(UP, {(): state}, ())


def _info(snapshot: Snapshot, docker: DockerInfo, pools: dict[Labels, ThinPool]) -> Labels:
    """Name the pool of Docker's driver, or else the pool that its images are on."""
    named = (labels for labels, pool in pools.items() if pool.is_called(docker.pool_name))
    contents = (Content.DATA, Content.IMAGES)
    pools_of_images = snapshot.pools_of(Engine.DOCKER, contents)
    on = (tuple(map(printable, pool)) for pool in pools_of_images)
    found = list(named)[:1] or list(on)
    vg_and_pool = found[0] if len(found) == 1 else ("", "")
    return (printable(docker.server_version), printable(docker.storage_driver), *vg_and_pool)
