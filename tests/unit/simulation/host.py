"""A simulated host with a thin pool of 10 GiB, and the commands that tests ask it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from exporter.command import Output
from exporter.devmapper import DmDevice
from exporter.errors import CommandFailedError
from exporter.simulation import ManualClock, PoolSpec, SimulatedHost
from exporter.simulation.figures import GIB, KIB, MIB

REPORT = ("--reportformat", "json", "--units", "b", "--nosuffix", "--binary")
POOL = "docker/thinpool"
PROFILE = "docker-thinpool"
EXTENTS = 2560  # 10 GiB
CHUNKS = 10 * GIB // (512 * KIB)


def make_host(
    clock: ManualClock | None = None,
    *,
    extents: int = 12800,
    metadata_bytes: int = 128 * MIB,
    used_bytes: int = 9 * GIB,
) -> SimulatedHost:
    """Make a host whose pool has a policy of 80/20, and is at 90 % unless told otherwise."""
    host = SimulatedHost(clock or ManualClock())
    host.set_profile(PROFILE, threshold=80, percent=20)
    host.add_vg("docker", extents=extents)
    spec = PoolSpec(
        data_bytes=10 * GIB,
        metadata_bytes=metadata_bytes,
        chunk_bytes=512 * KIB,
        used_bytes=used_bytes,
        profile=PROFILE,
    )
    host.add_pool(POOL, spec)
    return host


def run(host: SimulatedHost, *argv: str) -> str:
    """Run a reading command."""
    return host.run(argv, deadline_seconds=1).stdout


def rows(host: SimulatedHost, command: str, fields: str, *more: str) -> list[dict[str, str]]:
    """Read a report as parsed JSON."""
    text = run(host, "/sbin/lvm", command, *REPORT, "-o", fields, *more)
    (section,) = json.loads(text)["report"]
    (found,) = section.values()
    assert isinstance(found, list)
    return found


def failure(host: SimulatedHost, argv: Sequence[str]) -> CommandFailedError:
    """Run a command that has to fail."""
    with pytest.raises(CommandFailedError) as caught:
        host.run(argv, deadline_seconds=1)
    return caught.value


def extend(host: SimulatedHost, *words: str) -> Output:
    """Run lvextend to its end."""
    running = host.start(("/sbin/lvm", "lvextend", *words), environment={})
    output = running.wait(0)
    assert output is not None
    return output


def sizes(host: SimulatedHost) -> tuple[int, int, int]:
    """Count the extents of data, metadata and spare."""
    lvs = host.vg("docker").lvs
    names = ("thinpool_tdata", "thinpool_tmeta", "lvol0_pmspare")
    data, metadata, spare = (lvs[name].extents if name in lvs else 0 for name in names)
    return data, metadata, spare


def pool_device(host: SimulatedHost, name: str = "docker-thinpool") -> DmDevice:
    """Find a pool's device."""
    device = host.device(name)
    assert device is not None
    return device


def status(host: SimulatedHost) -> list[str]:
    """Split the pool's status line."""
    return (pool_device(host).status or "").split()
