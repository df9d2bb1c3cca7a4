"""The guard on real pools: grows what nobody else does, exactly as LVM would have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest

from tests.vm import scenarios
from tests.vm.conftest import READY
from tests.vm.guest import CONFIG, check, running
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool
from tests.vm.waiting import wait_until

MIB = 1024 * 1024
POOL = {"vg": "docker", "pool": "thinpool"}
DM_NAME = "docker-thinpool"
# A pool as Docker uses it: without thin volumes of LVM's, so its device has no suffix.
SMALL = Pool(data="500M", metadata="4M", chunk="64K", error_when_full=False)

ABSENCES: dict[str, Callable[[Machine, str], None]] = {
    "binary": lambda machine, _: scenarios.without_dmeventd_binary(machine),
    "masked": lambda machine, _: scenarios.mask_dmeventd(machine),
    "unmonitored": scenarios.unmonitor,
}


def fill_data(machine: Machine, mib: int) -> None:
    """Map this much of the pool through a thin volume that LVM does not know."""
    sectors = 4 * 1024 * 2048
    machine.run(f"dmsetup message {DM_NAME} 0 'create_thin 1'")
    machine.run(f"dmsetup create thin1 --table '0 {sectors} thin /dev/mapper/{DM_NAME} 1'")
    result = scenarios.fill(machine, "/dev/mapper/thin1", mib)
    assert result.returncode == 0, result.stderr


def totals(machine: Machine) -> tuple[int, int]:
    """Read the kernel's totals of data and metadata, in blocks."""
    status = scenarios.dm_status(machine)[DM_NAME]
    assert status.total_data is not None
    assert status.total_metadata is not None
    return status.total_data, status.total_metadata


FILLED = "filled"


class Filled(NamedTuple):
    """A snapshot of a pool over both thresholds, and what LVM's own policy makes of it."""

    machine: Machine
    before: tuple[int, int]
    expected: tuple[int, int]


@pytest.fixture(scope="module")
def filled(booted: Machine) -> Filled:
    """Fill a pool, keep that state, and let lvextend --use-policies show the way."""
    booted.restore(READY)
    scenarios.make_pool(booted, SMALL)
    fill_data(booted, 410)
    scenarios.fill_metadata(booted, DM_NAME, 78)
    before = totals(booted)
    booted.snapshot(FILLED)
    booted.run(("env", "LVM_RUN_BY_DMEVENTD=1", "lvextend", "--use-policies", SMALL.name))
    return Filled(booted, before, totals(booted))


def udev_facts(machine: Machine) -> list[str]:
    """Read what udev knows of the pool's devices, their links, and cookies that are left."""
    names = "$(dmsetup ls -o devname | sed -n 's/^\\(docker[^ ]*\\).*/\\1/p' | sort)"
    known = f"for name in {names}; do udevadm info --query=property /dev/mapper/$name; done"
    links = "ls -l /dev/docker /dev/mapper | sed 's/.* //'"
    facts = f"{{ dmsetup udevcookies; {links}; {known}; }}"
    # Links stand in any order. The others tell of the last event, here the writer's.
    unlike = "DEVLINKS\\|SEQNUM\\|USEC\\|DM_ACTIVATION"
    text = machine.run(f"udevadm settle; {facts} | grep -v '{unlike}' | sort").stdout
    return text.splitlines()


@pytest.mark.every_release
def test_udev_knows_as_much_without_being_waited_for(machine: Machine) -> None:
    """Extension after extension, each while udev follows the one before."""
    scenarios.mask_dmeventd(machine)
    # By steps of the policy alone: what the guard gives ahead depends on this machine's speed.
    machine.write(CONFIG, "guard: {anticipate: false}\n")
    pool = scenarios.make_pool(machine, Pool(chunk="512K", error_when_full=False))
    device = scenarios.make_volume(machine, pool)
    before = udev_facts(machine)
    assert f"DEVNAME={machine.run(('readlink', '-f', device)).stdout.strip()}" in before

    with running(machine) as guest:
        guest.wait_for(60, "thinpool_guard_responsible", 1, **POOL)
        assert scenarios.fill(machine, device, 700).returncode == 0
        wait_until(
            lambda: len(guest.events("pool_extended")) > 1,
            deadline_seconds=60,
            what="it is extended again and again",
        )
        assert not guest.events("extend_failed")

    archived = machine.run("grep -h ^description /etc/lvm/archive/docker_*").stdout
    assert archived.count("--noudevsync") >= 2, archived
    assert udev_facts(machine) == before


@pytest.mark.every_release
@pytest.mark.parametrize("absence", ABSENCES)
def test_grows_exactly_as_lvm_would_have(filled: Filled, absence: str) -> None:
    """Data and metadata, to the block, and without waking dmeventd."""
    machine = filled.machine
    machine.restore(FILLED)
    if absence == "unmonitored":
        scenarios.start_dmeventd(machine, SMALL.name)
    ABSENCES[absence](machine, SMALL.name)
    assert totals(machine) == filled.before
    pid = scenarios.dmeventd_pid(machine)

    with running(machine) as guest:
        metrics = guest.wait_for(60, "thinpool_guard_extends_total", 1, device="data", **POOL)

    assert totals(machine) == filled.expected
    assert filled.expected[0] > filled.before[0]
    assert filled.expected[1] > filled.before[1]
    assert metrics.value("thinpool_guard_extends_total", device="metadata", **POOL) == 1
    assert metrics.value("thinpool_guard_responsible", **POOL) == 1
    assert scenarios.dmeventd_pid(machine) == pid
    assert (pid is not None) == (absence == "unmonitored")


CONTAINERS = (
    "unshare --mount --pid --fork --mount-proc "
    "sh -c 'mount -t tmpfs tmpfs /run; exec dmeventd -f'"
)


@pytest.mark.every_release
def test_a_containers_dmeventd_is_not_the_hosts(filled: Filled) -> None:
    """LVM does not find it, so nobody asks for its monitoring, and the guard extends."""
    machine = filled.machine
    machine.restore(FILLED)
    scenarios.mask_dmeventd(machine)
    machine.start(CONTAINERS, unit="container")
    machine.wait_until("pidof dmeventd", 30)
    pid = scenarios.dmeventd_pid(machine)

    with running(machine) as guest:
        metrics = guest.wait_for(60, "thinpool_guard_extends_total", 1, device="data", **POOL)

    assert metrics.value("thinpool_dmeventd_up") == 0
    assert totals(machine) == filled.expected
    # None was started on the host, as a question for its monitoring would have done.
    assert scenarios.dmeventd_pid(machine) == pid
    assert machine.run("pidof dmeventd | wc -w").stdout.strip() == "1"


def test_observe_only_says_what_it_would_do(filled: Filled) -> None:
    """The pool stays as it is."""
    machine = filled.machine
    machine.restore(FILLED)

    with running(machine, "--guard.mode=observe") as guest:
        guest.wait_for(60, "thinpool_guard_state", 1, reason="observe_only", **POOL)
        status, report = check(machine)

    assert totals(machine) == filled.before
    assert status == 2
    assert "not protected" in report


@pytest.mark.every_release
def test_leaves_a_monitored_pool_to_dmeventd(machine: Machine) -> None:
    """It does nothing and says so, while dmeventd extends."""
    pool = scenarios.make_pool(machine, SMALL)
    scenarios.start_dmeventd(machine, pool.name)

    with running(machine) as guest:
        guest.wait_for(60, "thinpool_monitored", 1, **POOL)
        fill_data(machine, 410)
        wait_until(
            lambda: totals(machine)[0] > 8000, deadline_seconds=60, what="dmeventd extends"
        )
        metrics = guest.wait_for(
            60, "thinpool_guard_state", 1, reason="dmeventd_monitors", **POOL
        )
        status, report = check(machine)

        assert metrics.value("thinpool_guard_responsible", **POOL) == 0
        assert metrics.value("thinpool_guard_extends_total", device="data", **POOL) == 0
        assert not guest.events("extending")
        assert "protected by dmeventd" in report
        assert status == 0, report


@pytest.mark.every_release
def test_takes_what_the_articles_layout_leaves(machine: Machine) -> None:
    """LVM gives nothing there; we give all there is, say what lacks, and wait for a PV."""
    scenarios.mask_dmeventd(machine)
    scenarios.article_pool(machine, size="1G")
    scenarios.stop_dmeventd(machine)  # the article's lvchange has started it
    size_mib = totals(machine)[0] // 2  # chunks of 512 KiB
    fill_data(machine, size_mib * 90 // 100)
    refused = machine.run(
        "LVM_RUN_BY_DMEVENTD=1 lvextend --use-policies docker/thinpool", check=False
    )
    assert refused.returncode == 5
    assert "Insufficient free space" in refused.stderr
    free = scenarios.free_extents(machine)

    with running(machine) as guest:
        metrics = guest.wait_for(60, "thinpool_guard_state", 1, reason="no_space", **POOL)
        assert metrics.value("thinpool_guard_clamped_extends_total", **POOL) == 1
        added = metrics.value("thinpool_guard_extended_bytes_total", device="data", **POOL)
        assert added == free * 4 * MIB
        assert scenarios.free_extents(machine) == 0
        status, report = check(machine)
        assert status == 2
        assert "the VG lacks" in report
        assert "vgextend docker" in report

        machine.run(("vgextend", "docker", machine.disk("data1")))
        metrics = guest.wait_for(20, "thinpool_guard_extends_total", 2, device="data", **POOL)
        guest.wait_for(20, "thinpool_guard_state", 1, reason="below_threshold", **POOL)


def test_a_container_that_writes_on_and_on_never_sees_an_error(machine: Machine) -> None:
    """Several steps of policy under a steady writer; afterwards every byte is there.

    With anticipation one extension, of what ten seconds at the first rate seen would take,
    may be all that there is.
    """
    if not machine.image.release.has_devicemapper:
        pytest.skip(f"Docker of {machine.image.release.name} has no devicemapper")
    scenarios.mask_dmeventd(machine)
    scenarios.make_pool(machine, replace(SMALL, data="300M"))
    scenarios.docker_direct_lvm(machine)
    scenarios.docker_import_busybox(machine)
    parts = 18  # of 16 MiB: 288 MiB, beside Docker's own, into a pool of 300
    seed = "seq 1 2300000 | head -c 16777216"
    script = (
        f"set -e; {seed} > /tmp/part; for i in $(seq 1 {parts}); "
        "do cat /tmp/part >> /file; sync; sleep 1; done; touch /done; sleep 1000"
    )

    machine.write(CONFIG, "guard: {anticipate: false}\n")
    with running(machine) as guest:
        options = ("--detach", "--name=writer", "--tmpfs=/tmp")
        scenarios.docker_run(machine, script, *options)
        machine.wait_until("docker exec writer test -e /done", 300)
        metrics = guest.metrics()

    # What the page cache remembers proves nothing about the pool.
    machine.run("sync; echo 3 > /proc/sys/vm/drop_caches")
    inside = machine.run("docker exec writer md5sum /file", timeout_seconds=120).stdout
    whole = f"for i in $(seq 1 {parts}); do cat /root/part; done | md5sum"
    outside = machine.run(f"{seed} > /root/part; {whole}", timeout_seconds=120).stdout
    assert inside.split()[0] == outside.split()[0]
    extends = metrics.value("thinpool_guard_extends_total", device="data", **POOL) or 0
    assert extends >= 2
    assert metrics.value("thinpool_mode", mode="rw", **POOL) == 1
    full = machine.run("dmesg | grep -c 'switching pool to out-of-data-space'", check=False)
    assert full.stdout.strip() == "0"
    assert scenarios.dmeventd_pid(machine) is None


def test_a_full_pool_is_brought_back(machine: Machine) -> None:
    """Full and queueing when the guard starts: it grows, and the writer goes on."""
    scenarios.mask_dmeventd(machine)
    scenarios.make_pool(machine, SMALL)
    machine.run(f"dmsetup message {DM_NAME} 0 'create_thin 1'")
    machine.run(f"dmsetup create thin1 --table '0 8388608 thin /dev/mapper/{DM_NAME} 1'")
    writer = machine.start(scenarios.fill_command("/dev/mapper/thin1", 600))
    wait_until(
        lambda: scenarios.dm_status(machine)[DM_NAME].mode == "out_of_data_space",
        deadline_seconds=60,
        what="the pool is full",
    )

    with running(machine) as guest:
        guest.wait_for(60, "thinpool_mode", 1, mode="rw", **POOL)
        wait_until(
            lambda: not machine.is_active(writer), deadline_seconds=120, what="the writer ends"
        )

    assert "Result: success" not in machine.journal(writer)
    failed = machine.run(("systemctl", "is-failed", writer), check=False).stdout.strip()
    assert failed != "failed"


@pytest.mark.every_release
def test_a_pool_without_metadata_space_is_mended(machine: Machine) -> None:
    """The kernel makes it read-only; growing the metadata makes it writable again."""
    scenarios.mask_dmeventd(machine)
    scenarios.make_pool(machine, SMALL)
    scenarios.fill_metadata(machine, DM_NAME)
    before = scenarios.dm_status(machine)[DM_NAME]

    with running(machine) as guest:
        if before.needs_check:
            guest.wait_for(60, "thinpool_guard_state", 1, reason="needs_check", **POOL)
            assert not guest.events("extending")
        else:
            guest.wait_for(60, "thinpool_mode", 1, mode="rw", **POOL)
            assert totals(machine)[1] > (before.total_metadata or 0)
