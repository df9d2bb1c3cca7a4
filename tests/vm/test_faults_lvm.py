"""Faults of LVM's own commands: they wait, stop, hang or do nothing while a pool fills."""

from __future__ import annotations

import pytest

from tests.vm import faults, scenarios
from tests.vm.conftest import READY
from tests.vm.guest import CONFIG, Guest, check, running
from tests.vm.machine import Machine

PAIR = "pair"
ONE, TWO = "one/pool", "two/pool"
BELOW_MIB = 24  # of 32: 75 %
OVER_MIB = faults.USED_MIB - BELOW_MIB
EXTENDS = "thinpool_guard_extends_total"
FAILURES = "thinpool_guard_extend_failures_total"
STATE = "thinpool_guard_state"
LVM_READ_AT = "thinpool_collector_last_success_timestamp_seconds"
HINTS = "/run/lvm/hints"
LOCAL_CONF, USE_DEVICES_FILE = "/etc/lvm/lvmlocal.conf", "devices { use_devicesfile = 1 }\n"
PROMPT_SECONDS = 40
# The brackets keep a pattern from matching the command line that it stands in.
ANY_LVM = "[l]vm (lvs|vgs|pvs|lvextend|/proc)"
# Started ahead, it is told its command through its standard input.
READY_LVM = "[l]vm /proc/self/fd/0"


@pytest.fixture(scope="module")
def pair_kept(booted: Machine) -> str:
    """Make two VGs, each with a pool below its threshold, and keep that state."""
    booted.restore(READY)
    faults.prepared(booted)
    disk = faults.Disk(booted)
    for name in (ONE, TWO):
        vg = name.split("/")[0]
        faults.run(booted, disk.group(vg), faults.pool(name), faults.filled(name, BELOW_MIB))
    booted.snapshot(PAIR)
    return PAIR


@pytest.fixture
def pair(booted: Machine, pair_kept: str) -> Machine:
    """Give the machine with the two pools, and a guard that is to go by thresholds alone."""
    booted.restore(pair_kept)
    configure(booted)
    return booted


def configure(machine: Machine, *, collect: str = "", takeover_after: str = "30s") -> None:
    """Write the guard's configuration."""
    guard = f"guard: {{anticipate: false, takeover_after: {takeover_after}}}"
    machine.write(CONFIG, f"{guard}\ncollect: {{{collect}}}\n")


def labels(name: str) -> dict[str, str]:
    """Make the labels of a pool's series."""
    vg, pool = name.split("/")
    return {"vg": vg, "pool": pool}


def push_over(machine: Machine, *names: str) -> None:
    """Write to pools until they are over their thresholds."""
    faults.run(machine, *(faults.write(name, OVER_MIB, offset_mib=BELOW_MIB) for name in names))


def wait_grown(guest: Guest, name: str, seconds: float = PROMPT_SECONDS) -> None:
    """Wait until the guard has extended a pool's data, once."""
    guest.wait_for(seconds, EXTENDS, 1, device="data", **labels(name))


def count(machine: Machine, pattern: str) -> int:
    """Count the processes whose command line matches."""
    return int(machine.run(("pgrep", "-fc", pattern), check=False).stdout)


def hold_lock(machine: Machine, vg: str) -> str:
    """Hold a VG's lock as an LVM command at work does; returns the unit to stop."""
    path = f"{faults.LOCKS}/V_{vg}"
    unit = machine.start(("flock", "--no-fork", path, "sleep", "infinity"))
    machine.wait_until(f"! flock --nonblock {path} true", 10)
    return unit


def test_a_held_lock_holds_up_its_own_vg_alone(pair: Machine) -> None:
    """The other VG's pool grows at once; this one's as soon as the lock is free."""
    with running(pair) as guest:
        holder = hold_lock(pair, "one")
        push_over(pair, ONE, TWO)

        wait_grown(guest, TWO)
        metrics = guest.metrics()
        assert metrics.value(EXTENDS, device="data", **labels(ONE)) == 0
        # The reading of all VGs, a worker of each, and the one that is ready.
        assert count(pair, ANY_LVM) <= 4

        pair.stop(holder)
        wait_grown(guest, ONE)


def test_a_thin_volume_whose_pool_is_suspended_holds_up_nobody(pair: Machine) -> None:
    """Whoever reads it waits; LVM does not, as it goes by its hints on where its disks are."""
    configure(pair, collect="lvm_interval: 2s, lvm_deadline: 10s")
    with running(pair) as guest:
        pair.run(faults.suspended(ONE))
        guest.wait_for(PROMPT_SECONDS, STATE, 1, reason="suspended", **labels(ONE))
        push_over(pair, TWO)

        wait_grown(guest, TWO)
        read_at = guest.metrics().value(LVM_READ_AT, collector="lvm") or 0
        later = guest.scrape_until(
            lambda metrics: (metrics.value(LVM_READ_AT, collector="lvm") or 0) > read_at,
            seconds=PROMPT_SECONDS,
        )

        assert (later.value(LVM_READ_AT, collector="lvm") or 0) > read_at
        assert later.value("thinpool_collector_success", collector="lvm") == 1
        pair.run(f"dmsetup resume {faults.dm_name(ONE)}")


def test_a_disk_that_hints_lack_is_found(pair: Machine) -> None:
    """By them the VG is partial, and LVM refuses to extend anything in it."""
    disk = faults.Disk(pair, "data1")
    faults.run(
        pair,
        disk.group("three", 37),  # no extent is left beside the pool and its metadata
        faults.pool("three/pool"),
        faults.filled("three/pool"),
        disk.cut("more"),
        "vgextend -qq three /dev/mapper/pv-more",
        "lvs >/dev/null",
        # As a reading leaves it that had looked before vgextend wrote, and ended after it.
        f"grep -q pv-more {HINTS}",
        f"sed -i /pv-more/d {HINTS}",
    )
    partial = pair.run("vgs --noheadings -o vg_partial three 2>/dev/null").stdout.strip()
    assert partial == "partial", "the fault is not there"

    with running(pair) as guest:
        wait_grown(guest, "three/pool")


def in_devices_file(machine: Machine, vg: str, option: str = "") -> None:
    """Add the disk of a VG to a devices file; the first that is added makes the file."""
    words = f"--config devices/use_devicesfile=1 {option} -y --adddev /dev/mapper/pv-{vg}-0"
    machine.run(f"lvm lvmdevices {words}")


def has_devices_files(machine: Machine) -> bool:
    """Whether this LVM is 2.03.12 or later."""
    return machine.run("lvm lvmdevices --help", check=False).returncode == 0


@pytest.mark.every_release
def test_the_devices_of_dmeventd_hide_no_disk_from_us(pair: Machine) -> None:
    """As dmeventd's child lvextend looks at those disks alone; as ours it looks at all."""
    if not has_devices_files(pair):
        pytest.skip("an LVM before 2.03.12 has no devices files")
    for vg in ("one", "two"):
        in_devices_file(pair, vg)
    pair.write(LOCAL_CONF, USE_DEVICES_FILE)
    in_devices_file(pair, "two", "--devicesfile dmeventd.devices")
    asked = pair.run(f"LVM_RUN_BY_DMEVENTD=1 lvextend --test -l +1 {ONE}", check=False)
    assert asked.returncode == 5, "the fault is not there"

    with running(pair) as guest:
        push_over(pair, ONE, TWO)
        wait_grown(guest, ONE)
        wait_grown(guest, TWO)


@pytest.mark.every_release
def test_a_disk_that_the_devices_file_lacks(pair: Machine) -> None:
    """LVM does not list its VG: its pool is shown and left alone, until the disk is added."""
    if not has_devices_files(pair):
        pytest.skip("an LVM before 2.03.12 has no devices files")
    configure(pair, collect="lvm_interval: 5s")
    in_devices_file(pair, "two")
    pair.write(LOCAL_CONF, USE_DEVICES_FILE)
    assert "one" not in pair.run("vgs --noheadings -o vg_name").stdout.split()

    with running(pair) as guest:
        push_over(pair, ONE, TWO)
        wait_grown(guest, TWO)
        seen = guest.wait_for(PROMPT_SECONDS, STATE, 1, reason="layout_unknown", **labels(ONE))
        assert seen.value(EXTENDS, device="data", **labels(ONE)) == 0
        _, report = check(pair)
        assert "lvm lvmdevices --adddev" in report

        in_devices_file(pair, "one")
        wait_grown(guest, ONE)


def test_a_lock_held_before_the_guard_starts_is_no_different(pair: Machine) -> None:
    """What could not be read of one VG does not hide the others."""
    # A reading that waits for the lock is given up after so long.
    configure(pair, collect="lvm_deadline: 5s")
    holder = hold_lock(pair, "one")
    push_over(pair, ONE, TWO)

    with running(pair) as guest:
        wait_grown(guest, TWO)
        pair.stop(holder)
        wait_grown(guest, ONE, 2 * PROMPT_SECONDS)


def test_a_stopped_lvextend_is_left_alone_and_waited_for(pair: Machine) -> None:
    """It is counted once, joined by no other, and goes on when it is let go."""
    configure(pair, collect="extend_deadline: 3s")
    with running(pair) as guest:
        # Two are ready, and the older one goes first.
        pair.wait_until(f"test $(pgrep -fc '{READY_LVM}') = 2", 30)
        pair.run(("pkill", "-STOP", "-o", "-f", READY_LVM))
        push_over(pair, ONE)
        stuck = {"device": "data", "reason": "stuck", **labels(ONE)}
        guest.wait_for(PROMPT_SECONDS, FAILURES, 1, **stuck)

        push_over(pair, TWO)
        wait_grown(guest, TWO)
        metrics = guest.metrics()
        assert metrics.value(STATE, reason="busy", **labels(ONE)) == 1
        assert metrics.value(FAILURES, **stuck) == 1
        assert len(guest.events("extending")) == 2
        assert len(guest.events("lvextend_stuck")) == 1

        pair.run(("pkill", "-CONT", "-f", READY_LVM))
        wait_grown(guest, ONE)
        assert len(guest.events("extending")) == 2


def test_lvm_in_d_state_is_not_joined_by_more_of_it(pair: Machine) -> None:
    """With a disk that does not answer LVM hangs as a whole; the kernel is still read."""
    configure(pair, collect="lvm_interval: 2s, lvm_deadline: 3s")
    with running(pair) as guest:
        pair.run("dmsetup suspend pv-one-0")
        push_over(pair, TWO)
        failed = {"collector": "lvm"}
        metrics = guest.wait_for(30, "thinpool_collector_success", 0, **failed)

        used = metrics.value("thinpool_data_used_bytes", **labels(TWO)) or 0
        assert used > faults.MIB * (faults.USED_MIB - 1)
        assert metrics.value("thinpool_collector_success", collector="device_mapper") == 1
        cycle = "thinpool_guard_last_cycle_timestamp_seconds"
        seen = metrics.value(cycle) or 0
        later = guest.scrape_until(lambda now: (now.value(cycle) or 0) > seen + 8, seconds=20)
        assert (later.value(cycle) or 0) > seen + 8
        # The reading, a worker's, its seg_monitor, and the one that is ready.
        assert count(pair, ANY_LVM) <= 4

        pair.run("dmsetup resume pv-one-0")
        wait_grown(guest, TWO)
        guest.wait_for(PROMPT_SECONDS, "thinpool_collector_success", 1, **failed)


def test_a_pool_whose_disk_hangs_costs_its_own_figures_alone(pair: Machine) -> None:
    """While its metadata is being written even its status waits, and who asks with it."""
    configure(pair, collect="lvm_interval: 2s, lvm_deadline: 3s")
    with running(pair) as guest:
        pair.run("dmsetup suspend pv-one-0")
        writer = pair.start(faults.write(ONE, OVER_MIB, offset_mib=BELOW_MIB))
        metrics = guest.wait_for(30, "thinpool_mode", 1, mode="unknown", **labels(ONE))
        assert metrics.value("thinpool_data_used_bytes", **labels(ONE)) is None

        push_over(pair, TWO)
        used = "thinpool_data_used_bytes"
        least = faults.MIB * (faults.USED_MIB - 1)
        metrics = guest.scrape_until(
            lambda now: (now.value(used, **labels(TWO)) or 0) > least, seconds=20
        )
        assert (metrics.value(used, **labels(TWO)) or 0) > least
        state = metrics.label(STATE, "reason", **labels(ONE))
        assert state == "usage_unknown"
        read = {"collector": "device_mapper"}
        guest.wait_for(30, "thinpool_collector_success", 0, **read)

        pair.run("dmsetup resume pv-one-0")
        for name in (ONE, TWO):
            wait_grown(guest, name)
        guest.wait_for(PROMPT_SECONDS, "thinpool_collector_success", 1, **read)
        pair.stop(writer)
        assert guest.events("pool_status_waits")
        assert guest.events("pool_status_answers")


def test_a_dmeventd_that_does_not_help_is_taken_over(pair: Machine) -> None:
    """One that gets nothing from LVM, which extends by all or nothing, and one that stands."""
    configure(pair, collect="lvm_interval: 3s", takeover_after="5s")
    # 27 extents are free and 7 are asked for; these leave 3.
    pair.run(f"lvcreate -qq {faults.QUIET} -n plug -l 24 two")
    scenarios.with_dmeventd_binary(pair)
    scenarios.start_dmeventd(pair, ONE, TWO)
    with running(pair) as guest:
        for name in (ONE, TWO):
            guest.wait_for(PROMPT_SECONDS, "thinpool_monitored", 1, **labels(name))
        push_over(pair, TWO)
        wait_grown(guest, TWO, 30)

        pair.run("pkill -STOP -x dmeventd")
        push_over(pair, ONE)
        wait_grown(guest, ONE, 30)

        metrics = guest.metrics()
        for name in (ONE, TWO):
            assert metrics.value("thinpool_guard_takeovers_total", **labels(name)) == 1
        assert metrics.value("thinpool_guard_clamped_extends_total", **labels(TWO)) == 1
        assert [event["vg"] for event in guest.events("takeover")] == ["two", "one"]
        assert "dmeventd" in check(pair)[1]
        pair.run("pkill -CONT -x dmeventd")


def test_a_pvmove_is_no_reason_to_give_up(pair: Machine) -> None:
    """A pool whose data is moved grows while it is, or where LVM refuses that, afterwards."""
    disk, slow = pair.disk("data1"), "/dev/mapper/pv-slow"
    sectors, delay_ms = faults.PV_MIB * faults.SECTORS_OF_MIB, 1500
    table = f"0 {sectors} delay {disk} 2048 0 {disk} 2048 {delay_ms}"
    faults.run(
        pair,
        f"dmsetup create pv-slow --table '{table}'",
        f"pvcreate -qq --metadatacopies 0 {slow}",
        f"vgextend -qq one {slow}",
    )
    moving = "lvs -a --nolocking --noheadings -o lv_role one | grep -q pvmove"
    with running(pair) as guest:
        pair.start(f"pvmove {faults.QUIET} -i 1 -n pool_tdata /dev/mapper/pv-one-0 {slow}")
        pair.wait_until(moving, 20)
        push_over(pair, ONE)

        if pair.image.release.extends_what_moves:
            wait_grown(guest, ONE)
            assert pair.run(moving, check=False).returncode == 0
            assert not guest.events("extend_failed")
        else:
            refused = {"device": "data", "reason": "refused", **labels(ONE)}
            guest.wait_for(PROMPT_SECONDS, FAILURES, 1, **refused)
        pair.wait_until(f"! {moving}", 120)
        wait_grown(guest, ONE)


def test_metadata_that_breaks_while_extending_is_not_tried_again(pair: Machine) -> None:
    """LVM says that it did; the kernel did not, and the VG must not be eaten up."""
    push_over(pair, ONE)
    # A status with a flush commits: what is then left to write is the extension's.
    committed = f"dmsetup status {faults.dm_name(ONE)}"
    faults.run(pair, committed, faults.muted_under("one-0", "one-pool_tmeta"))
    before = scenarios.free_extents(pair, "one")

    with running(pair) as guest:
        failed = {"device": "data", "reason": "ineffective", **labels(ONE)}
        guest.wait_for(PROMPT_SECONDS, FAILURES, 1, **failed)
        metrics = guest.wait_for(PROMPT_SECONDS, STATE, 1, reason="needs_check", **labels(ONE))

        assert metrics.value(EXTENDS, device="data", **labels(ONE)) == 0
        assert metrics.value(FAILURES, **failed) == 1
        assert len(guest.events("extending")) == 1
        assert before - scenarios.free_extents(pair, "one") <= 7
        status, report = check(pair)
    assert status == 2
    assert "lvconvert --repair one/pool" in report


def test_monitoring_that_is_switched_off_counts_as_none(pair: Machine) -> None:
    """LVM then does not say who is monitored; nobody is, however alive dmeventd may be."""
    configure(pair, collect="lvm_interval: 3s", takeover_after="1h")
    scenarios.with_dmeventd_binary(pair)
    scenarios.start_dmeventd(pair)
    pair.write("/etc/lvm/lvmlocal.conf", "activation { monitoring = 0 }\n")
    with running(pair) as guest:
        guest.wait_for(PROMPT_SECONDS, "thinpool_dmeventd_up", 1)
        push_over(pair, ONE)

        wait_grown(guest, ONE)
