"""From a crossed threshold to the kernel's new size, beside a bare lvextend on that pool.

Crossing and bare command take turns; for the command the daemon is stopped, and goes on
afterwards. The writer is slow: this is about the reaction alone.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.bench.guard import sides
from tests.bench.guard.sides import Side
from tests.bench.guard.table import Row, say
from tests.vm import payload, scenarios
from tests.vm.machine import Machine

ROUNDS = {"data": 10, "metadata": 5}
GOAL_RATIO = 1.2
# Small steps, so that many of them fit.
POOL = replace(sides.SMALL, metadata="4M", profile=(80, 5), error_when_full=False)
DM_NAME = "docker-thinpool-tpool"
# LVM's own threshold for metadata of up to 16 MiB, and for larger ones: 100 - 4 MiB/1 %.
METADATA_PERCENT = 75.0
EXTENT_BYTES = 4 * 1024**2
METADATA_BLOCK_BYTES = 4096
CALM_LOOKS = 3
CODE = "/root/bench"
_REPOSITORY = Path(__file__).parents[3]
_MODULES = ("tests/vm/empty_thins.py", "tests/bench/guard/crossing.py")


@dataclass(slots=True)
class Times:
    """Seconds of each round: the side's reaction, the bare command's effect and end."""

    reactions: list[float] = field(default_factory=list)
    effects: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The reaction in terms of a bare command's effect, which comes before its end."""
        return statistics.median(self.reactions) / statistics.median(self.effects)


def measure(machine: Machine, *, kind: str) -> list[Row]:
    """Measure both sides, one after the other, each in turn with the bare command."""
    _install(machine)
    ours, theirs = (_rounds(machine, side, kind) for side in Side)
    return [
        Row(
            figure=f"{kind} threshold crossed → kernel shows the new size",
            goal=f"≤ {GOAL_RATIO} × a bare lvextend until the same",
            ours=_account(ours),
            theirs=_account(theirs),
            is_met=ours.ratio <= GOAL_RATIO,
        )
    ]


def _install(machine: Machine) -> None:
    """Bring the watching program into the guest, under the names that it has here."""
    for name in _MODULES:
        machine.write(f"{CODE}/{name}", (_REPOSITORY / name).read_text())


def _rounds(machine: Machine, side: Side, kind: str) -> Times:
    times = Times()
    with sides.fresh_pool(machine, POOL) as device, sides.protected(machine, side, POOL.name):
        for number in range(ROUNDS[kind] + 1):
            percent = str(_percent(machine, kind))
            crossed = _crossing(machine, "fill", DM_NAME, device, kind, percent)
            sides.settled(machine, CALM_LOOKS)
            with _stopped(machine, side):
                bare = _crossing(machine, "command", DM_NAME, kind, *_argv_bare(machine, kind))
            sides.settled(machine, CALM_LOOKS)
            say(f"{side.value:8} {kind}: {crossed}, bare {bare}")
            if number:  # the first one translates what the others run
                times.reactions.append(crossed["grown"])
                times.effects.append(bare["grown"])
                times.ends.append(bare["ended"])
    return times


def _percent(machine: Machine, kind: str) -> float:
    """Compute the threshold that LVM goes by at the present size."""
    threshold = float(POOL.profile[0]) if POOL.profile else 100.0
    if kind == "data":
        return threshold
    total = scenarios.dm_status(machine)[DM_NAME].total_metadata or 1
    one_percent = total * METADATA_BLOCK_BYTES / 100
    return min(threshold, float(int(100 - min(25.0, EXTENT_BYTES / one_percent))))


def _argv_bare(machine: Machine, kind: str) -> tuple[str, ...]:
    """Build the command that adds one extent."""
    status = scenarios.dm_status(machine)[DM_NAME]
    lvextend = ("env", "LVM_RUN_BY_DMEVENTD=1", "LC_ALL=C", "/sbin/lvm", "lvextend", "-qq")
    if kind == "data":
        extents = (status.total_data or 0) // sides.CHUNKS_PER_EXTENT
        return (*lvextend, "-l", str(extents + 1), POOL.name)
    size = (status.total_metadata or 0) * METADATA_BLOCK_BYTES + EXTENT_BYTES
    return (*lvextend, "--poolmetadatasize", f"{size}b", POOL.name)


def _crossing(machine: Machine, *words: str) -> dict[str, float]:
    python = f"{payload.PREFIX}/bin/python"
    argv = ("env", f"PYTHONPATH={CODE}", python, "-m", "tests.bench.guard.crossing", *words)
    result = machine.run(argv, timeout_seconds=180)
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return figures


@contextmanager
def _stopped(machine: Machine, side: Side) -> Iterator[None]:
    """Keep the side's daemon from acting on what the bare command does meanwhile."""
    pid = sides.daemon_pid(machine, side)
    machine.run(("kill", "-STOP", str(pid)))
    try:
        yield
    finally:
        machine.run(("kill", "-CONT", str(pid)))


def _account(times: Times) -> str:
    reaction, effect, end = (
        statistics.median(seconds) for seconds in (times.reactions, times.effects, times.ends)
    )
    return (
        f"{reaction:.2f} s, {reaction / effect:.2f} × {effect:.2f} s; "
        f"the whole command: {end:.2f} s"
    )
