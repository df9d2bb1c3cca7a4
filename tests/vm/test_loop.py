"""Docker out of the box, on loop devices: shown, explained, and never touched."""

from __future__ import annotations

import pytest

from tests.vm import scenarios
from tests.vm.conftest import kept_with_devicemapper
from tests.vm.guest import check, collect, running
from tests.vm.machine import Machine


@pytest.fixture(scope="module")
def on_loop_kept(booted: Machine) -> str:
    """Start Docker on loop-lvm, and keep that state."""

    def make(machine: Machine) -> None:
        scenarios.docker_loop_lvm(machine)
        scenarios.docker_import_busybox(machine)

    return kept_with_devicemapper(booted, "on-loop", make)


@pytest.fixture
def on_loop(booted: Machine, on_loop_kept: str) -> Machine:
    """Give the machine with Docker on loop-lvm."""
    booted.restore(on_loop_kept)
    return booted


def test_the_metrics_of_loopback(on_loop: Machine) -> None:
    """They are 1, and the space below the sparse files is that of their file system."""
    machine = on_loop
    metrics = collect(machine)
    (pool,) = scenarios.dm_status(machine)
    files = machine.run("stat -f -c '%f %S' /var/lib/docker/devicemapper").stdout.split()
    free = int(files[0]) * int(files[1])

    assert metrics.value("thinpool_docker_loopback_warning") == 1
    assert metrics.value("thinpool_loopback", vg="", pool=pool) == 1
    backing = metrics.value("thinpool_loopback_backing_free_bytes", pool=pool) or 0
    assert abs(backing - free) <= 4 * 1024**2  # others write there, too
    assert metrics.label("thinpool_docker_info", "pool") == pool
    assert metrics.label("thinpool_info", "source", pool=pool) == "device_mapper"
    status = scenarios.dm_status(machine)[pool]
    assert metrics.value("thinpool_data_used_bytes", pool=pool) == (
        (status.used_data or 0) * 65536
    )


def test_check_says_what_is_wrong_and_how_to_move(on_loop: Machine) -> None:
    """A warning with the commands of the way to direct-lvm."""
    status, report = check(on_loop)

    assert status == 1
    for words in ("loop", "direct-lvm", "pvcreate", "vgcreate", "dm.thinpooldev"):
        assert words in report


def test_nothing_is_ever_extended(on_loop: Machine) -> None:
    """The guard says that the pool is not LVM's and leaves it alone."""
    machine = on_loop
    with running(machine, "--guard.mode=always") as guest:
        scenarios.docker_run(machine, "dd if=/dev/zero of=/f bs=1M count=300; sync")
        metrics = guest.metrics()
        (pool,) = scenarios.dm_status(machine)

        assert metrics.label("thinpool_guard_state", "reason", pool=pool) == "not_lvm"
        for device in ("data", "metadata"):
            total = metrics.value("thinpool_guard_extends_total", pool=pool, device=device)
            assert total == 0
        assert not guest.events("extending")
