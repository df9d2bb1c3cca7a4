"""Who fills the pool: real containers, of which one writes, and LVM's own volumes."""

from __future__ import annotations

import urllib.request

import pytest

from tests.vm import docked, faults, scenarios
from tests.vm.guest import Guest, Metrics, check, collect
from tests.vm.machine import Machine
from tests.vm.waiting import wait_until

SECTOR_BYTES = 512
MAPPED, SIZE = "thinpool_volume_mapped_bytes", "thinpool_volume_size_bytes"
RATE = "thinpool_volume_fill_bytes_per_second"
IDLE = ("idle", "quiet")
WRITER = "writer"
NAMED_SECONDS, GROWN_SECONDS = 60, 120
SCRAPE_SECONDS = 30
# Slowly, so that the pool has room for as long as the test lasts.
WRITE = "for i in $(seq 60); do dd if=/dev/zero of=/f$i bs=1M count=2; sync; sleep 1; done"


def device_of(machine: Machine, container: str) -> str:
    """Ask Docker for the device of a container."""
    form = "{{.GraphDriver.Data.DeviceName}}"
    return machine.run(("docker", "inspect", "--format", form, container)).stdout.strip()


def mapped_bytes(machine: Machine, device: str) -> int:
    """Ask the kernel what a thin device maps, by dmsetup."""
    words = machine.run(("dmsetup", "status", "--noflush", device)).stdout.split()
    return int(words[3]) * SECTOR_BYTES


def size_bytes(machine: Machine, device: str) -> int:
    """Ask the kernel for the size of a device."""
    return int(machine.run(("blockdev", "--getsize64", f"/dev/mapper/{device}")).stdout)


def page(machine: Machine) -> str:
    """Fetch the status page."""
    url = f"http://127.0.0.1:{machine.port()}/"
    with urllib.request.urlopen(url, timeout=SCRAPE_SECONDS) as answer:
        return str(answer.read().decode())


@pytest.fixture
def crowded(docked: Machine) -> Machine:
    """Start three containers of one image, of which one writes."""
    for name in IDLE:
        scenarios.docker_run(docked, "sleep 3600", "-d", f"--name={name}")
    scenarios.docker_run(docked, WRITE, "-d", f"--name={WRITER}")
    return docked


def test_three_containers_of_which_one_writes(crowded: Machine, guest: Guest) -> None:
    """Each is named, its figures are the kernel's, and the one that writes stands out."""

    def all_are_named(metrics: Metrics) -> bool:
        return all(metrics.value(MAPPED, container=name) for name in (*IDLE, WRITER))

    named = guest.scrape_until(all_are_named, seconds=NAMED_SECONDS)
    grown = guest.scrape_until(
        lambda metrics: bool(metrics.value(RATE, container=WRITER)), seconds=GROWN_SECONDS
    )

    for name in IDLE:
        device = device_of(crowded, name)
        labels = {**docked.POOL, "volume": device, "container": name}
        assert grown.value(MAPPED, **labels) == mapped_bytes(crowded, device)
        assert grown.value(SIZE, **labels) == size_bytes(crowded, device)
        assert grown.value(RATE, **labels) is None
    before = named.value(MAPPED, container=WRITER) or 0
    after = grown.value(MAPPED, container=WRITER) or 0
    rate = grown.value(RATE, container=WRITER) or 0
    assert device_of(crowded, WRITER) == grown.label(MAPPED, "volume", container=WRITER)
    assert after <= mapped_bytes(crowded, device_of(crowded, WRITER))
    # It writes 2 MiB, waits for a second and for the disk: some chunks a second, not hundreds.
    assert 64 * 1024 <= rate <= 8 * 1024**2
    assert after >= before > 0
    # The layers of the image are not active: they have no figures, and no series.
    assert {line for line in grown.text.splitlines() if "docker-" in line and MAPPED in line}
    status, report = check(crowded)
    assert f"growing    container {WRITER} (image {scenarios.BUSYBOX_IMAGE}) gains " in report
    assert all(f"container {name} (image " in report for name in IDLE), status
    assert f"container {WRITER} (image {scenarios.BUSYBOX_IMAGE}) gains " in page(crowded)


def test_a_daemon_that_hangs_costs_no_name(crowded: Machine, guest: Guest) -> None:
    """A container's name is read from a file, and Docker's pool may be full of it."""
    crowded.run("pkill -STOP -x dockerd")
    guest.wait_for(NAMED_SECONDS, "thinpool_docker_up", 0)

    status, report = check(crowded)

    assert f"container {WRITER} (image {scenarios.BUSYBOX_IMAGE})" in report, status
    assert guest.metrics().value(MAPPED, container=IDLE[0]) is not None
    crowded.run("pkill -CONT -x dockerd")


def test_lvms_own_volumes_are_named_by_lv(machine: Machine) -> None:
    """Dashes, a thin snapshot, an inactive one, and a layer under a thick snapshot."""
    faults.prepared(machine)
    group = faults.Disk(machine).group("my-vg", 500)
    pool = "my-vg/my-pool"
    quiet = faults.QUIET
    faults.run(machine, group, faults.pool(pool))
    machine.run(
        f"lvcreate -qq -y {quiet} -V 1G -T {pool} -n my-lv && "
        f"lvcreate -qq -y {quiet} -V 1G -T {pool} -n below && "
        f"lvcreate -qq -y {quiet} -V 1G -T {pool} -n off && "
        "dd if=/dev/zero of=/dev/my-vg/my-lv bs=1M count=7 oflag=direct && "
        "dd if=/dev/zero of=/dev/my-vg/below bs=1M count=5 oflag=direct && "
        f"lvcreate -qq -y {quiet} -kn -s -n my-snap my-vg/my-lv && "
        f"lvcreate -qq -y {quiet} -s -L 20M -n thick my-vg/below && "
        f"lvchange -qq {quiet} -an my-vg/off"
    )
    devices = {
        "my-lv": "my--vg-my--lv",
        "my-snap": "my--vg-my--snap",
        "below": "my--vg-below-real",
    }

    metrics = collect(machine)

    for volume, device in devices.items():
        labels = {"vg": "my-vg", "pool": "my-pool", "volume": volume, "container": ""}
        assert metrics.value(MAPPED, **labels) == mapped_bytes(machine, device), volume
        assert metrics.value(SIZE, **labels) == 1024**3
    assert metrics.value(MAPPED, volume="my-lv") == 7 * 1024**2
    assert metrics.value(MAPPED, volume="off") is None
    assert metrics.value("thinpool_thin_volumes", pool="my-pool") == 4


def test_check_alone_looks_twice(machine: Machine) -> None:
    """Without a guard to ask, it watches for a second."""
    pool = scenarios.make_pool(machine, docked.SMALL)
    volume = scenarios.make_volume(machine, pool)
    machine.start(
        f"for i in $(seq 300); do dd if=/dev/zero of={volume} bs=64k count=2 seek=$i "
        "oflag=direct conv=notrunc; sleep 0.05; done",
        unit="writer",
    )
    wait_until(
        lambda: mapped_bytes(machine, "docker-volume") > 0,
        deadline_seconds=NAMED_SECONDS,
        what="the writer has begun",
    )

    _, report = check(machine)

    assert "growing    volume gains " in report
    assert "largest    volume maps " in report
