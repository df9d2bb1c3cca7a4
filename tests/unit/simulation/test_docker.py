"""The simulated Docker, and the pool that it makes on loop devices."""

from __future__ import annotations

import json

import pytest

from exporter.collection import Collection
from exporter.model import Collector
from exporter.simulation import LoopPoolSpec, ManualClock, PoolSpec, SimulatedHost
from exporter.simulation.figures import GIB, docker_size
from tests.fakes import PROGRAMS
from tests.unit.simulation.host import POOL, failure, pool_device, rows, run


def test_loop_pool_is_known_to_the_kernel_alone(host: SimulatedHost) -> None:
    """Docker's own pool is on loop devices, and LVM does not list it."""
    name = "docker-253:0-201549152-pool"
    spec = LoopPoolSpec(pool=PoolSpec(), backing_bytes=20 * GIB, backing_used_bytes=15 * GIB)
    host.add_loop_pool(name, spec)

    device = pool_device(host, name)
    backing = host.loop_backing("7:0")

    assert (device.uuid, device.table.split()[:2]) == ("", ["7:1", "7:0"])
    assert len(rows(host, "lvs", "lv_name")) == 1
    assert backing is not None
    assert (backing.device, backing.free_bytes) == ("/dev/loop0", 5 * GIB)
    assert host.loop_backing("253:0") is None


def test_docker_describes_its_pool(host: SimulatedHost) -> None:
    """Figures have four digits in units of 1000, without a space."""
    host.set_docker(POOL)

    document = json.loads(run(host, "/usr/bin/docker", "info", "--format", "{{json .}}"))
    pairs = dict(document["DriverStatus"])

    assert document["Driver"] == "devicemapper"
    assert pairs["Pool Name"] == "docker-thinpool"
    assert pairs["Data Space Used"] == "5.369GB"
    assert pairs["Data Space Total"] == "10.74GB"
    assert pairs["Pool Blocksize"] == "524.3kB"
    assert "Data loop file" not in pairs


def test_docker_warns_of_loopback_and_counts_the_file_system(host: SimulatedHost) -> None:
    """Available is what the sparse file can still take, not what the pool has left."""
    name = "docker-253:0-201549152-pool"
    spec = LoopPoolSpec(pool=PoolSpec(), backing_bytes=GIB, backing_used_bytes=0)
    host.add_loop_pool(name, spec)
    host.set_docker(name)

    document = json.loads(run(host, "docker", "info", "--format", "{{json .}}"))

    assert dict(document["DriverStatus"])["Data Space Available"] == "1.074GB"
    assert any("loopback devices" in warning for warning in document["Warnings"])


def test_docker_without_devicemapper(host: SimulatedHost) -> None:
    """With overlay2 there is no pool, and no warning."""
    host.set_docker(None)

    document = json.loads(run(host, "docker", "info", "--format", "{{json .}}"))

    assert (document["Driver"], document["Warnings"]) == ("overlay2", None)
    assert failure(host, ("docker", "ps")).status == 1


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (65536, "65.54kB"),
        (999_960, "1000kB"),
        (107_374_182_400, "107.4GB"),
        (20_000_000, "20MB"),
    ],
)
def test_sizes_as_docker_prints_them(size: int, text: str) -> None:
    """Four digits in units of 1000, without a space."""
    assert docker_size(size) == text


def test_dockers_data_is_on_its_pool_or_on_the_systems_disk(host: SimulatedHost) -> None:
    """By name with devicemapper, else by the mount, which is on no pool; gone with Docker."""
    clock = ManualClock()
    collection = Collection(host.access(), PROGRAMS, wall_clock=clock, clock=clock)
    for label, pools in ((POOL, (("docker", "thinpool"),)), (None, ())):
        host.set_docker(label)
        collection.refresh_all()
        (place,) = collection.snapshot().storage
        assert (place.path, place.pools) == ("/var/lib/docker", pools)

    host.stop_docker()
    collection.refresh_all()
    snapshot = collection.snapshot()
    assert not snapshot.collectors[Collector.DOCKER].is_ok
    assert [place.pools for place in snapshot.storage] == [()]

    host.remove_docker()
    collection.refresh_all()
    assert collection.snapshot().storage == ()
