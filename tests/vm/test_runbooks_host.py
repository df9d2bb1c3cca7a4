"""Runbooks of a host: Docker, its loop devices, the units and what they read."""

from __future__ import annotations

import re

import pytest

from tests.vm import faults, scenarios, units
from tests.vm.conftest import READY
from tests.vm.docked import (
    ACT,
    COLLECT,
    OBSERVE,
    PATIENCE_SECONDS,
    POOL,
    configure,
    fill_to,
)
from tests.vm.guest import CONFIG, Guest, check
from tests.vm.machine import Machine
from tests.vm.runbook import Filed, Runbook
from tests.vm.units import GUARD, WEB

pytestmark = pytest.mark.campaign

DOCKER_UP = "thinpool_docker_up"
FLAGS = "/etc/default/thinpool-exporter"


def test_a_docker_that_does_not_answer(docked: Machine, guest: Guest) -> None:
    """Stopped, ended, or hanging: seen by the same commands."""
    book = Runbook(docked, "ThinPoolDockerDown")
    guest.wait_for(PATIENCE_SECONDS, DOCKER_UP, 1)
    docked.run("systemctl kill --kill-who=main -s STOP docker")
    guest.wait_for(2 * PATIENCE_SECONDS, DOCKER_UP, 0)
    assert " T" in book.diagnose()

    book.follow("If its process is stopped")
    guest.wait_for(2 * PATIENCE_SECONDS, DOCKER_UP, 1)
    book.follow("If it runs and hangs (stops the containers)")
    docked.run("systemctl stop docker.socket docker")
    book.follow("If it does not run")
    guest.wait_for(2 * PATIENCE_SECONDS, DOCKER_UP, 1)


def test_a_docker_that_makes_no_more_containers(docked: Machine, guest: Guest) -> None:
    """It does again as soon as its pool has been extended."""
    configure(docked, OBSERVE)
    fill_to(docked, 92)
    free, least = "thinpool_docker_data_available_bytes", "thinpool_docker_min_free_space_bytes"
    guest.scrape_until(
        lambda now: (now.value(free) or 0) <= (now.value(least) or 0), seconds=PATIENCE_SECONDS
    )
    refused = docked.run("docker run --network=none --rm busybox:vm true", check=False)
    assert "free data blocks" in refused.stderr
    # Its alert has no label of a pool: the page knows which one is Docker's.
    book = Runbook(docked, "ThinPoolDockerMinFreeSpace")
    assert "Minimum Free Space" in book.diagnose()

    book.follow("If the group has free space")

    scenarios.docker_run(docked, "true", "--rm")
    metrics = guest.scrape_until(
        lambda now: (now.value(free) or 0) > (now.value(least) or 0), seconds=PATIENCE_SECONDS
    )
    assert (metrics.value(free) or 0) > (metrics.value(least) or 0)


def test_a_guard_that_does_nothing(docked: Machine, guest: Guest) -> None:
    """It is started again, and the page tells its age until then."""
    cycle = "thinpool_guard_last_cycle_timestamp_seconds"
    book = Runbook(docked, "ThinPoolGuardStale")
    docked.run(f"systemctl disable --now {GUARD}")
    seen = guest.metrics().value(cycle) or 0
    said = book.diagnose()
    assert "inactive (dead)" in said
    assert "no guard is running" in said

    for heading in ("If it does not run", "Start it again", "If it cannot be understood"):
        book.follow(heading)
        assert cycled_after(guest, seen) > seen, heading
        seen = guest.metrics().value(cycle) or 0
    assert docked.run(f"systemctl is-enabled {GUARD}").stdout.strip() == "enabled"


def test_a_guard_that_waits_for_a_disk(docked: Machine, guest: Guest) -> None:
    """Docker's pool writes its metadata to a disk that hangs; who asks of it cannot end."""
    book = Runbook(docked, "ThinPoolGuardStale")
    docked.run("dmsetup suspend pv-docker-0")
    pid = units.main_pid(docked, GUARD)
    waiting = f"cat /proc/{pid}/task/*/stat | grep -q ') D '"
    docked.wait_until(waiting, PATIENCE_SECONDS)
    seen = cycle(guest)
    assert cycled_after(guest, seen) > seen  # it has stepped over that pool
    docked.run("systemctl --no-block restart thinpool-guard")

    said = book.diagnose(until=1)
    assert re.search(r"^ *\d+ +\d+ D.*thinpool-exporter guard", said, re.MULTILINE)
    assert re.search(r"^pv-docker-0 +Suspended", said, re.MULTILINE)
    seen = cycle(guest)
    assert cycled_after(guest, seen, seconds=10) == seen
    book.follow("If it waits for a disk", DEVICE="pv-docker-0")
    assert cycled_after(guest, seen) > seen


def test_a_guard_that_keeps_meeting_errors(docked: Machine, guest: Guest) -> None:
    """Its journal and `check` are read, and it is started again."""
    book = Runbook(docked, "ThinPoolGuardErrors")
    assert "docker/thinpool" in book.diagnose()
    seen = cycle(guest)

    book.follow("If it is a bug")
    assert cycled_after(guest, seen) > seen


def cycle(guest: Guest) -> float:
    """Tell when the guard's last cycle was."""
    return guest.metrics().value("thinpool_guard_last_cycle_timestamp_seconds") or 0


def cycled_after(guest: Guest, seen: float, seconds: float = PATIENCE_SECONDS) -> float:
    """Wait for a cycle of the guard's later than this one, and tell when the last was."""
    name = "thinpool_guard_last_cycle_timestamp_seconds"
    metrics = guest.scrape_until(lambda now: (now.value(name) or 0) > seen, seconds=seconds)
    return metrics.value(name) or 0


def test_a_source_that_cannot_be_read(docked: Machine, guest: Guest) -> None:
    """LVM waits for a device, or is not where it should be; it is read again afterwards."""
    lvm = {"collector": "lvm"}
    book = Runbook(docked, "ThinPoolCollectorStale")
    docked.write(CONFIG, COLLECT.replace("{", "{lvm_deadline: 5s, "))
    docked.run(f"systemctl reload {GUARD}")
    # Not Docker's: while a pool writes its metadata to it, the guard would wait as well.
    faults.run(docked, faults.Disk(docked, "data1").group("other", 64))
    docked.run("dmsetup suspend pv-other-0")
    guest.wait_for(2 * PATIENCE_SECONDS, "thinpool_collector_success", 0, **lvm)

    said = book.diagnose()
    assert re.search(r"^pv-other-0 +Suspended", said, re.MULTILINE)
    book.follow("If a device is suspended, and no LVM command is at work", DEVICE="pv-other-0")
    guest.wait_for(PATIENCE_SECONDS, "thinpool_collector_success", 1, **lvm)

    docked.write(CONFIG, "commands: {lvm: /nonexistent}\n")
    docked.run(f"systemctl restart {GUARD}", timeout_seconds=60)
    guest.wait_for(PATIENCE_SECONDS, "thinpool_collector_success", 0, **lvm)
    configure_quietly(docked)
    book.follow("If LVM cannot be read at all")
    guest.wait_for(PATIENCE_SECONDS, "thinpool_collector_success", 1, **lvm)
    book.follow("If the kernel cannot be read")
    guest.wait_for(PATIENCE_SECONDS, "thinpool_collector_success", 1, collector="device_mapper")


def configure_quietly(machine: Machine) -> None:
    """Write the configuration, and leave it to the runbook to have it read."""
    machine.write(CONFIG, f"guard: {{mode: {ACT}, anticipate: false}}\n{COLLECT}")


def test_a_configuration_with_faults(docked: Machine, guest: Guest) -> None:
    """Each is named; the file is mended and read."""
    name = "thinpool_exporter_config_last_reload_successful"
    docked.write(CONFIG, "guard: {mode: sometimes}\n")
    assert docked.run(f"systemctl reload {GUARD}", check=False).returncode != 0
    guest.wait_for(PATIENCE_SECONDS, name, 0)
    book = Runbook(docked, "ThinPoolConfigReloadFailed")

    assert "guard.mode" in book.diagnose()
    configure_quietly(docked)
    book.follow("Mend the file, and have it read")
    guest.wait_for(PATIENCE_SECONDS, name, 1)


def test_an_exporter_that_is_down(docked: Machine, guest: Guest) -> None:
    """Its text is read elsewhere, and its commands are typed on the host."""
    book = Filed(docked, "ThinPoolExporterDown")
    assert "is healthy" in book.diagnose(HOST="127.0.0.1")
    docked.run(f"systemctl stop {WEB}")

    book.follow("If the web side does not run")
    assert guest.metrics().value("thinpool_data_size_bytes", **POOL)

    docked.write(FLAGS, "ARGS=--web.listen-address=nonsense\n")
    docked.run(f"systemctl restart {WEB}", check=False)
    docked.wait_until(f"journalctl -u {WEB} | grep -q nonsense", PATIENCE_SECONDS)
    docked.write(FLAGS, "ARGS=\n")
    book.follow("If its flags or its web configuration are wrong")
    assert guest.metrics().value("thinpool_data_size_bytes", **POOL)

    Filed(docked, "ThinPoolExportersDown").follow("If it was rolled out")
    assert guest.metrics().value("thinpool_data_size_bytes", **POOL)


@pytest.fixture
def on_loop(booted: Machine) -> Machine:
    """Run Docker as it comes out of the box, on loop devices, with both units beside it."""
    if not booted.image.release.has_devicemapper:
        pytest.skip(f"Docker of {booted.image.release.name} has no devicemapper")
    booted.restore(READY)
    faults.prepared(booted)
    scenarios.docker_loop_lvm(booted)
    scenarios.docker_import_busybox(booted)
    configure(booted)
    units.start(booted)
    return booted


def test_docker_leaves_its_loop_devices(on_loop: Machine) -> None:
    """It frees what it can first; then all that was saved is there on a pool of LVM's."""
    machine = on_loop
    guest = Guest(machine, GUARD)
    guest.wait_for(PATIENCE_SECONDS, "thinpool_docker_loopback_warning", 1)
    (pool,) = scenarios.dm_status(machine)
    free_again(machine, Runbook(machine, "ThinPoolLoopBackingFillingUp", pool=pool))
    full = Runbook(machine, "ThinPoolLoopBackingFull", pool=pool)
    assert "devicemapper/data" in full.diagnose()
    full.follow("Free something else on that file system")
    full.follow("Free what can be made again")
    scenarios.docker_import_busybox(machine)
    scenarios.docker_run(machine, "echo written > /own", "--name=own", "-v", "kept:/volume")
    scenarios.docker_run(machine, "echo there > /volume/file", "--rm", "-v", "kept:/volume")
    own = machine.run("docker inspect -f '{{.Id}}' own").stdout[:12]
    book = Runbook(machine, "ThinPoolOnLoopback", pool=pool)
    assert "loopback" in book.diagnose()

    book.follow("Save the images, and what containers wrote")
    book.follow("Stop Docker, and put its directory aside")
    book.follow("Make the pool (loses what is on the disk)", NEW_DISK=machine.disk("data0"))
    book.follow("Tell Docker")
    book.follow("Bring back the images and volumes")

    said = scenarios.docker_run(
        machine, "cat /own /volume/file", "--rm", "-v", "kept:/volume", image=f"saved-{own}"
    )
    assert said.stdout.split() == ["written", "there"]
    guest.wait_for(PATIENCE_SECONDS, "thinpool_loopback", 0, **POOL)
    guest.wait_for(PATIENCE_SECONDS, "thinpool_guard_responsible", 1, **POOL)
    assert check(machine)[0] == 0
    book.follow("When all is back (loses the old images and containers)")


def free_again(machine: Machine, book: Runbook) -> None:
    """Let an image and a deleted file give their space back to the file system below."""
    write = "dd if=/dev/urandom of=/f bs=1M count=40; sync"
    scenarios.docker_run(machine, write, "--name=made")
    machine.run("docker commit made spare:vm && docker rm made", timeout_seconds=120)
    scenarios.docker_run(machine, f"{write}; rm /f; sync; sleep 9999", "-d", "--name=runner")
    machine.wait_until("docker exec runner test ! -e /f", PATIENCE_SECONDS)
    assert "devicemapper/data" in book.diagnose()
    for heading in ("Free what can be made again", "Get back what containers have deleted"):
        before = taken_mib(machine)
        book.follow(heading)
        machine.run("sync")
        assert taken_mib(machine) < before - 30, heading
    book.follow("Free something else on that file system")
    machine.run("docker rm -f runner")
    # The prune took it along, as no container used it.
    scenarios.docker_import_busybox(machine)


def taken_mib(machine: Machine) -> int:
    """Read how much the file under the pool's data takes."""
    return int(
        machine.run("du -m /var/lib/docker/devicemapper/devicemapper/data").stdout.split()[0]
    )
