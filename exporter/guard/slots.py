"""Which order has which VG: one lvextend at a time in each, and a way on when one hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from exporter.guard.ledger import PoolRecord
from exporter.model import Decision, Snapshot, ThinPool

# The kernel tells a pool's size in microseconds, or waits for a disk. Then the VG goes on.
VERIFYING_LASTS_SECONDS = 2.0
# Each order that has lost its VG keeps a thread. A VG with so many of them waits instead.
MAX_LATE_ORDERS = 8


@dataclass(slots=True, kw_only=True, eq=False)
class Order:
    """One extension that was decided: when (monotonic), on what, and how far it is."""

    pool: ThinPool
    decision: Decision
    snapshot: Snapshot
    record: PoolRecord
    decided_at: float
    has_run: bool = False  # an lvextend was started
    is_told_stuck: bool = False
    verifying_since: float | None = None  # while no lvextend runs and the size is asked for

    @property
    def vg_name(self) -> str:
        """The VG that it extends in."""
        return self.pool.vg_name


class Slots:
    """The VGs that are being extended; for any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._holders: dict[str, Order] = {}
        self._late: list[Order] = []

    def busy(self) -> frozenset[str]:
        """Return the VGs that are being extended."""
        with self._lock:
            return frozenset(self._holders)

    def take(self, order: Order) -> None:
        """Give an order its VG, which is not busy."""
        with self._lock:
            self._holders[order.vg_name] = order

    def has(self, order: Order) -> bool:
        """Return whether an order still has its VG."""
        return self._holders.get(order.vg_name) is order

    def release(self, order: Order) -> None:
        """End an order: its VG is free for the next one, if it has not lost it before."""
        with self._lock:
            if self.has(order):
                del self._holders[order.vg_name]
            if order in self._late:
                self._late.remove(order)

    @contextmanager
    def verifying(self, order: Order) -> Iterator[None]:
        """Mark that no lvextend of an order runs: if this hangs, it may lose its VG."""
        order.verifying_since = self._clock()
        try:
            yield
        finally:
            with self._lock:
                order.verifying_since = None

    def hanging(self) -> list[Order]:
        """Return the orders whose VGs should go on without them."""
        now = self._clock()
        with self._lock:
            return [
                order
                for order in self._holders.values()
                if order.verifying_since is not None
                and now > order.verifying_since + VERIFYING_LASTS_SECONDS
                and self._count_late(order.vg_name) < MAX_LATE_ORDERS
            ]

    def lose(self, order: Order) -> bool:
        """Take its VG from an order that hangs; false if it has got on meanwhile."""
        with self._lock:
            if not self.has(order) or order.verifying_since is None:
                return False
            del self._holders[order.vg_name]
            self._late.append(order)
            return True

    def is_late(self, pool: ThinPool) -> bool:
        """Return whether an order for this very pool has lost its VG, and has not ended."""
        return any(_identity(order.pool) == _identity(pool) for order in tuple(self._late))

    def overdue(self, seconds: float) -> list[Order]:
        """Return the orders that have their VG for longer than that, each of them once."""
        now = self._clock()
        with self._lock:
            found = [
                order
                for order in self._holders.values()
                if not order.is_told_stuck and now > order.decided_at + seconds
            ]
            for order in found:
                order.is_told_stuck = True
        return found

    def _count_late(self, vg_name: str) -> int:
        return sum(order.vg_name == vg_name for order in self._late)


def _identity(pool: ThinPool) -> tuple[str, str]:
    """Tell a pool from another one that was made under its name."""
    return (pool.label, pool.kernel.dm_uuid if pool.kernel else "")
