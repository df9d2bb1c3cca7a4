"""The guard on a simulated host: when it acts, what it does, and when it stops."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from exporter.devmapper import DmStatus
from exporter.errors import CommandStuckError, KernelError
from exporter.guard import PoolRule, Rules
from exporter.guard.rules import Rules as GuardRules
from exporter.model import Device, Dmeventd, Failure, GuardMode, Reason
from exporter.simulation import SimulatedHost
from tests.fakes import MIB, GuardedHost, docker_host

POOL = "docker/thinpool"
CHUNKS = 500 * 16  # of 64 KiB
EXTENT = 4 * MIB


def chunks(ratio: float) -> int:
    """Count the chunks of the 500 MiB pool up to this share."""
    return int(CHUNKS * ratio)


def data_mib(guarded: GuardedHost) -> float:
    """Read the pool's size from the kernel."""
    (pool,) = guarded.snapshot().pools
    assert pool.data is not None
    return pool.data.total_bytes / MIB


def test_a_pool_above_its_threshold_grows_once() -> None:
    """20 % of 500 MiB, and then nothing, for the need is met."""
    guarded = docker_host()
    guarded.host.fill(POOL, chunks(0.81))

    guarded.cycle(3)

    assert data_mib(guarded) == 600
    verdict = guarded.verdict()
    assert verdict.reason is Reason.BELOW_THRESHOLD
    assert verdict.counters[Device.DATA].extends == 1
    assert verdict.counters[Device.DATA].extended_bytes == 100 * MIB
    assert verdict.is_responsible


def test_it_grows_whatever_lvm_conf_says_of_reports() -> None:
    """Every line of a report would begin with the command's name."""
    guarded = docker_host()
    guarded.host.set_config("log/command_names", 1)
    guarded.collection.refresh_all()
    guarded.host.fill(POOL, chunks(0.81))

    guarded.cycle(3)

    assert data_mib(guarded) == 600


def test_a_pool_at_its_threshold_is_left_alone() -> None:
    """80.00 % is not above 80 %."""
    guarded = docker_host()
    guarded.host.fill(POOL, chunks(0.80))

    guarded.cycle(2)

    assert data_mib(guarded) == 500


def test_metadata_grows_too() -> None:
    """21 % of 2 extents is one extent."""
    guarded = docker_host()
    guarded.host.fill_metadata(POOL, 1700)

    guarded.cycle(2)

    verdict = guarded.verdict()
    assert verdict.counters[Device.METADATA].extended_bytes == EXTENT
    assert verdict.counters[Device.DATA].extends == 0


def test_it_takes_what_is_there_then_waits_for_the_vg() -> None:
    """The article's layout: clamped, then no space; a new PV releases it."""
    guarded = docker_host(vg_extents=125 + 4 + 16)
    guarded.host.fill(POOL, chunks(0.81))

    guarded.cycle(3)

    assert data_mib(guarded) == 564
    verdict = guarded.verdict()
    assert verdict.clamped_extends == 1
    guarded.host.fill(POOL, int(CHUNKS * 564 / 500 * 0.9))
    guarded.cycle(2)
    assert guarded.verdict().reason is Reason.NO_SPACE
    guarded.host.vgextend("docker", 100)
    guarded.collection.refresh_all()
    guarded.cycle(2)
    assert guarded.verdict().reason is Reason.BELOW_THRESHOLD
    assert guarded.verdict().counters[Device.DATA].extends == 2


@pytest.mark.parametrize(
    ("mode", "reason"),
    [(GuardMode.OBSERVE, Reason.OBSERVE_ONLY), (GuardMode.OFF, Reason.GUARD_OFF)],
)
def test_modes_that_do_not_act(mode: GuardMode, reason: Reason) -> None:
    """They decide, say so, and leave the pool as it is."""
    guarded = docker_host(rules=Rules(mode=mode, anticipate=False))
    guarded.host.fill(POOL, chunks(0.9))

    guarded.cycle(2)

    assert data_mib(guarded) == 500
    assert guarded.verdict().reason is reason
    assert not guarded.verdict().is_responsible


def test_a_pools_own_mode_wins() -> None:
    """One pool may be observed while the others are guarded."""
    rules = GuardRules(anticipate=False, pools={POOL: PoolRule(mode=GuardMode.OBSERVE)})
    guarded = docker_host(rules=rules)
    guarded.host.fill(POOL, chunks(0.9))

    guarded.cycle()

    assert guarded.verdict().reason is Reason.OBSERVE_ONLY


def monitored(rules: Rules | None = None) -> GuardedHost:
    """Make a host on which dmeventd lives and monitors the pool."""
    guarded = docker_host(rules=rules)
    guarded.host.set_dmeventd(Dmeventd(is_alive=True, pid=7, state="S"))
    guarded.host.set_monitored(POOL)
    guarded.collection.refresh_all()
    return guarded


def test_a_monitored_pool_is_dmeventds() -> None:
    """We do nothing, and say so."""
    guarded = monitored()
    guarded.host.fill(POOL, chunks(0.85))

    guarded.cycle(2)

    assert data_mib(guarded) == 500
    assert guarded.verdict().reason is Reason.DMEVENTD_MONITORS
    assert not guarded.verdict().is_responsible


def test_a_monitored_pool_that_stays_above_is_taken_over() -> None:
    """After takeover_after, counted once and told."""
    guarded = monitored()
    guarded.host.fill(POOL, chunks(0.85))
    guarded.cycle()
    guarded.cycle_for(29)
    assert guarded.verdict().takeovers == 0

    guarded.cycle_for(3)

    assert data_mib(guarded) == 600
    assert guarded.verdict().takeovers == 1
    assert guarded.log.events("takeover")


def test_mode_always_does_not_wait_for_dmeventd() -> None:
    """Absolute sizes keep two from doing harm."""
    guarded = monitored(Rules(mode=GuardMode.ALWAYS, anticipate=False))
    guarded.host.fill(POOL, chunks(0.85))

    guarded.cycle(2)

    assert data_mib(guarded) == 600


def test_no_command_of_ours_asks_a_dmeventd_that_is_not_there() -> None:
    """seg_monitor would start it."""
    guarded = docker_host()

    assert guarded.snapshot().pools[0].monitoring is None
    assert guarded.snapshot().pools[0].is_monitored is False


def test_a_refusal_is_latched_and_tried_again_later() -> None:
    """At once it would fail again; what changes, or time, opens the latch."""
    guarded = docker_host()
    guarded.host.refuse_extend("  VG docker is busy.")
    guarded.host.fill(POOL, chunks(0.85))

    guarded.cycle(5)

    verdict = guarded.verdict()
    assert verdict.reason is Reason.LATCHED_REFUSED
    assert "busy" in verdict.detail
    assert verdict.counters[Device.DATA].failures == {Failure.REFUSED: 1}
    guarded.host.heal()
    guarded.clock.now += 11
    guarded.cycle(2)
    assert data_mib(guarded) == 600


def test_refusals_are_retried_ever_more_rarely() -> None:
    """Ten seconds, twenty, forty, up to ten minutes."""
    guarded = docker_host()
    guarded.host.refuse_extend("  no")
    guarded.host.fill(POOL, chunks(0.85))

    for _ in range(70):
        guarded.cycle()
        guarded.clock.now += 1

    failures = guarded.verdict().counters[Device.DATA].failures[Failure.REFUSED]
    assert failures == 3  # at 0, 10 and 30 seconds


def test_a_change_in_the_vg_opens_the_latch() -> None:
    """Without waiting for the next retry."""
    guarded = docker_host()
    guarded.host.refuse_extend("  no")
    guarded.host.fill(POOL, chunks(0.85))
    guarded.cycle(2)
    guarded.host.heal()
    guarded.host.vgextend("docker", 10)
    guarded.collection.refresh_all()

    guarded.cycle(2)

    assert data_mib(guarded) == 600


def test_a_pool_that_needs_check_is_never_touched() -> None:
    """LVM would report success without effect, again and again."""
    guarded = docker_host()
    guarded.host.set_needs_check(POOL)
    guarded.host.fill(POOL, chunks(0.95))

    guarded.cycle(3)

    assert guarded.verdict().reason is Reason.NEEDS_CHECK
    assert not guarded.log.events("extending")


def test_a_full_pool_is_brought_back() -> None:
    """Out of data space, then extended, then writable."""
    guarded = docker_host()
    guarded.host.fill(POOL, CHUNKS)
    guarded.clock.now += 61

    guarded.cycle(3)

    assert guarded.snapshot().pools[0].mode == "rw"


def test_a_pool_grows_by_lvms_last_account_while_lvs_hangs() -> None:
    """Again and again: the kernel shows what came of each extension."""
    guarded = docker_host()
    guarded.host.hang("lvs")
    guarded.host.fill(POOL, chunks(0.9))

    guarded.cycle(2)
    assert data_mib(guarded) == 600
    guarded.host.fill(POOL, chunks(1.19))
    guarded.cycle(2)

    assert data_mib(guarded) == 744
    assert {event["stage"] for event in guarded.log.events("failed")} == {"read_vg"}
    assert guarded.verdict().reason is Reason.BELOW_THRESHOLD


def test_a_renamed_pool_is_extended_by_its_new_name_alone() -> None:
    """LVM's account has the old one until it is read again, which is at once."""
    guarded = docker_host()
    guarded.host.rename_vg("docker", "moved")
    guarded.host.fill("moved/thinpool", chunks(0.9))

    guarded.cycle(4)

    events = guarded.log.events("extending")
    assert [(event["vg"], event["pool"]) for event in events] == [("moved", "thinpool")]
    assert not guarded.log.events("extend_failed")


def test_a_kernel_that_cannot_be_asked_is_told_once() -> None:
    """Transitions are logged, not states."""
    guarded = docker_host()
    guarded.host.fail("device_mapper", KernelError("request 12: no"))

    guarded.cycle(5)

    assert [event["stage"] for event in guarded.log.events("failed")] == ["list_devices"]


class Moody(SimulatedHost):
    """A simulated host whose kernel may answer a few statuses, and then refuse."""

    refuses_after: int | None = None

    def status(self, name: str) -> DmStatus | None:
        """See Kernel.status."""
        if self.refuses_after is not None:
            self.refuses_after -= 1
            if self.refuses_after < 0:
                raise KernelError("request 12: no")
        return super().status(name)


def test_what_was_seen_before_the_kernel_refused_is_judged_afterwards() -> None:
    """A look that failed at the second pool must not lose what the first one showed."""
    guarded = docker_host(kind=Moody)
    host = guarded.host
    assert isinstance(host, Moody)
    host.add_pool("docker/second", host.pool(POOL).spec)
    guarded.collection.refresh_all()
    guarded.cycle()
    host.fill(POOL, chunks(0.9))
    host.refuses_after = 1
    guarded.cycle()

    host.refuses_after = None
    guarded.cycle(3)

    assert guarded.verdict().counters[Device.DATA].extends == 1


def test_a_policy_that_never_extends_is_obeyed() -> None:
    """Threshold 100 is LVM's word for never."""
    guarded = docker_host()
    guarded.host.set_profile("docker-thinpool", threshold=100, percent=20)
    guarded.collection.refresh_all()
    guarded.host.fill(POOL, CHUNKS)

    guarded.cycle(2)

    assert guarded.verdict().reason is Reason.POLICY_OFF


def test_a_missing_profile_is_named() -> None:
    """LVM falls back to never, silently; we say why."""
    guarded = docker_host()
    guarded.host.remove_profile("docker-thinpool")
    guarded.collection.refresh_all()
    guarded.host.fill(POOL, chunks(0.9))

    guarded.cycle(2)

    assert guarded.verdict().reason is Reason.PROFILE_MISSING
    assert data_mib(guarded) == 500


def test_the_largest_size_holds() -> None:
    """Up to it, not beyond."""
    rules = GuardRules(anticipate=False, pools={POOL: PoolRule(max_size_bytes=540 * MIB)})
    guarded = docker_host(rules=rules)
    guarded.host.fill(POOL, chunks(1))

    guarded.cycle(4)

    assert data_mib(guarded) == 540
    assert guarded.verdict().reason is Reason.AT_MAX_SIZE


def test_an_extension_by_somebody_else_is_read_before_anything_is_done() -> None:
    """The kernel's size and LVM's differ until LVM has been asked again."""
    guarded = docker_host()
    running = guarded.host.start(("/sbin/lvm", "lvextend", "-l", "200", POOL), environment={})
    assert running.wait(1)
    guarded.host.fill(POOL, chunks(0.9))

    guarded.cycle(2)

    assert data_mib(guarded) == 800
    assert guarded.verdict().reason is Reason.BELOW_THRESHOLD
    assert not guarded.log.events("extending")


def test_a_deactivated_pool_is_shown_as_inactive() -> None:
    """Its figures are gone, its state is not."""
    guarded = docker_host()
    guarded.cycle()
    guarded.host.deactivate(POOL)
    guarded.collection.refresh_all()
    guarded.cycle()

    assert guarded.verdict().reason is Reason.INACTIVE


def test_two_pools_of_one_vg_share_what_is_there() -> None:
    """One after the other, each from a fresh reading."""
    guarded = docker_host(vg_extents=125 + 4 + 125 + 2 + 30)
    guarded.host.add_pool(
        "docker/other",
        guarded.host.pool(POOL).spec,
    )
    guarded.collection.refresh_all()
    guarded.host.fill(POOL, chunks(0.85))
    guarded.host.fill("docker/other", chunks(0.85))

    guarded.cycle(4)

    sizes = sorted(
        pool.data.total_bytes // EXTENT - 125 for pool in guarded.snapshot().pools if pool.data
    )
    assert sizes == [5, 25]


def test_state_changes_are_logged_once() -> None:
    """Ten cycles in the same state are one line."""
    guarded = docker_host()

    guarded.cycle(10)

    assert len(guarded.log.events("pool_state")) == 1


def test_a_stuck_docker_does_not_concern_the_guard() -> None:
    """Its part is stale; the pool still grows."""
    guarded = docker_host()
    guarded.host.fail("docker", CommandStuckError(("docker", "info"), 10))
    guarded.collection.refresh_all()
    guarded.host.fill(POOL, chunks(0.9))

    guarded.cycle(2)

    assert data_mib(guarded) == 600


class Readied(SimulatedHost):
    """Counts how often an lvm was to be kept ready."""

    times = 0

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """See Runner.keep_ready."""
        assert (program, dict(environment)) == ("/sbin/lvm", {"LVM_RUN_BY_DMEVENTD": "1"})
        self.times += 1


@pytest.mark.parametrize(
    ("mode", "own_mode", "is_kept"),
    [
        (GuardMode.AUTO, None, True),
        (GuardMode.ALWAYS, None, True),
        (GuardMode.OBSERVE, None, False),
        (GuardMode.OFF, None, False),
        (GuardMode.OFF, GuardMode.AUTO, True),
    ],
)
def test_an_lvm_is_kept_ready_where_one_may_be_needed(
    mode: GuardMode, own_mode: GuardMode | None, *, is_kept: bool
) -> None:
    """Whoever only observes needs none."""
    rules = Rules(mode=mode, pools={POOL: PoolRule(mode=own_mode)})
    guarded = docker_host(rules=rules, kind=Readied)
    host = guarded.host
    assert isinstance(host, Readied)

    guarded.guard.keep_ready()

    assert bool(host.times) == is_kept


def test_the_next_lvm_is_readied_after_each_extension() -> None:
    """Each of them does one command."""
    guarded = docker_host(kind=Readied)
    host = guarded.host
    assert isinstance(host, Readied)
    guarded.host.fill(POOL, chunks(0.81))

    guarded.cycle(3)

    assert data_mib(guarded) == 600
    assert host.times == 1
