"""Workers by themselves: what an order leaves behind whose VG goes on without it."""

from __future__ import annotations

import threading

from exporter.devmapper import DmDevice
from exporter.guard.judge import MOST_GUESS_SECONDS, Judge
from exporter.guard.rules import Clocks
from exporter.guard.slots import VERIFYING_LASTS_SECONDS
from exporter.guard.worker import Workers
from exporter.simulation import ManualClock, SimulatedHost
from tests.fakes import LVM_RULES, WORKER_SECONDS, FakeLog, docker_host


class MuteHost(SimulatedHost):
    """Tells no pool's size until it may; whoever asks is noticed."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.is_asked, self.may_tell = threading.Event(), threading.Event()

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        self.is_asked.set()
        assert self.may_tell.wait(WORKER_SECONDS)
        return super().device(name)


def test_an_order_that_loses_its_vg_tells_how_long_its_reaction_was() -> None:
    """Until the next one could begin: the guard plans with that, whenever the size is told."""
    guarded = docker_host(kind=MuteHost)
    host, clock = guarded.host, guarded.clock
    assert isinstance(host, MuteHost)
    judge = Judge(LVM_RULES, Clocks(monotonic=clock, wall=clock))
    freed: list[str] = []
    workers = Workers(
        guarded.collection, guarded.extender, judge=judge, log=FakeLog(), on_end=freed.append
    )
    workers.supervise()
    host.fill("docker/thinpool", 7000)  # of 8,000 chunks
    guarded.collection.refresh_all()
    snapshot = guarded.collection.snapshot()
    (pool,) = snapshot.pools

    decision = judge.judge(pool, snapshot, {})
    assert decision.extensions
    workers.extend(pool, decision, snapshot)
    assert host.is_asked.wait(WORKER_SECONDS)
    clock.now += VERIFYING_LASTS_SECONDS + 1
    workers.supervise()

    assert not workers.busy()
    assert "" in freed  # for whoever decides; the VG is read again beside it
    # The first of a VG is believed no further.
    assert judge.reaction_seconds("docker") == MOST_GUESS_SECONDS
    clock.now += 60.0
    host.may_tell.set()
    assert workers.join(WORKER_SECONDS)
    assert judge.reaction_seconds("docker") == MOST_GUESS_SECONDS, "it is noted once"
