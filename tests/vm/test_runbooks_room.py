"""Runbooks of pools that fill, and of whoever should extend them."""

from __future__ import annotations

import pytest

from tests.vm import faults, scenarios
from tests.vm.docked import (
    ACT,
    DEVICE,
    OBSERVE,
    PATIENCE_SECONDS,
    POOL,
    STEP_BYTES,
    configure,
    fill_to,
    kept,
    plug,
    runbook,
)
from tests.vm.guest import Guest
from tests.vm.machine import Machine
from tests.vm.runbook import Runbook
from tests.vm.units import GUARD
from tests.vm.waiting import wait_until

pytestmark = pytest.mark.campaign

DATA, METADATA = {"device": "data", **POOL}, {"device": "metadata", **POOL}
STATE = "thinpool_guard_state"
NEXT, POSSIBLE = "thinpool_next_extend_bytes", "thinpool_next_extend_possible_bytes"
CHUNKS_OF_MIB = 16
THRESHOLD = "thinpool_autoextend_threshold_ratio"
PROFILE = "/etc/lvm/profile/docker-thinpool.profile"


def used(machine: Machine) -> int:
    """Read how many blocks of data are in use, when all that was done is committed."""
    machine.run(f"dmsetup status {DEVICE}")
    return scenarios.dm_status(machine)[DEVICE].used_data or 0


def wait_for_less(machine: Machine, blocks: int, what: str) -> None:
    """Wait until less of the pool's data is in use."""
    wait_until(lambda: used(machine) < blocks, deadline_seconds=PATIENCE_SECONDS, what=what)


def test_what_fills_the_data_is_found_and_freed(docked: Machine, guest: Guest) -> None:
    """Each way to get space back gets some back, and what runs goes on."""
    run = "docker run --network=none"
    write = "dd if=/dev/zero of=/f bs=1M count=20; sync"
    docked.run(f"{run} --name=made busybox:vm sh -c '{write}'; docker commit made spare:vm")
    docked.run(f"{run} -d --name=runner busybox:vm sh -c '{write}; rm /f; sync; sleep 9999'")
    docked.wait_until("docker exec runner test ! -e /f", PATIENCE_SECONDS)
    book = runbook(docked, "ThinPoolDataFillingUp")
    said = book.diagnose()
    assert " thin " in said
    assert "runner" in said

    freeing: dict[str, dict[str, str]] = {
        "Remove stopped containers (loses what they wrote)": {"CONTAINER": "made"},
        "Free what can be made again": {},
        "Get back what containers have deleted": {},
    }
    for heading, words in freeing.items():
        before = used(docked)
        said = book.follow(heading, 0, "", **words)
        wait_for_less(docked, before - 15 * CHUNKS_OF_MIB, f"{heading}: {said}")
    book.follow("Stop what fills it", CONTAINER="runner")
    book.follow("Give the group another disk", NEW_DISK=docked.disk("data1"))

    guest.scrape_until(
        lambda now: (now.value("thinpool_vg_free_bytes", vg="docker") or 0) > 7 * 1024**3,
        seconds=PATIENCE_SECONDS,
    )
    assert (guest.metrics().value("thinpool_vg_free_bytes", vg="docker") or 0) > 7 * 1024**3
    assert kept(docked)


def test_metadata_grows_by_hand(docked: Machine, guest: Guest) -> None:
    """By the next step of its policy; from a disk where the group has nothing."""
    plug(docked)
    book = runbook(docked, "ThinPoolMetadataFillingUp")
    book.diagnose()
    assert book.attempt("If the group has free space").returncode != 0

    book.follow("If it has none", NEW_DISK=docked.disk("data1"))
    book.follow("If the group has free space")

    size = guest.scrape_until(
        lambda now: (now.value("thinpool_metadata_size_bytes", **POOL) or 0) > 4 * faults.MIB,
        seconds=PATIENCE_SECONDS,
    ).value("thinpool_metadata_size_bytes", **POOL)
    assert size is not None
    assert size > 4 * faults.MIB


def test_a_pool_above_its_threshold(docked: Machine, guest: Guest) -> None:
    """It is extended by hand where nobody does it, data and metadata."""
    configure(docked, OBSERVE)
    fill_to(docked, 85)
    guest.wait_for(PATIENCE_SECONDS, STATE, 1, reason="observe_only", **POOL)
    before = guest.metrics().value("thinpool_data_size_bytes", **POOL) or 0
    book = runbook(docked, "ThinPoolAboveThreshold")

    assert "over its threshold" in book.diagnose()
    book.follow("Extend it now")
    guest.wait_for(PATIENCE_SECONDS, "thinpool_data_size_bytes", before + STEP_BYTES, **POOL)
    book.follow("Extend it now", 1)
    book.follow("If the group has no space", NEW_DISK=docked.disk("data1"))

    guest.wait_for(PATIENCE_SECONDS, STATE, 1, reason="below_threshold", **POOL)
    assert (scenarios.dm_status(docked)[DEVICE].total_metadata or 0) > 1024


def test_a_pool_that_cannot_grow_any_more(docked: Machine, guest: Guest) -> None:
    """For want of space, of a disk that may be used, or by a limit of the configuration."""
    configure(docked, ACT, "pools: {docker/thinpool: {max_size: 400MiB}}\n")
    guest.wait_for(PATIENCE_SECONDS, POSSIBLE, 0, **DATA)
    book = runbook(docked, "ThinPoolNextExtensionImpossible")
    assert "nothing" in book.diagnose()

    configure(docked)
    docked.run("pvchange -xn /dev/mapper/pv-docker-0")
    book.follow("If a limit of the configuration keeps it")
    guest.wait_for(PATIENCE_SECONDS, POSSIBLE, 0, **DATA)
    book.follow("If a disk of the group is not allocatable", DISK="/dev/mapper/pv-docker-0")
    guest.wait_for(PATIENCE_SECONDS, POSSIBLE, STEP_BYTES, **DATA)

    plug(docked)
    guest.wait_for(PATIENCE_SECONDS, POSSIBLE, 0, **DATA)
    book.follow("Give the group another disk", NEW_DISK=docked.disk("data1"))
    guest.wait_for(PATIENCE_SECONDS, POSSIBLE, STEP_BYTES, **DATA)


def test_a_step_that_fits_in_part(docked: Machine, guest: Guest) -> None:
    """Smaller steps fit; so does the whole one, with another disk."""
    plug(docked, leave_mib=30)
    guest.scrape_until(
        lambda now: 0 < (now.value(POSSIBLE, **DATA) or 0) < STEP_BYTES,
        seconds=PATIENCE_SECONDS,
    )
    book = runbook(docked, "ThinPoolNextExtensionPartial")
    assert "thin_pool_autoextend_percent=20" in book.diagnose()

    assert "thin_pool_autoextend_percent=5" in book.follow("A stopgap: smaller steps")
    metrics = guest.wait_for(PATIENCE_SECONDS, NEXT, STEP_BYTES / 4, **DATA)
    assert metrics.value(POSSIBLE, **DATA) == STEP_BYTES / 4

    docked.run(f"mv {PROFILE}.old {PROFILE}")
    guest.wait_for(PATIENCE_SECONDS, NEXT, STEP_BYTES, **DATA)
    book.follow("Give the group another disk", NEW_DISK=docked.disk("data1"))
    guest.wait_for(PATIENCE_SECONDS, POSSIBLE, STEP_BYTES, **DATA)


def test_a_group_that_cannot_serve_all(docked: Machine, guest: Guest) -> None:
    """A volume that nobody needs makes room; the alert names the group alone."""
    plug(docked)
    guest.wait_for(PATIENCE_SECONDS, POSSIBLE, 0, **DATA)
    book = Runbook(docked, "ThinPoolVolumeGroupNearlyFull", vg="docker")
    assert "plug" in book.diagnose()

    book.follow(
        "Remove a volume that nobody needs (loses what it holds)", answer="y\n", LV="plug"
    )
    guest.wait_for(PATIENCE_SECONDS, POSSIBLE, STEP_BYTES, **DATA)
    configure(docked, ACT, "pools: {docker/thinpool: {max_size: 420MiB}}\n")
    book.follow("Keep one pool from taking everything")
    guest.scrape_until(
        lambda now: now.value(POSSIBLE, **DATA) == 20 * faults.MIB, seconds=PATIENCE_SECONDS
    )
    assert guest.metrics().value(POSSIBLE, **DATA) == 20 * faults.MIB


def test_an_extension_that_lvm_refuses(docked: Machine, guest: Guest) -> None:
    """What LVM says is found, and when it is mended, a step by hand lets the guard go on."""
    docked.run("vgchange -qq --alloc contiguous docker")
    fill_to(docked, 85)
    guest.wait_for(PATIENCE_SECONDS, STATE, 1, reason="latched_refused", **POOL)
    book = runbook(docked, "ThinPoolExtensionFailing")

    said = book.diagnose()
    assert "extend_failed" in said
    assert "Insufficient suitable contiguous" in said
    book.follow("If its allocation policy leaves no room")
    guest.wait_for(PATIENCE_SECONDS, STATE, 1, reason="below_threshold", **POOL)
    assert docked.run("vgs --noheadings -o vg_allocation_policy docker").stdout.strip() == (
        "contiguous"
    )
    book.follow("If its allocation policy leaves no room", 1)
    book.follow("If LVM refused it")
    guest.wait_for(PATIENCE_SECONDS, STATE, 1, reason="below_threshold", **POOL)
    assert "rw" in book.follow("If it had no effect")


def test_a_pool_that_nobody_protects(docked: Machine, guest: Guest) -> None:
    """Each cause is found by the same commands, and has its own remedy."""
    book = runbook(docked, "ThinPoolNotProtected")
    responsible = "thinpool_guard_responsible"

    docked.run(f"systemctl disable --now {GUARD}")
    assert "no guard is running" in book.diagnose()
    book.follow("If the guard does not run")
    configure(docked, OBSERVE)
    guest.wait_for(PATIENCE_SECONDS, responsible, 0, **POOL)

    docked.run(f"sed -i 's/mode: {OBSERVE}/mode: {ACT}/' /etc/thinpool-exporter/config.yml")
    book.follow("If the guard is switched off, or only observes")
    guest.wait_for(PATIENCE_SECONDS, responsible, 1, **POOL)

    docked.run(f"rm {PROFILE}; lvchange -qq {faults.QUIET} --detachprofile docker/thinpool")
    guest.wait_for(PATIENCE_SECONDS, THRESHOLD, 1, **POOL)
    assert "threshold=80" in book.follow("If the pool has no policy, or its profile is missing")
    guest.wait_for(PATIENCE_SECONDS, THRESHOLD, 0.8, **POOL)

    docked.run(f"sed -i s/threshold=80/threshold=100/ {PROFILE}")
    guest.wait_for(PATIENCE_SECONDS, THRESHOLD, 1, **POOL)
    assert "threshold=80" in book.follow("If its profile says never, or extends it by 0 %")
    guest.wait_for(PATIENCE_SECONDS, responsible, 1, **POOL)

    docked.run(f"rm {PROFILE}")
    guest.wait_for(PATIENCE_SECONDS, "thinpool_profile_missing", 1, **POOL)
    book.follow("If the pool has no policy, or its profile is missing")
    guest.wait_for(PATIENCE_SECONDS, "thinpool_profile_missing", 0, **POOL)

    scenarios.with_dmeventd_binary(docked)
    scenarios.start_dmeventd(docked)
    book.follow("If dmeventd is to do it")
    guest.wait_for(PATIENCE_SECONDS, "thinpool_monitored", 1, **POOL)


def test_a_dmeventd_that_does_nothing(docked: Machine, guest: Guest) -> None:
    """It is let go on, or started anew, or relieved of the pool."""
    scenarios.with_dmeventd_binary(docked)
    scenarios.start_dmeventd(docked, "docker/thinpool")
    docked.write(
        "/etc/thinpool-exporter/config.yml",
        "guard: {anticipate: false, takeover_after: 5s}\ncollect: {lvm_interval: 2s}\n",
    )
    docked.run(f"systemctl reload {GUARD}")
    guest.wait_for(PATIENCE_SECONDS, "thinpool_monitored", 1, **POOL)
    docked.run("pkill -STOP -x dmeventd")
    fill_to(docked, 85)
    guest.wait_for(PATIENCE_SECONDS, "thinpool_guard_takeovers_total", 1, **POOL)
    book = runbook(docked, "ThinPoolTakenOver")

    assert "dmeventd" in book.diagnose()
    book.follow("If dmeventd is stopped")
    state = docked.run("ps -o stat= -C dmeventd").stdout
    assert "T" not in state
    before = scenarios.dmeventd_pid(docked)
    book.follow("If it runs, but does nothing")
    assert scenarios.dmeventd_pid(docked) not in {before, None}
    guest.wait_for(PATIENCE_SECONDS, "thinpool_monitored", 1, **POOL)
    book.follow("To leave the pool to the guard alone")
    guest.wait_for(PATIENCE_SECONDS, "thinpool_monitored", 0, **POOL)
    guest.wait_for(PATIENCE_SECONDS, "thinpool_guard_responsible", 1, **POOL)
