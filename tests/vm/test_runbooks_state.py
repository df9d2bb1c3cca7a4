"""Runbooks of a pool's state and of what a host lacks: inactive, hanging, filling fast."""

from __future__ import annotations

import pytest

from tests.vm import scenarios
from tests.vm.docked import (
    DEVICE,
    OBSERVE,
    PATIENCE_SECONDS,
    POOL,
    configure,
    plug,
    runbook,
    start_writer,
)
from tests.vm.guest import Guest
from tests.vm.machine import Machine
from tests.vm.runbook import Filed, Runbook
from tests.vm.units import WEB

pytestmark = pytest.mark.campaign

MODE = "thinpool_mode"
ADVISING = {0, 1, 2, 3}  # `check` ends a block and reports by its status


def test_a_pool_that_is_not_active(docked: Machine, guest: Guest) -> None:
    """It is activated again, also when its hidden volumes were left active."""
    book = runbook(docked, "ThinPoolInactive")
    docked.run("systemctl stop docker.socket docker.service", timeout_seconds=120)
    docked.run("lvchange -an docker/thinpool")
    guest.wait_for(PATIENCE_SECONDS, MODE, 1, mode="inactive", **POOL)
    assert "thinpool" in book.diagnose()

    book.follow("Activate it")
    guest.wait_for(PATIENCE_SECONDS, MODE, 1, mode="rw", **POOL)
    docked.run("lvchange -an docker/thinpool; lvchange -ay -y docker/thinpool_tmeta")
    book.follow("If its hidden volumes are active")
    guest.wait_for(PATIENCE_SECONDS, MODE, 1, mode="rw", **POOL)
    assert book.attempt("Is it over?").returncode in {*ADVISING}


def test_a_pool_that_hangs(docked: Machine, guest: Guest) -> None:
    """A command was killed in the middle: the device is resumed."""
    book = runbook(docked, "ThinPoolHangs")
    docked.run(("dmsetup", "suspend", "--nolockfs", "--noflush", DEVICE))
    guest.wait_for(PATIENCE_SECONDS, "thinpool_suspended", 1, **POOL)
    assert "Suspended" in book.diagnose()

    book.follow("If nothing is at work", DEVICE=DEVICE)

    guest.wait_for(PATIENCE_SECONDS, "thinpool_suspended", 0, **POOL)
    assert book.attempt("Is it over?").returncode in ADVISING


def test_a_pool_that_fills_fast(docked: Machine) -> None:
    """Each way to gain time or space works while a container writes."""
    plug(docked)
    book = runbook(docked, "ThinPoolFillingFast")
    scenarios.docker_run(docked, "while :; do date >> /f; sync; done", "-d", "--name=busy")
    assert "busy" in book.diagnose()

    book.follow("Buy time for when it is full")
    timeout = "/sys/module/dm_thin_pool/parameters/no_space_timeout"
    assert docked.read(timeout).strip() == "600"
    book.follow("Let it write more slowly", CONTAINER="busy")
    docked.run("docker unpause busy")
    book.follow("Stop what fills it", CONTAINER="busy")
    book.follow("Free what can be made again")
    book.follow("Give the group another disk", NEW_DISK=docked.disk("data1"))
    assert scenarios.free_extents(docked) > 0


def test_the_kernel_reads_its_patience_when_a_pool_becomes_full(
    docked: Machine, guest: Guest
) -> None:
    """Raised before, it holds; raised afterwards, the 60 s of before are all that there are."""
    configure(docked, OBSERVE)
    plug(docked)
    docked.run("echo 600 > /sys/module/dm_thin_pool/parameters/no_space_timeout")
    start_writer(docked, 500)
    guest.wait_for(PATIENCE_SECONDS, MODE, 1, mode="out_of_data_space", **POOL)
    docked.run("echo 10 > /sys/module/dm_thin_pool/parameters/no_space_timeout")

    # Three times the new value. It was written after the pool had become full.
    docked.run("sleep 30")

    assert scenarios.dm_status(docked)[DEVICE].queues_when_full


def test_a_pool_that_needs_disks(docked: Machine) -> None:
    """A disk, or less that is kept."""
    book = runbook(docked, "ThinPoolFullWithinWeeks")
    assert "thinpool" in book.diagnose()
    book.follow("Keep less")
    book.follow("Add a disk", NEW_DISK=docked.disk("data1"))


def test_space_that_is_not_returned(docked: Machine, guest: Guest) -> None:
    """A snapshot of the metadata is released, and discards are passed on."""
    book = runbook(docked, "ThinPoolSpaceNotReturned")
    held = "thinpool_metadata_snapshot_held"
    docked.run(f"dmsetup message {DEVICE} 0 reserve_metadata_snap")
    guest.wait_for(PATIENCE_SECONDS, held, 1, **POOL)
    assert "thin-pool" in book.diagnose()
    book.follow("If a metadata snapshot is held")
    guest.wait_for(PATIENCE_SECONDS, held, 0, **POOL)

    book.follow("If discards are ignored")

    found = docked.run("lvs --noheadings -o discards docker/thinpool").stdout
    assert found.strip() == "nopassdown"


def test_a_guard_that_lacks_something(docked: Machine, guest: Guest) -> None:
    """It is started again, and LVM writes its copy."""
    book = runbook(docked, "ThinPoolGuardImpaired")
    assert "LimitMEMLOCK=infinity" in book.diagnose()
    book.follow("If its memory is not locked")
    book.follow("If LVM could not keep a copy")
    guest.wait_for(PATIENCE_SECONDS, "thinpool_guard_memory_locked", 1)


def test_figures_that_are_lost(docked: Machine) -> None:
    """What writes the textfile is started again by hand."""
    docked.run("mkdir -p /var/lib/node_exporter")
    book = Runbook(docked, "ThinPoolFiguresLost")
    assert int(book.diagnose().split()[0]) > 0
    book.follow("If the timer or cron job has stopped")
    assert "thinpool_info" in docked.read("/var/lib/node_exporter/thinpool.prom")
    assert book.attempt("If collect fails").returncode in ADVISING
    book.follow("If the exporter was replaced")


def test_a_host_that_was_lost(docked: Machine, guest: Guest) -> None:
    """What is typed on it when it lets somebody in again."""
    book = Filed(docked, "ThinPoolHostLost")
    assert book.attempt("If the host lets you in").returncode in ADVISING
    docked.run(f"systemctl stop {WEB}")
    book.follow("If only the exporter has ended")
    assert guest.metrics().value("thinpool_data_size_bytes", **POOL)
    assert book.attempt("If the host does not let you in").returncode in ADVISING


def test_maintenance_is_set_and_ended(docked: Machine, guest: Guest) -> None:
    """The commands of its page set and end it, and the metric says so."""
    end = "thinpool_maintenance_end_timestamp_seconds"
    docked.run("thinpool-exporter maintenance 1h")
    guest.scrape_until(lambda now: (now.value(end) or 0) > 0, seconds=PATIENCE_SECONDS)
    book = Runbook(docked, "ThinPoolMaintenance")
    assert "until" in book.diagnose()
    book.follow("If it takes longer")
    book.follow("If the work is done")
    guest.wait_for(PATIENCE_SECONDS, end, 0)


def test_volumes_that_docker_keeps(docked: Machine) -> None:
    """What holds their mounts is listed, and Docker itself started again."""
    book = runbook(docked, "ThinPoolDockerKeepsDeleted")
    assert "Open" in book.diagnose() or "open" in book.diagnose()
    book.follow("Restart what holds them")
    book.follow("If it is Docker itself")
    docked.wait_until("docker info", PATIENCE_SECONDS)
