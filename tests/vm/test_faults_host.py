"""Faults of the host around the guard: its clock, its journal, its root file system."""

from __future__ import annotations

import pytest

from tests.vm import faults
from tests.vm.conftest import READY
from tests.vm.guest import CONFIG, Guest, running
from tests.vm.machine import Machine

pytestmark = pytest.mark.any_release

TENDED = "tended"
POOL = "tended/pool"
LABELS = {"vg": "tended", "pool": "pool"}
EXTENDS = "thinpool_guard_extends_total"
PROMPT_SECONDS = 40
HOUR = 3600
# Writes in MiB that bring the pool over its threshold from one step to the next:
# 32, 39 and 47 MiB of data.
STEPS_MIB = (0, 27, 32, 38)
LVM_READ_AT = "thinpool_collector_last_success_timestamp_seconds"


@pytest.fixture(scope="module")
def tended_kept(booted: Machine) -> str:
    """Make a pool below its threshold, in a VG with room for some steps."""
    booted.restore(READY)
    faults.prepared(booted)
    group = faults.Disk(booted).group("tended", 256)
    faults.run(booted, group, faults.pool(POOL), faults.filled(POOL, STEPS_MIB[1] - 3))
    booted.snapshot(TENDED)
    return TENDED


@pytest.fixture
def tended(booted: Machine, tended_kept: str) -> Machine:
    """Give the machine with the pool."""
    booted.restore(tended_kept)
    return booted


def fill_to(machine: Machine, step: int) -> None:
    """Bring the pool over its threshold for the nth time."""
    begin, end = STEPS_MIB[step - 1], STEPS_MIB[step]
    faults.run(machine, faults.write(POOL, end - begin, offset_mib=begin))


def wait_grown(guest: Guest, times: int) -> None:
    """Wait until the guard has extended the pool's data so many times."""
    guest.wait_for(PROMPT_SECONDS, EXTENDS, times, device="data", **LABELS)


def test_a_clock_that_steps_changes_nothing(tended: Machine) -> None:
    """An hour ahead, and two hours back: the guard goes on, and so do the slow readings."""
    tended.write(CONFIG, "guard: {anticipate: false}\ncollect: {lvm_interval: 3s}\n")
    with running(tended) as guest:
        tended.run("date -s '+1 hour'")
        fill_to(tended, 1)
        wait_grown(guest, 1)

        tended.run("date -s '-2 hours'")
        fill_to(tended, 2)
        wait_grown(guest, 2)
        # A reading after the step bears the new time.
        before = guest.metrics()
        read_at = before.value(LVM_READ_AT, collector="lvm") or 0
        now = float(tended.run("date +%s").stdout)

        after = guest.scrape_until(
            lambda metrics: 0 < (metrics.value(LVM_READ_AT, collector="lvm") or 0) < now + 60,
            seconds=30,
        )

        assert read_at > 0
        assert (after.value(LVM_READ_AT, collector="lvm") or 0) < now + 60
        assert not any(event["stage"] == "cycle" for event in guest.events("failed"))


def test_a_journal_that_takes_nothing_stops_nobody(tended: Machine) -> None:
    """Standard error is full to the brim, and journald does not read it."""
    tended.write(CONFIG, "guard: {anticipate: false}\n")
    # Once let loose, it fills the very socket that the guard logs to.
    noise = "(while ! test -e /run/noise; do sleep 0.1; done; exec yes) >&2 &"
    unit = tended.start(
        f"{noise} exec thinpool-exporter run --log.format=json --log.level=debug"
    )
    guest = Guest(tended, unit)
    tended.wait_until("curl -sf http://127.0.0.1:10128/-/ready", 60)
    try:
        tended.run("pkill -STOP -x systemd-journal; touch /run/noise")
        # Asleep: it has written all that the socket holds.
        tended.wait_until('test "$(ps -o state= -C yes)" = S', 20)
        for step in (1, 2):
            fill_to(tended, step)
            wait_grown(guest, step)
    finally:
        tended.run("pkill -x yes; pkill -CONT -x systemd-journal", check=False)
        tended.stop(unit)


def test_an_archive_that_is_read_only_costs_the_archive_alone(tended: Machine) -> None:
    """LVM changes no VG that it cannot archive; the guard does, and tells what it left out."""
    tended.write(CONFIG, "guard: {anticipate: false}\n")
    archive = "/etc/lvm/archive"
    tended.run(f"mount --bind {archive} {archive}; mount -o remount,bind,ro {archive}")
    refused = tended.run(f"LVM_RUN_BY_DMEVENTD=1 lvextend -l +1 {POOL}", check=False)
    assert refused.returncode == 5

    with running(tended) as guest:
        fill_to(tended, 1)
        wait_grown(guest, 1)

        (told,) = guest.events("vg_not_archived")
    assert told["vg"] == LABELS["vg"]
