"""Takeover: what becomes of a pool that dmeventd monitors and does not extend."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from exporter.guard import Rules
from exporter.guard.ledger import PoolRecord
from exporter.guard.memory import MemoryFile
from exporter.model import Decision, Device, Dmeventd, Extension, Reason
from tests.factories import make_kernel_pool, make_pool, make_status
from tests.fakes import LVM_RULES, MIB, GuardedHost, docker_host

POOL = "docker/thinpool"


def monitored(rules: Rules = LVM_RULES) -> GuardedHost:
    """Make a host on which dmeventd lives and monitors the pool."""
    guarded = docker_host(rules=rules)
    guarded.host.set_dmeventd(Dmeventd(is_alive=True, pid=7, state="T"))
    guarded.host.set_monitored(POOL)
    guarded.collection.refresh_all()
    return guarded


def taken_over() -> GuardedHost:
    """Let a pool stay above its threshold for longer than takeover_after."""
    guarded = monitored()
    guarded.host.fill(POOL, 6800)
    guarded.cycle_for(33)
    assert guarded.verdict().takeovers == 1
    return guarded


def data_mib(guarded: GuardedHost) -> float:
    """Read the pool's size."""
    (pool,) = guarded.snapshot().pools
    assert pool.data is not None
    return pool.data.total_bytes / MIB


def test_a_pool_that_was_taken_over_is_extended_at_once_the_next_time() -> None:
    """Dmeventd has shown that it does nothing: half a minute more would be lost."""
    guarded = taken_over()
    guarded.host.fill(POOL, int(8000 * 1.2 * 0.85))

    guarded.cycle(2)

    assert data_mib(guarded) == 720
    assert guarded.verdict().takeovers == 1
    assert guarded.verdict().is_responsible


def test_it_is_handed_back_when_somebody_else_extends_it() -> None:
    """That is dmeventd, alive after all; it gets its half minute again."""
    guarded = taken_over()
    assert guarded.host.start(
        ("/sbin/lvm", "lvextend", "-l", "200", POOL), environment={}
    ).wait(1)

    guarded.cycle(2)
    guarded.host.fill(POOL, int(8000 * 1.6 * 0.85))
    guarded.cycle(2)

    (line,) = guarded.log.events("handed_back")
    assert "extended" in str(line["because"])
    assert guarded.verdict().reason is Reason.DMEVENTD_MONITORS
    assert not guarded.verdict().is_responsible


def test_it_is_handed_back_to_a_new_dmeventd() -> None:
    """One that was started since has done no wrong yet."""
    guarded = taken_over()
    guarded.host.set_dmeventd(Dmeventd(is_alive=True, pid=8, state="S"))
    guarded.collection.refresh_all()

    guarded.cycle(2)

    (line,) = guarded.log.events("handed_back")
    assert "new" in str(line["because"])
    assert guarded.verdict().reason is Reason.DMEVENTD_MONITORS


def test_a_pool_that_only_fills_fast_is_not_taken_over() -> None:
    """Below its threshold dmeventd has nothing to do yet."""
    guarded = monitored(Rules())
    guarded.host.set_rate(POOL, 10 * MIB)

    for _ in range(38):
        guarded.clock.now += 1
        guarded.cycle()

    assert guarded.verdict().takeovers == 0
    assert data_mib(guarded) == 500


def test_the_half_minute_goes_on_through_a_restart(tmp_path: Path) -> None:
    """A guard that is restarted every few seconds must still take over."""
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("this boot")
    guarded = monitored()
    guarded.guard.remember_in(lambda: MemoryFile(tmp_path, boot_id_file=boot_id))
    guarded.host.fill(POOL, 6800)

    for _ in range(8):
        guarded.cycle()
        guarded.guard.save()
        guarded.clock.now += 5
        guarded.restart_guard()
        guarded.guard.remember_in(lambda: MemoryFile(tmp_path, boot_id_file=boot_id))
    guarded.cycle(2)

    assert data_mib(guarded) == 600


def test_what_nobody_saw_does_not_count(tmp_path: Path) -> None:
    """Hours without a guard, in which dmeventd did its work, begin the half minute anew."""
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("this boot")
    guarded = monitored()
    guarded.guard.remember_in(lambda: MemoryFile(tmp_path, boot_id_file=boot_id))
    guarded.host.fill(POOL, 6800)
    guarded.cycle()
    guarded.guard.save()
    guarded.clock.now += 3 * 3600
    guarded.collection.refresh_all()

    guarded.restart_guard()
    guarded.guard.remember_in(lambda: MemoryFile(tmp_path, boot_id_file=boot_id))
    guarded.cycle_for(29)

    assert guarded.verdict().takeovers == 0


@pytest.mark.parametrize("threshold", [80, 95])
def test_a_dmeventd_that_extends_within_half_a_second_is_left_to_it(threshold: int) -> None:
    """However often the pool crosses its threshold: it is never above for half a minute."""
    guarded = monitored(Rules())
    guarded.host.set_profile("docker-thinpool", threshold=threshold, percent=5)
    guarded.collection.refresh_all()
    guarded.host.fill(POOL, 6000)
    guarded.host.set_rate(POOL, 10 * MIB)
    above_seconds = 0.0

    for _ in range(600):
        guarded.clock.now += 0.1
        guarded.cycle()
        pool = guarded.host.pool(POOL)
        is_above = pool.used_chunks / pool.data_chunks > threshold / 100
        above_seconds = above_seconds + 0.1 if is_above else 0.0
        if above_seconds >= 0.5:
            guarded.host.start(
                ("/sbin/lvm", "lvextend", "--use-policies", POOL), environment={}
            ).wait(1)

    assert guarded.verdict().takeovers == 0


def test_a_dmeventd_that_extends_too_little_has_its_half_minute_again() -> None:
    """The pool is still above its threshold, but dmeventd lives."""
    guarded = monitored()
    guarded.host.fill(POOL, 7900)
    guarded.cycle_for(20)
    assert guarded.host.start(
        ("/sbin/lvm", "lvextend", "-l", "126", POOL), environment={}
    ).wait(1)

    guarded.cycle_for(25)
    assert guarded.verdict().reason is Reason.DMEVENTD_MONITORS
    assert guarded.verdict().takeovers == 0

    guarded.cycle_for(10)
    assert guarded.verdict().takeovers == 1


def test_a_pool_that_only_fills_fast_is_not_above_its_threshold() -> None:
    """It was, until much of it was discarded: dmeventd has its half minute again."""
    record, pool = PoolRecord(), make_pool()
    extension = Extension(
        device=Device.DATA,
        from_extents=100,
        wanted_extents=120,
        extents=120,
        extent_bytes=4 * MIB,
    )
    over = Decision(reason=Reason.EXTEND, extensions=(extension,))
    ahead = Decision(
        reason=Reason.EXTEND_ANTICIPATED,
        extensions=(replace(extension, is_anticipated=True),),
    )

    for now, decision in enumerate((over, ahead, over), start=100):
        record.watch(pool, decision, now=now, interval_seconds=1.0)

    assert record.above_since == 102


def test_a_latch_holds_through_a_restart(tmp_path: Path) -> None:
    """What was refused a second ago is not tried at every start."""
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("this boot")
    guarded = docker_host()
    guarded.guard.remember_in(lambda: MemoryFile(tmp_path, boot_id_file=boot_id))
    guarded.host.refuse_extend("  no")
    guarded.host.fill(POOL, 6800)
    guarded.cycle(3)
    guarded.guard.save()

    guarded.restart_guard()
    guarded.guard.remember_in(lambda: MemoryFile(tmp_path, boot_id_file=boot_id))
    guarded.cycle(3)

    assert guarded.verdict().reason is Reason.LATCHED_REFUSED
    assert len(guarded.log.events("extending")) == 1


def test_metadata_that_lvm_raises_with_data_is_no_sign_of_dmeventd() -> None:
    """An extension of ours that named data alone may grow both; without one it is theirs."""
    status = make_status()
    assert status.metadata is not None
    larger = replace(status.metadata, total_blocks=2 * status.metadata.total_blocks)
    before = make_pool()
    after = make_pool(kernel=make_kernel_pool(status=replace(status, metadata=larger)))
    record = PoolRecord()
    assert not record.has_grown_by_others(before, is_busy=False)

    assert after.status is not None
    record.note_own_sizes(after.status)

    assert not record.has_grown_by_others(after, is_busy=False)
    theirs = PoolRecord()
    assert not theirs.has_grown_by_others(before, is_busy=False)
    assert theirs.has_grown_by_others(after, is_busy=False)
