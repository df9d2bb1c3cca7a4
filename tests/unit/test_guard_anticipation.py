"""The guard and time: pools that fill fast, appear, wait for space, or are full."""

from __future__ import annotations

from exporter.guard import PoolRule, Rules
from exporter.model import Device, Reason
from tests.fakes import MIB, GuardedHost, docker_host

POOL = "docker/thinpool"


def fill_for(guarded: GuardedHost, seconds: float, *, every: float = 0.1) -> None:
    """Let time pass, and the guard look as often as it would."""
    ends_at = guarded.clock.now + seconds
    while guarded.clock.now < ends_at - 1e-9:
        guarded.clock.now += every
        guarded.cycle()


def data_mib(guarded: GuardedHost) -> float:
    """Read the pool's size as the guard last saw it."""
    pool = next(pool for pool in guarded.snapshot().pools if pool.label == POOL)
    assert pool.data is not None
    return pool.data.total_bytes / MIB


def test_a_pool_under_a_burst_grows_before_it_is_full() -> None:
    """At 200 MiB/s 500 MiB last two and a half seconds: it gets ten seconds' worth."""
    guarded = docker_host(rules=Rules())
    fill_for(guarded, 2)
    guarded.host.set_rate(POOL, 200 * MIB)

    fill_for(guarded, 4)

    verdict = guarded.verdict()
    assert verdict.anticipated_extends >= 1
    assert verdict.counters[Device.DATA].extends == verdict.anticipated_extends
    assert 800 < data_mib(guarded) <= 800 + 10 * 200 + 4
    assert guarded.snapshot().pools[0].mode == "rw"
    assert verdict.filling[Device.DATA].bytes_per_second > 150 * MIB


def test_a_burst_takes_no_more_than_the_horizon() -> None:
    """When it is over, what was taken beyond it is what ten seconds of it would write."""
    guarded = docker_host(rules=Rules())
    guarded.host.set_rate(POOL, 100 * MIB)
    fill_for(guarded, 8)
    guarded.host.set_rate(POOL, 0)
    written = 800

    fill_for(guarded, 30)

    assert written < data_mib(guarded) <= written + 10 * 100 * 1.2


def test_without_anticipation_it_is_lvms_step() -> None:
    """The same burst, and 20 % at 80 %."""
    guarded = docker_host(rules=Rules(anticipate=False))
    guarded.host.set_rate(POOL, 100 * MIB)

    fill_for(guarded, 4.3)

    assert data_mib(guarded) == 600
    assert guarded.verdict().anticipated_extends == 0


def test_one_pool_may_be_left_out_or_taken_in() -> None:
    """Its own word wins over the guard's, and over a policy that is off."""
    off = Rules(pools={POOL: PoolRule(anticipate=False)})
    guarded = docker_host(rules=off)
    guarded.host.set_rate(POOL, 150 * MIB)
    fill_for(guarded, 2.4)
    assert data_mib(guarded) == 500

    on = Rules(anticipate=False, pools={POOL: PoolRule(anticipate=True)})
    guarded = docker_host(rules=on)
    guarded.host.set_profile("docker-thinpool", threshold=100, percent=20)
    guarded.collection.refresh_all()
    guarded.host.set_rate(POOL, 150 * MIB)
    fill_for(guarded, 2.4)
    assert data_mib(guarded) > 500


def test_a_slow_pool_waits_for_its_threshold() -> None:
    """1 MiB/s leaves the guard minutes."""
    guarded = docker_host(rules=Rules())
    guarded.host.set_rate(POOL, 1 * MIB)

    fill_for(guarded, 390, every=1.0)
    assert data_mib(guarded) == 500
    fill_for(guarded, 20, every=1.0)

    assert data_mib(guarded) == 600
    assert guarded.verdict().anticipated_extends == 0


def test_a_pool_that_appears_is_guarded_at_once() -> None:
    """LVM is asked about it without waiting for the next reading."""
    guarded = docker_host()
    guarded.cycle()
    guarded.host.add_pool("docker/new", guarded.host.pool(POOL).spec)
    guarded.host.fill("docker/new", 7000)

    guarded.cycle(4)

    assert guarded.verdict("docker/new").counters[Device.DATA].extends == 1


def test_a_pool_that_is_reactivated_is_guarded_at_once() -> None:
    """Under the same name, with a device of its own."""
    guarded = docker_host()
    guarded.host.deactivate(POOL)
    guarded.cycle()
    assert guarded.verdict().reason is Reason.INACTIVE
    guarded.host.deactivate(POOL, is_active=True)
    guarded.host.fill(POOL, 7000)

    guarded.cycle(2)

    assert data_mib(guarded) == 600


def test_an_old_account_of_the_vg_costs_one_refusal() -> None:
    """The VG has less than LVM said: asked again, it takes what there is, at once."""
    guarded = docker_host(vg_extents=125 + 4 + 40)
    guarded.cycle()
    guarded.host.add_linear("docker/other", size_bytes=30 * 4 * MIB)
    guarded.host.fill(POOL, 6800)

    guarded.cycle(3)

    assert data_mib(guarded) == 540
    assert not guarded.verdict().reason.startswith("latched")


def test_what_is_refused_though_the_account_is_fresh_is_latched() -> None:
    """And not repeated in every cycle."""
    guarded = docker_host()
    guarded.host.refuse_extend("  no")
    guarded.host.fill(POOL, 6800)

    guarded.cycle(6)

    assert guarded.verdict().reason is Reason.LATCHED_REFUSED
    assert len(guarded.log.events("extending")) == 1


def full_host() -> GuardedHost:
    """Fill a pool in a VG without room, queueing."""
    guarded = docker_host(vg_extents=125 + 4)
    guarded.host.fill(POOL, 8000)
    guarded.cycle()
    return guarded


def test_a_full_pool_tells_how_long_its_writers_wait() -> None:
    """Every ten seconds, in the log and as a metric, until the kernel fails them."""
    guarded = full_host()

    left = [guarded.verdict().queue_seconds_left]
    for _ in range(3):
        guarded.clock.now += 10
        guarded.cycle()
        left.append(guarded.verdict().queue_seconds_left)

    assert left == [60, 50, 40, 30]
    told = [line["writes_fail_in_seconds"] for line in guarded.log.events("pool_full")]
    assert told == [60, 50, 40, 30]
    guarded.clock.now += 31
    guarded.cycle()
    assert guarded.verdict().queue_seconds_left is None


def test_a_full_pool_gets_new_space_within_seconds() -> None:
    """While writes wait, LVM is asked every two seconds whether the VG has grown."""
    guarded = full_host()
    assert guarded.verdict().reason is Reason.NO_SPACE
    guarded.host.vgextend("docker", 100)

    fill_for(guarded, 4, every=0.5)

    assert data_mib(guarded) > 500
    assert guarded.verdict().reason is Reason.BELOW_THRESHOLD


def test_space_that_comes_free_is_noticed_by_what_happens_on_the_host() -> None:
    """A device that goes is an event; the VG is asked anew, not more often than it helps."""
    guarded = docker_host(vg_extents=125 + 4)
    guarded.host.fill(POOL, 6800)
    guarded.cycle()
    assert guarded.verdict().reason is Reason.NO_SPACE
    guarded.host.vgextend("docker", 100)

    fill_for(guarded, 7, every=0.5)

    assert data_mib(guarded) == 600
