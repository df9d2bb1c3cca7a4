"""The fill rate: at once for a burst, steady for a trickle, gone when it is over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from exporter.fill import METADATA_WINDOWS_SECONDS, FillRate


def read(
    rate: FillRate,
    used: Callable[[float], float],
    *,
    until: float,
    every: float,
    since: float = 0,
) -> list[float]:
    """Take a reading every so often; returns the estimate after each."""
    estimates = []
    now = since
    while now <= until + 1e-9:
        rate.add(now, int(used(now)))
        estimates.append(rate.present.blocks_per_second)
        now += every
    return estimates


def test_nothing_gained_is_no_rate() -> None:
    """Neither before the first reading nor while a pool is idle."""
    rate = FillRate()
    assert rate.present.blocks_per_second == 0

    assert set(read(rate, lambda _: 1000, until=100, every=1)) == {0}


@pytest.mark.parametrize("every", [0.03, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("blocks", [0.5, 3, 100, 9000])
def test_a_steady_writer_is_measured_right(blocks: float, every: float) -> None:
    """At any rate and any spacing of the readings, to one block in eight."""
    estimates = read(FillRate(), lambda now: blocks * now, until=200, every=every)

    settled = estimates[len(estimates) * 3 // 4 :]
    assert min(settled) >= blocks * 0.85
    assert max(settled) <= blocks * 1.25


def test_a_burst_out_of_nothing_is_seen_at_the_second_look() -> None:
    """569 MiB/s in chunks of 64 KiB, looked at every 30 ms: a fifth of it after 60 ms."""
    rate = FillRate()
    read(rate, lambda _: 0, until=100, every=0.03)
    burst = 569 * 16

    estimates = read(
        rate, lambda now: burst * (now - 100), since=100.03, until=100.4, every=0.03
    )

    assert estimates[1] >= burst / 5
    assert estimates[-1] == pytest.approx(burst, rel=0.1)


def test_a_burst_that_is_over_is_forgotten_as_time_passes() -> None:
    """As one over the time since, not at once and not for ever."""
    rate = FillRate()
    read(rate, lambda now: 1000 * now, until=10, every=0.1)

    after = read(rate, lambda _: 10_000, since=10, until=160, every=0.1)

    assert after[50] < 1000
    assert after[50] > 100
    assert after[-1] == 0


def test_what_is_freed_in_one_stroke_hides_nothing() -> None:
    """Half a second after a large discard the writer is seen again."""
    rate = FillRate()
    read(rate, lambda now: 100_000 + 200 * now, until=30, every=0.1)

    after = read(rate, lambda now: 6000 + 200 * (now - 30), since=30.1, until=30.6, every=0.1)

    assert after[-1] == pytest.approx(200, rel=0.3)


def test_a_pool_that_empties_does_not_fill() -> None:
    """A negative gain is no rate."""
    assert set(read(FillRate(), lambda now: 9000 - 40 * now, until=100, every=1)) == {0}


def test_metadata_that_is_replaced_and_given_back_does_not_fill() -> None:
    """A saw-tooth of one commit a second around a constant level stays a fraction of it."""
    rate = FillRate(METADATA_WINDOWS_SECONDS)

    estimates = read(rate, lambda now: 500 + 120 * (now % 1.0), until=200, every=0.05)

    # Each tooth gains 120 blocks in a second: what is left is the tooth over two seconds.
    assert max(estimates[200:]) <= 60


def test_a_trickle_does_not_jitter() -> None:
    """One block every seven seconds is neither nothing nor a block in a second."""
    estimates = read(FillRate(), lambda now: now // 7, until=600, every=1)

    settled = estimates[300:]
    assert min(settled) >= 1 / 7 * 0.8
    assert max(settled) <= 1 / 7 * 1.3


def test_a_reading_that_has_held_counts_as_if_it_had_been_repeated() -> None:
    """A burst after an idle minute is seen as soon as after a minute of looks."""
    held, repeated = FillRate(), FillRate()
    for rate in (held, repeated):
        read(rate, lambda now: 3 * now, until=5, every=0.05)
    idle = read(repeated, lambda _: 15, since=5.05, until=65, every=0.05)
    held.add(5.05, 15)
    held.hold(65.0)
    assert idle[-1] < 1

    for now in (65.05, 65.1, 65.2):
        held.add(now, 15 + int(5000 * (now - 65)))
        repeated.add(now, 15 + int(5000 * (now - 65)))

        assert held.present.blocks_per_second == pytest.approx(
            repeated.present.blocks_per_second, rel=0.5
        )
        assert held.present.blocks_per_second > 1000


@pytest.mark.parametrize("seconds", [0.25, 1.0, 10.0])
def test_how_long_it_has_been_filling_so_fast(seconds: float) -> None:
    """From the first write on, to a window of twice its length."""
    rate = FillRate()
    read(rate, lambda _: 1000, until=100, every=0.03)

    read(
        rate,
        lambda now: 1000 + 5000 * (now - 100),
        since=100.03,
        until=100 + seconds,
        every=0.03,
    )

    assert seconds / 2 <= rate.present.lasted_seconds <= seconds * 2.1


def test_a_burst_amid_a_trickle_has_not_lasted() -> None:
    """Who writes a little all the time, and then much."""
    rate = FillRate()
    read(rate, lambda now: 20 * now, until=60, every=0.1)
    assert rate.present.lasted_seconds >= 60

    read(rate, lambda now: 1200 + 4000 * (now - 60), since=60.03, until=60.5, every=0.03)

    assert rate.present.blocks_per_second == pytest.approx(4000, rel=0.3)
    assert rate.present.lasted_seconds <= 1.1
