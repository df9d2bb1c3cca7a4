"""Which order has which VG, and when it loses it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from msgspec.structs import replace

from exporter.guard.ledger import PoolRecord
from exporter.guard.slots import MAX_LATE_ORDERS, VERIFYING_LASTS_SECONDS, Order, Slots
from exporter.model import Decision, Reason
from exporter.simulation import ManualClock
from tests.factories import make_kernel_pool, make_pool, make_snapshot

LATE = VERIFYING_LASTS_SECONDS + 1


@pytest.fixture
def clock() -> ManualClock:
    """Make a clock that is moved by hand."""
    return ManualClock()


@pytest.fixture
def slots(clock: ManualClock) -> Slots:
    """Make slots in which nothing is extended."""
    return Slots(clock)


def order(name: str = "pool", *, uuid: str = "LVM-1", at: float = 1000.0) -> Order:
    """Make an order for a pool of VG a."""
    return Order(
        pool=make_pool(vg_name="a", name=name, kernel=make_kernel_pool(dm_uuid=uuid)),
        decision=Decision(reason=Reason.EXTEND),
        snapshot=make_snapshot(),
        record=PoolRecord(),
        decided_at=at,
    )


def test_an_order_that_hangs_loses_its_vg(slots: Slots, clock: ManualClock) -> None:
    """Not before it is late, and only while no lvextend of it runs."""
    hung = order()
    slots.take(hung)
    clock.now += LATE
    assert not slots.hanging(), "lvextend may take as long as it likes"

    with slots.verifying(hung):
        assert not slots.hanging()
        clock.now += LATE
        assert slots.hanging() == [hung]
        assert slots.lose(hung)
        assert not slots.busy()
        assert not slots.has(hung)
        assert slots.is_late(hung.pool)
        slots.take(other := order("other"))
    slots.release(hung)

    assert slots.has(other), "its end frees nobody else's VG"
    assert not slots.is_late(hung.pool)


def test_an_order_that_has_got_on_keeps_its_vg(slots: Slots, clock: ManualClock) -> None:
    """It is answered just when it should lose it."""
    slow = order()
    slots.take(slow)
    with slots.verifying(slow):
        clock.now += LATE
        assert slots.hanging() == [slow]

    assert not slots.lose(slow)
    assert slots.busy() == {"a"}


def test_another_pool_under_its_name_is_not_late(slots: Slots, clock: ManualClock) -> None:
    """It was removed and made anew while the question about the old one waits."""
    hung = order()
    slots.take(hung)
    with slots.verifying(hung):
        clock.now += LATE
        slots.lose(hung)
        anew = replace(hung.pool, kernel=make_kernel_pool(dm_uuid="LVM-2"))

        assert not slots.is_late(anew)
        assert slots.is_late(hung.pool)


def test_a_vg_with_many_late_orders_waits(slots: Slots, clock: ManualClock) -> None:
    """Each keeps a thread; a disk under a hundred pools must not take all there are."""
    with ExitStack() as questions:
        for number in range(MAX_LATE_ORDERS + 1):
            hung = order(f"pool{number}")
            slots.take(hung)
            questions.enter_context(slots.verifying(hung))
            clock.now += LATE
            lost = [slots.lose(each) for each in slots.hanging()]
            assert lost == ([True] if number < MAX_LATE_ORDERS else [])

        assert slots.busy() == {"a"}


def test_an_order_is_overdue_once(slots: Slots, clock: ManualClock) -> None:
    """From its decision on, whatever it waits for."""
    waiting = order(at=clock())
    slots.take(waiting)
    clock.now += 60
    assert not slots.overdue(60)
    clock.now += 1

    assert slots.overdue(60) == [waiting]
    assert not slots.overdue(60)
