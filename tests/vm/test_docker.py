"""Docker, containerd and their data: which pool that is on, and how Docker is asked."""

from __future__ import annotations

import re

import pytest

from tests.vm import faults, scenarios, units
from tests.vm.conftest import SMALL, kept_with_devicemapper
from tests.vm.guest import CONFIG, Guest, check, collect, running
from tests.vm.machine import Machine
from tests.vm.units import GUARD
from tests.vm.waiting import wait_until

POOL = {"vg": "docker", "pool": "thinpool"}
NONE = {"vg": "", "pool": ""}
ROOT = "/srv/docker"
PODMAN_ROOT = "/srv/podman"
CONTAINERD_ROOT = "/var/lib/containerd"
DEVMAPPER_ROOT = f"{CONTAINERD_ROOT}/io.containerd.snapshotter.v1.devmapper"
DATA_MIB, CHUNK_BYTES = 1024, 65536
INFO = "thinpool_storage_root_info"
UP = "thinpool_docker_up"
DURATION = "thinpool_collector_duration_seconds"
PATIENCE_SECONDS = 150
INTERVALS = "collect: {docker_interval: 5s, docker_deadline: 15s}\n"


def thin_volume(machine: Machine) -> str:
    """Make a pool and a volume in it, and return the volume's device."""
    return scenarios.make_volume(machine, scenarios.make_pool(machine, SMALL), size="4G")


def reported(machine: Machine, engine: str) -> list[str]:
    """Find what `check` says of an engine's data."""
    _, report = check(machine)
    return re.findall(rf"^ *{engine}'s data +(.*)$", report, re.MULTILINE)


@pytest.mark.parametrize("file_system", ["ext4", "xfs"])
def test_docker_on_a_thin_volume(machine: Machine, file_system: str) -> None:
    """Its pool is found through the mount, and told; nothing is said of devicemapper."""
    device = thin_volume(machine)
    scenarios.mounted(machine, device, ROOT, file_system)
    scenarios.docker_overlay(machine, ROOT)
    scenarios.docker_import_busybox(machine)
    scenarios.docker_run(machine, "echo works")

    metrics = collect(machine)

    assert metrics.value(INFO, engine="docker", path=ROOT, driver="overlay2", **POOL) == 1
    assert metrics.value("thinpool_docker_info", storage_driver="overlay2", **POOL) == 1
    assert metrics.value(INFO, engine="containerd", path="/var/lib/containerd", **NONE) == 1
    (line,) = reported(machine, "Docker")
    assert line.startswith(f"{ROOT} (overlay2): on pool docker/thinpool, {file_system} on /dev")
    (line,) = reported(machine, "containerd")
    assert line.endswith("on no thin pool")


def test_docker_on_what_lies_on_a_thin_volume(machine: Machine) -> None:
    """Through a link, a linear device and the volume, while Docker is down as well."""
    device = thin_volume(machine)
    sectors = machine.run(("blockdev", "--getsz", device)).stdout.strip()
    machine.run(f"dmsetup create wrapped --table '0 {sectors} linear {device} 0'")
    scenarios.mounted(machine, "/dev/mapper/wrapped", ROOT)
    machine.run("rm -rf /var/lib/docker; ln -s ../../srv/docker /var/lib/docker")
    scenarios.docker_overlay(machine)
    # Docker has followed the link itself; what its configuration says, we follow.
    labels = {"engine": "docker", "driver": "overlay2", **POOL}
    assert collect(machine).value(INFO, path=ROOT, **labels) == 1

    machine.run("systemctl stop docker docker.socket", timeout_seconds=120)
    metrics = collect(machine)

    assert metrics.value(UP) == 0
    assert metrics.value(INFO, path="/var/lib/docker", **labels) == 1


def test_docker_on_an_ordinary_volume(machine: Machine) -> None:
    """In the pool's own group, and yet not on the pool: said, and not guessed."""
    scenarios.make_pool(machine, SMALL)
    machine.run("lvcreate -qq -y -n plain -L 1G docker")
    scenarios.mounted(machine, "/dev/docker/plain", ROOT)
    scenarios.docker_overlay(machine, ROOT)

    metrics = collect(machine)

    assert metrics.value(INFO, engine="docker", path=ROOT, **NONE) == 1
    assert metrics.value("thinpool_docker_info", storage_driver="overlay2", **NONE) == 1
    (line,) = reported(machine, "Docker")
    assert line.endswith("ext4 on /dev/mapper/docker-plain, on no thin pool")


def test_the_sandboxed_guard_needs_no_client(served: Machine, web: Guest) -> None:
    """It reaches the socket, and sees a file system that was mounted after its start."""
    scenarios.mounted(served, "/dev/docker/volume", ROOT)
    scenarios.docker_overlay(served, ROOT)
    served.run("mv /usr/bin/docker /usr/bin/docker.away")

    metrics = web.scrape_until(
        lambda seen: (
            seen.value(UP) == 1
            and seen.value(INFO, engine="docker", path=ROOT, driver="overlay2", **POOL) == 1
        ),
        seconds=PATIENCE_SECONDS,
    )

    assert metrics.value(UP) == 1
    assert metrics.value(INFO, engine="docker", path=ROOT, driver="overlay2", **POOL) == 1
    assert metrics.value("thinpool_docker_info", storage_driver="overlay2", **POOL) == 1
    assert f"{ROOT} (overlay2): on pool docker/thinpool" in page(served)


def page(machine: Machine) -> str:
    """Read the status page, its signs as they are shown."""
    return machine.run("curl -s http://127.0.0.1:10128/").stdout


def test_data_that_is_hidden_from_the_guard_is_placed(served: Machine, web: Guest) -> None:
    """Its sandbox has an empty /home; the host's mounts it can read all the same."""
    scenarios.mounted(served, "/dev/docker/volume", "/home/docker")
    scenarios.docker_overlay(served, "/home/docker")

    metrics = web.wait_for(PATIENCE_SECONDS, UP, 1)
    assert metrics.value(INFO, engine="docker", path="/home/docker", **POOL) == 1
    (line,) = reported(served, "Docker")
    assert line.startswith("/home/docker (overlay2): on pool docker/thinpool")


def silence(guest: Guest) -> str:
    """Find what the log says last of a Docker that is silent."""
    failures = [line for line in guest.events("source_failed") if line["source"] == "docker"]
    return str(failures[-1]["error"])


def test_a_stopped_dockerd_is_told_from_one_that_waits(machine: Machine) -> None:
    """Stopped, it answers nothing; afterwards it is asked again, and answers."""
    scenarios.docker_overlay(machine)
    machine.write(CONFIG, INTERVALS)
    with running(machine) as guest:
        guest.wait_for(PATIENCE_SECONDS, UP, 1)
        machine.run("systemctl kill --kill-who=main -s STOP docker")

        guest.wait_for(PATIENCE_SECONDS, UP, 0)
        assert "stopped or dead" in silence(guest)
        _, report = check(machine)
        assert "Docker does not answer" in report
        assert "stopped or dead" in report

        machine.run("systemctl kill --kill-who=main -s CONT docker")
        guest.wait_for(PATIENCE_SECONDS, UP, 1)


def test_a_docker_that_was_stopped_is_not_started(served: Machine, web: Guest) -> None:
    """Systemd listens at its socket: `systemctl stop docker`, and it stays so."""
    scenarios.docker_overlay(served)
    served.run("systemctl start docker.socket")
    web.wait_for(PATIENCE_SECONDS, UP, 1)

    served.run("systemctl stop docker.service", timeout_seconds=120)
    web.wait_for(PATIENCE_SECONDS, UP, 0)
    wait_until(
        lambda: bool(web.events("source_absent")),
        deadline_seconds=PATIENCE_SECONDS,
        what="told",
    )

    _, report = check(served)
    assert re.search(r"^ *Docker +not running$", report, re.MULTILINE)
    assert "does not answer" not in report
    assert served.is_active("docker.socket")
    assert not served.is_active("docker.service")
    # The very next question starts it.
    served.run("docker version", timeout_seconds=120)
    web.wait_for(PATIENCE_SECONDS, UP, 1)


@pytest.fixture(scope="module")
def on_devicemapper_kept(booted: Machine) -> str:
    """Run Docker's devicemapper on a pool."""

    def make(machine: Machine) -> None:
        scenarios.mask_dmeventd(machine)
        scenarios.make_pool(machine, SMALL)
        scenarios.docker_direct_lvm(machine)
        machine.write(CONFIG, INTERVALS)

    return kept_with_devicemapper(booted, "on-devicemapper", make)


@pytest.fixture
def on_devicemapper(booted: Machine, on_devicemapper_kept: str) -> Machine:
    """Give the machine with Docker's devicemapper."""
    booted.restore(on_devicemapper_kept)
    return booted


def test_docker_with_devicemapper(on_devicemapper: Machine) -> None:
    """The pool is the one that Docker names, whatever its directory is on."""
    metrics = collect(on_devicemapper)

    labels = {"engine": "docker", "path": "/var/lib/docker", "driver": "devicemapper"}
    assert metrics.value(INFO, **labels, **POOL) == 1
    assert metrics.value("thinpool_docker_info", **POOL) == 1
    assert metrics.value("thinpool_docker_data_size_bytes") == pytest.approx(
        400 * 2**20, rel=1e-3
    )


def test_docker_on_two_devices_of_its_own(machine: Machine) -> None:
    """Its pool is neither LVM's nor on files: shown by the kernel's figures and by its name."""
    if not machine.image.release.has_devicemapper:
        pytest.skip(f"Docker of {machine.image.release.name} has no devicemapper")
    disk = faults.Disk(machine)
    faults.run(machine, disk.cut("data", DATA_MIB), disk.cut("meta", 32))
    scenarios.docker_on_devices(machine, "/dev/mapper/pv-data", "/dev/mapper/pv-meta")
    scenarios.docker_import_busybox(machine)
    scenarios.docker_run(machine, "dd if=/dev/zero of=/f bs=1M count=20; sync", "--name=one")

    metrics = collect(machine)

    ((pool, status),) = scenarios.dm_status(machine).items()
    own = {"vg": "", "pool": pool}
    labels = {"engine": "docker", "path": "/var/lib/docker", "driver": "devicemapper"}
    assert metrics.value(INFO, **labels, **own) == 1
    assert metrics.value("thinpool_docker_info", storage_driver="devicemapper", **own) == 1
    assert metrics.label("thinpool_info", "source", **own) == "device_mapper"
    assert metrics.value("thinpool_data_size_bytes", **own) == DATA_MIB * faults.MIB
    used = (status.used_data or 0) * CHUNK_BYTES
    assert metrics.value("thinpool_data_used_bytes", **own) == used
    for loopback in ("thinpool_loopback", "thinpool_docker_loopback_warning"):
        assert metrics.value(loopback) == 0
    _, report = check(machine)
    assert pool in report
    assert "loop" not in report


def test_containerd_in_a_pool(machine: Machine) -> None:
    """Its snapshotter's pool is named by its configuration, and has a real snapshot in it."""
    scenarios.make_pool(machine, SMALL)
    scenarios.docker_overlay(machine)
    image = scenarios.docker_import_busybox(machine)
    machine.run(f"docker save -o /root/image.tar {image}", timeout_seconds=120)
    scenarios.containerd_devmapper(machine, "docker-thinpool")
    # containerd 2 unpacks by itself, and into its default snapshotter alone, unless it is told.
    local = "$(ctr images import --help | grep -o -m1 -e --local)"
    machine.run(
        f"ctr images import {local} --snapshotter devmapper /root/image.tar",
        timeout_seconds=120,
    )
    # What is unpacked lies there inactive; a container's own snapshot is a device.
    ctr = "ctr snapshots --snapshotter devmapper"
    machine.run(f"{ctr} prepare live $({ctr} ls | awk '/Committed/ {{print $1; exit}}')")
    assert "docker-thinpool-snap-" in machine.run("dmsetup ls").stdout
    assert (scenarios.dm_status(machine)["docker-thinpool"].used_data or 0) > 0

    metrics = collect(machine)

    labels = {"engine": "containerd", "path": DEVMAPPER_ROOT, "driver": "devmapper"}
    assert metrics.value(INFO, **labels, **POOL) == 1
    assert metrics.value(INFO, engine="containerd", path=CONTAINERD_ROOT, **NONE) == 1
    assert f"{DEVMAPPER_ROOT} (devmapper): on pool docker/thinpool" in reported(
        machine, "containerd"
    )


def with_containerd_store(machine: Machine) -> None:
    """Skip where Docker is too old to keep images in containerd's store."""
    if not machine.image.release.has_containerd_store:
        pytest.skip(f"Docker of {machine.image.release.name} has no containerd store")


@pytest.mark.every_release
def test_docker_with_containerds_store_on_a_thin_volume(machine: Machine) -> None:
    """Images lie where containerd keeps them, volumes below Docker's own root."""
    with_containerd_store(machine)
    machine.run("systemctl stop containerd", timeout_seconds=120)
    scenarios.mounted(machine, thin_volume(machine), CONTAINERD_ROOT)
    machine.run("systemctl start containerd", timeout_seconds=120)
    scenarios.docker_containerd_store(machine, "overlayfs")
    scenarios.docker_import_busybox(machine)
    scenarios.docker_run(machine, "echo works")

    for is_told in (True, False):
        metrics = collect(machine)

        assert metrics.value(UP) == is_told
        images = {"engine": "docker", "path": CONTAINERD_ROOT, "driver": "overlayfs"}
        assert metrics.value(INFO, **images, **POOL) == 1
        assert metrics.value(INFO, engine="docker", path="/var/lib/docker", **NONE) == 1
        if is_told:
            labels = {"storage_driver": "overlayfs", **POOL}
            assert metrics.value("thinpool_docker_info", **labels) == 1
            machine.run("systemctl stop docker docker.socket", timeout_seconds=120)


@pytest.mark.every_release
def test_docker_with_containerds_devmapper(machine: Machine) -> None:
    """A container's own volume lies in the pool that containerd's configuration names."""
    with_containerd_store(machine)
    scenarios.make_pool(machine, SMALL)
    scenarios.containerd_devmapper(machine, "docker-thinpool")
    scenarios.docker_containerd_store(machine, "devmapper")
    scenarios.docker_import_busybox(machine)
    scenarios.docker_run(machine, "dd if=/dev/zero of=/f bs=1M count=20; sync", "--name=one")
    assert "docker-thinpool-snap-" in machine.run("dmsetup ls").stdout

    metrics = collect(machine)

    images = {"engine": "docker", "path": CONTAINERD_ROOT, "driver": "devmapper"}
    assert metrics.value(INFO, **images, **POOL) == 1
    assert metrics.value("thinpool_docker_info", storage_driver="devmapper", **POOL) == 1
    _, report = check(machine)
    assert "dm.thinpooldev" not in report


@pytest.mark.any_release
def test_podman_on_a_thin_volume(machine: Machine) -> None:
    """Where podman itself says that its storage is, with a real image in it."""
    if not machine.image.release.has_podman:
        pytest.skip(f"no podman in the image of {machine.image.release.name}")
    scenarios.mounted(machine, thin_volume(machine), PODMAN_ROOT)
    scenarios.podman_storage(machine, PODMAN_ROOT)
    used = collect(machine).value("thinpool_data_used_bytes", **POOL) or 0
    machine.run(
        "tar -C /bin -c busybox | podman import - small", timeout_seconds=PATIENCE_SECONDS
    )
    machine.run(f"sync -f {PODMAN_ROOT}")

    metrics = collect(machine)

    store = "podman info --format '{{.Store.GraphRoot}} {{.Store.GraphDriverName}}'"
    path, driver = machine.run(store, timeout_seconds=PATIENCE_SECONDS).stdout.split()
    assert path == PODMAN_ROOT
    assert metrics.value(INFO, engine="podman", path=path, driver=driver, **POOL) == 1
    assert (metrics.value("thinpool_data_used_bytes", **POOL) or 0) > used
    (line,) = reported(machine, "podman")
    assert line.startswith(f"{PODMAN_ROOT} ({driver}): on pool docker/thinpool, ext4 on /dev")


def test_the_guard_reads_what_its_sandbox_lets_it(served: Machine, web: Guest) -> None:
    """Nothing of all that is a problem to it."""
    scenarios.docker_overlay(served)
    metrics = web.wait_for(PATIENCE_SECONDS, UP, 1)

    assert metrics.value(INFO, engine="docker", path="/var/lib/docker", **NONE) == 1
    for wall in ("ermission denied", "not permitted"):
        assert wall not in served.journal(GUARD)
    assert units.restarts(served, GUARD) == 0
