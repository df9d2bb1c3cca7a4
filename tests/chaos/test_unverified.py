"""An extension whose result cannot be read: its VG goes on, and nothing is lost."""

from __future__ import annotations

import pytest

from exporter.model import Dmeventd
from exporter.simulation.figures import MIB
from tests.chaos.faults import Board, Effect, Fault
from tests.chaos.host import ChaosHost
from tests.chaos.scenario import (
    EXTENDED_SECONDS,
    STEP_OVER_SECONDS,
    grows,
    observe,
    with_deadline,
    with_guard,
)
from tests.chaos.service import QUICK, STILL, Service

RESERVE = 40
RESERVED = with_guard(STILL, reserve_bytes=RESERVE * 4 * MIB)


def hang(call: str, target: str = "") -> Fault:
    """Make a fault with which every such call waits until it is healed."""
    return Fault(call=call, target=target, effect=Effect.HANG)


def of_lvm(effect: Effect, **details: object) -> list[Fault]:
    """Make the same fault for each reading of LVM."""
    return [
        Fault(call="runner.run", target=command, effect=effect, **details)  # type: ignore[arg-type]
        for command in ("lvs", "vgs", "pvs")
    ]


SIZE_HANGS = [hang("kernel.device", "a-pool")]
SIZE_FAILS = [Fault(call="kernel.device", target="a-pool", effect=Effect.FAIL, error="EIO")]
SIZE_IS_ODD = [
    Fault(
        call="kernel.device", target="a-pool", effect=Effect.GARBAGE, garbage="no-kind", times=1
    )
]


@pytest.mark.parametrize(
    "faults",
    [SIZE_HANGS, [*SIZE_FAILS, hang("runner.run", "lvs")]],
    ids=["kernel hangs", "lvs hangs"],
)
def test_a_size_that_cannot_be_had_does_not_keep_a_vg(
    host: ChaosHost, board: Board, faults: list[Fault]
) -> None:
    """Its neighbour fills meanwhile."""
    host.make_pool("a/other")
    with Service(host, with_deadline(QUICK, 30.0), board=board) as service:
        service.settle()
        placed = [board.put(fault) for fault in faults]
        host.fill_to("a/pool", 0.9)
        service.wait(lambda: bool(placed[-1].hits), what="its size is asked for")
        grows(host, service, "a/other", to_ratio=0.9, seconds=STEP_OVER_SECONDS + 1.0)
        told = [str(fields["error"]) for fields in service.log.events("failed")]
        assert any("its VG goes on" in line for line in told), told


def test_an_archive_that_cannot_be_looked_at_does_not_keep_a_vg(
    host: ChaosHost, board: Board
) -> None:
    """It lies on a file system that hangs; LVM has just refused, and that is looked into."""
    host.make_pool("a/other")
    with Service(host, with_deadline(QUICK, 30.0), board=board) as service:
        service.settle()
        archive = board.put(hang("can_archive"))
        board.put(
            Fault(
                call="runner.start",
                target="a/pool",
                effect=Effect.GARBAGE,
                garbage="refused",
                times=1,
            )
        )
        host.fill_to("a/pool", 0.9)
        service.wait(lambda: bool(archive.hits), what="the archive is looked at")
        grows(host, service, "a/other", to_ratio=0.9, seconds=STEP_OVER_SECONDS + 1.0)


@pytest.mark.parametrize(
    "faults",
    [
        SIZE_HANGS,
        [*SIZE_HANGS, *of_lvm(Effect.LATE, seconds=1.0)],
        [*of_lvm(Effect.FAIL, error="host"), *SIZE_FAILS],
        [*of_lvm(Effect.LATE, seconds=0.5), *SIZE_IS_ODD],
    ],
    ids=["kernel hangs", "lvs is late as well", "both fail", "kernel talks nonsense"],
)
def test_the_reserve_is_kept_whatever_cannot_be_verified(
    board: Board, faults: list[Fault]
) -> None:
    """Nobody tells what the first extension has taken; there is room for it and a bit more."""
    host = ChaosHost()
    host.set_profile("p", threshold=80, percent=20)
    host.add_vg("a", extents=125 * 2 + 2 * 3 + RESERVE + 30)
    host.make_pool("a/pool")
    host.make_pool("a/other")
    with Service(host, RESERVED, board=board) as service:
        service.settle()
        placed = [board.put(fault) for fault in faults]
        host.fill_to("a/pool", 0.81)
        hits = placed[0] if faults[0].call == "kernel.device" else placed[-1]
        service.wait(lambda: bool(hits.hits), what="its size is asked for")
        host.fill_to("a/other", 0.85)
        service.wait(
            lambda: len(host.growths) >= 2, seconds=10.0, what="the other is extended as well"
        )
        observe(service, 1.0)
    free = host.free_extents("a")
    host.close()

    assert free >= RESERVE, [growth.argv for growth in host.growths]


def test_the_reserve_is_kept_when_many_neighbours_fill_after_one_that_hangs(
    board: Board,
) -> None:
    """Each extension makes the readings of LVM that are under way too old to be taken."""
    host = ChaosHost()
    host.set_profile("p", threshold=80, percent=20)
    host.add_vg("a", extents=3000)
    host.make_pool("a/pool", data_mib=4000)
    neighbours = [f"a/other{number}" for number in range(4)]
    for label in neighbours:
        host.make_pool(label, data_mib=400)
    host.take_space("a", leave_extents=200 + RESERVE)
    with Service(host, RESERVED, board=board) as service:
        service.settle()
        (asked,) = [board.put(fault) for fault in SIZE_HANGS]
        for fault in of_lvm(Effect.LATE, seconds=0.3):
            board.put(fault)
        host.fill_to("a/pool", 0.81)
        service.wait(lambda: bool(asked.hits), what="its size is asked for")
        for label in neighbours:
            host.fill_to(label, 0.85)
        observe(service, STEP_OVER_SECONDS + 2.0)
    free = host.free_extents("a")
    host.close()

    assert free >= RESERVE, [growth.argv for growth in host.growths]


def test_who_has_lost_the_vg_runs_no_second_lvextend(board: Board) -> None:
    """It was refused, and LVM cannot archive: it would be repeated on an old account."""
    host = ChaosHost()
    host.set_profile("p", threshold=80, percent=20)
    host.add_vg("a", extents=125 * 2 + 2 * 3 + RESERVE + 30)
    host.make_pool("a/pool")
    host.make_pool("a/other")
    with Service(host, RESERVED, board=board) as service:
        service.settle()
        board.put(Fault(call="can_archive", effect=Effect.GARBAGE, garbage="no"))
        board.put(
            Fault(
                call="runner.start",
                target="a/pool",
                effect=Effect.GARBAGE,
                garbage="refused",
                times=1,
            )
        )
        (asked,) = [board.put(fault) for fault in SIZE_HANGS]
        host.fill_to("a/pool", 0.81)
        service.wait(lambda: bool(asked.hits), what="its size is asked for")
        grows(host, service, "a/other", to_ratio=0.85, seconds=STEP_OVER_SECONDS + 1.0)
        board.heal(asked)
        observe(service, 2.0)
    free = host.free_extents("a")
    host.close()

    assert free >= RESERVE, [growth.argv for growth in host.growths]


def test_a_late_answer_about_our_own_growth_hands_no_pool_back(
    host: ChaosHost, board: Board
) -> None:
    """A pool that was taken over has grown, by nobody but the guard."""
    host.set_dmeventd(Dmeventd(is_alive=True, pid=7, state="S"))
    host.set_monitored("a/pool")
    settings = with_guard(STILL, takeover_after_seconds=1.0)
    with Service(host, settings, board=board) as service:
        service.settle()
        start = board.put(
            Fault(call="runner.start", target="a", effect=Effect.LATE, seconds=0.5, times=1)
        )
        host.fill_to("a/pool", 0.85)
        service.wait(lambda: bool(start.hits), what="it is taken over")
        status = board.put(hang("kernel.status", "a-pool"))
        (asked,) = [board.put(fault) for fault in SIZE_HANGS]
        service.wait(lambda: bool(asked.hits), what="its size is asked for")
        observe(service, STEP_OVER_SECONDS)
        board.heal(status)
        observe(service, 2.0)
        board.heal(asked)
        observe(service, 1.0)

        assert service.log.events("takeover")
        assert not service.log.events("handed_back")


def test_one_failed_reading_costs_a_full_pool_no_reading_of_lvm(
    host: ChaosHost, board: Board
) -> None:
    """The kernel answers the next one, and lvs takes 20 s."""
    with Service(host, with_deadline(STILL, 30.0), board=board) as service:
        service.settle()
        board.put(
            Fault(
                call="kernel.device", target="a-pool", effect=Effect.FAIL, error="EIO", times=1
            )
        )
        for fault in of_lvm(Effect.LATE, seconds=20.0):
            board.put(fault)
        grows(host, service, "a/pool", to_ratio=0.85)
        grows(host, service, "a/pool", to_ratio=1.0)


def test_a_pool_that_was_made_anew_does_not_suffer_for_the_old_one(
    host: ChaosHost, board: Board
) -> None:
    """Lvextend has waited for a lock meanwhile, and then does nothing."""
    with Service(host, board=board) as service:
        service.settle()
        lock = board.put(hang("runner.start", "a/pool"))
        host.fill_to("a/pool", 0.85)
        service.wait(lambda: bool(lock.hits), what="lvextend waits")
        host.remove_pool("a/pool")
        host.make_pool("a/pool", data_mib=1000)
        service.wait(
            lambda: (service.used("a/pool") or 0) == host.truth("a/pool").used,
            what="the new pool is seen",
        )
        board.heal(lock)
        service.wait(
            lambda: any(not growth.data_extents for growth in host.growths),
            what="the old order has ended",
        )
        grows(host, service, "a/pool", to_ratio=0.9)


def test_a_start_that_hangs_is_told(host: ChaosHost, board: Board) -> None:
    """No lvm stands ready, and the disk that lvm is read from does not answer."""
    with Service(host, board=board) as service:
        service.settle()
        start = board.put(hang("runner.start", "a"))
        host.fill_to("a/pool", 0.85)
        service.wait(lambda: bool(start.hits), what="lvextend is to be started")
        service.wait(
            lambda: bool(service.log.events("lvextend_stuck")),
            seconds=EXTENDED_SECONDS,
            what="it is said to be stuck",
        )
        assert "stuck" in service.exposition()
        grows(host, service, "b/pool", to_ratio=0.9)
