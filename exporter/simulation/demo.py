"""The host of `thinpool-exporter demo`: five pools, each of which shows something else."""

from __future__ import annotations

import time
from collections.abc import Callable

from exporter.simulation.figures import GIB, KIB, MIB
from exporter.simulation.host import SimulatedHost
from exporter.simulation.lvm_config import STEP, THRESHOLD
from exporter.simulation.records import LoopPoolSpec, PoolSpec, Sawtooth

LOOP_POOL = "docker-253:0-201549152-pool"
EXTENTS_PER_GIB = 256  # of 4 MiB
EXTEND_SECONDS = 0.2  # what a real lvextend takes on a quiet host


def demo_host(
    clock: Callable[[], float] = time.monotonic, *, extend_seconds: float = EXTEND_SECONDS
) -> SimulatedHost:
    """Make the demo's host.

    Within a minute of its clock:

    - docker/thinpool crosses 80 % after 10 s and, once extended, again after 48 s;
    - ci/pool crosses after 20 s, in a VG with 3 % left: one short step, then no space;
    - registry/pool has room for data, but its metadata crosses after 15 s;
    - web/pool stays at 35 %;
    - a pool on loop devices fills with its host's file system, and cannot be helped.

    Docker runs on that last one, so `docker info` shows the loopback warning; its
    pool docker/thinpool stands for a host that is half-way through moving away.
    Each pool is cleaned up now and then, as Docker hosts are: the figures go on moving,
    and no VG but that of ci/pool runs dry.
    """
    host = SimulatedHost(clock, extend_seconds=extend_seconds)
    host.set_config(THRESHOLD, 80)
    host.set_config(STEP, 20)
    host.set_profile("docker-thinpool", threshold=80, percent=20)
    _add_docker(host)
    _add_ci(host)
    _add_registry(host)
    _add_web(host)
    _add_loop(host)
    host.set_docker(LOOP_POOL)
    return host


def _add_docker(host: SimulatedHost) -> None:
    """Five steps of 20 % come before the cleanup at 110 GiB keeps it under its threshold."""
    host.add_vg("docker", extents=200 * EXTENTS_PER_GIB)
    spec = PoolSpec(
        data_bytes=60 * GIB,
        metadata_bytes=512 * MIB,
        chunk_bytes=512 * KIB,
        used_bytes=45 * GIB + 512 * MIB,
        metadata_used_bytes=14 * MIB,
        bytes_per_second=256 * MIB,
        metadata_bytes_per_second=16 * KIB,
        cleanup=Sawtooth(at_bytes=110 * GIB, to_bytes=50 * GIB),
        metadata_cleanup=Sawtooth(at_bytes=24 * MIB, to_bytes=14 * MIB),
        profile="docker-thinpool",
    )
    host.add_pool("docker/thinpool", spec)
    for container, image, share in (
        ("shop-db", "postgres:13", 0.3),
        ("shop-web", "nginx:1.21", 0.1),
        ("ci-runner", "runner", 0.55),
    ):
        host.add_docker_thin(
            "docker/thinpool",
            size_bytes=70 * GIB,
            share=share,
            container=container,
            image=image,
        )


def _add_ci(host: SimulatedHost) -> None:
    """Docker's own set-up: data 95 % of the VG, metadata 1 %, as much for the spare."""
    host.add_vg("ci", extents=100 * EXTENTS_PER_GIB)
    spec = PoolSpec(
        data_bytes=95 * GIB,
        metadata_bytes=GIB,
        chunk_bytes=512 * KIB,
        used_bytes=72 * GIB,
        metadata_used_bytes=20 * MIB,
        bytes_per_second=200 * MIB,
        cleanup=Sawtooth(at_bytes=94 * GIB, to_bytes=66 * GIB),
        profile="docker-thinpool",
    )
    host.add_pool("ci/pool", spec)
    for container in ("build-1", "build-2"):
        host.add_docker_thin(
            "ci/pool", size_bytes=60 * GIB, share=0.45, container=container, image="builder"
        )


def _add_registry(host: SimulatedHost) -> None:
    """Many small snapshots: metadata goes first, as with chunks too small for the pool."""
    host.add_vg("registry", extents=160 * EXTENTS_PER_GIB)
    spec = PoolSpec(
        data_bytes=100 * GIB,
        metadata_bytes=128 * MIB,
        used_bytes=40 * GIB,
        metadata_used_bytes=97 * MIB + 512 * KIB,
        bytes_per_second=2 * MIB,
        metadata_bytes_per_second=336 * KIB,
        cleanup=Sawtooth(at_bytes=44 * GIB, to_bytes=38 * GIB),
        metadata_cleanup=Sawtooth(at_bytes=150 * MIB, to_bytes=100 * MIB),
    )
    host.add_pool("registry/pool", spec)
    host.add_thin("registry/pool", "layers", size_bytes=70 * GIB, share=0.8)
    host.add_thin("registry/pool", "index", size_bytes=20 * GIB, share=0.2)


def _add_web(host: SimulatedHost) -> None:
    host.add_vg("web", extents=120 * EXTENTS_PER_GIB)
    host.add_linear("web/root", size_bytes=20 * GIB)
    spec = PoolSpec(
        data_bytes=80 * GIB,
        metadata_bytes=128 * MIB,
        used_bytes=28 * GIB,
        metadata_used_bytes=18 * MIB,
        bytes_per_second=256 * KIB,
        cleanup=Sawtooth(at_bytes=29 * GIB, to_bytes=28 * GIB),
        is_zeroing=True,
    )
    host.add_pool("web/pool", spec)
    host.add_thin("web/pool", "www", size_bytes=40 * GIB, share=0.6)
    host.add_thin("web/pool", "db", size_bytes=30 * GIB, share=0.4)


def _add_loop(host: SimulatedHost) -> None:
    """Fill the file system faster than the pool: others write there, too."""
    pool = PoolSpec(
        data_bytes=100 * GIB,
        metadata_bytes=2 * GIB,
        used_bytes=20 * GIB,
        metadata_used_bytes=24 * MIB,
        bytes_per_second=30 * MIB,
        cleanup=Sawtooth(at_bytes=40 * GIB, to_bytes=20 * GIB),
    )
    spec = LoopPoolSpec(
        pool=pool,
        backing_bytes=60 * GIB,
        backing_used_bytes=38 * GIB,
        backing_bytes_per_second=32 * MIB,
        backing_cleanup=Sawtooth(at_bytes=57 * GIB, to_bytes=37 * GIB),
    )
    host.add_loop_pool(LOOP_POOL, spec)
    for container, share in (("metrics", 0.3), ("logs", 0.45)):
        host.add_docker_thin(LOOP_POOL, share=share, container=container, image=container)
