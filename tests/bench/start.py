"""How long the program takes to begin and to end, here: `python -m tests.bench start`.

`web` and `demo` are started and asked in turn with a bare interpreter, whose own start is
part of theirs; then they are told to end. Last, what of their start is spent importing, and
what memory a guard's and a web side's process take with one pool and with a hundred.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.abuse import servers
from tests.bench.abuse.memory import memory_of
from tests.bench.guard.table import say
from tests.end_to_end.program import Program
from tests.waiting import wait_for

ROUNDS = 7
READY_GOAL_SECONDS, STOP_GOAL_SECONDS, MEMORY_GOAL_MIB = 1.5, 2.0, 60.0
SCRAPES = 200
DEADLINE_SECONDS = 30.0


def measure() -> bool:
    """Measure and print everything; whether the goals are met."""
    ready, stop, bare = [], [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run((sys.executable, "-c", "pass"), check=True)
        bare.append(time.perf_counter() - began)
        for command in ("web", "demo"):
            began_after, ended_after = lifetime(command)
            ready.append((command, began_after))
            stop.append((command, ended_after))
    say(f"a bare interpreter:       {statistics.median(bare):.3f} s")
    for command in ("web", "demo"):
        times = [seconds for name, seconds in ready if name == command]
        ends = [seconds for name, seconds in stop if name == command]
        say(
            f"{command}, start to first answer: median {statistics.median(times):.3f} "
            f"(max {max(times):.3f}) s; SIGTERM to exit: median {statistics.median(ends):.3f} "
            f"(max {max(ends):.3f}) s"
        )
    say(f"importing, of that:       {import_seconds():.3f} s")
    memory = {pools: memory_together(pools) for pools in (1, 100)}
    return (
        max(seconds for _, seconds in ready) <= READY_GOAL_SECONDS
        and max(seconds for _, seconds in stop) < STOP_GOAL_SECONDS
        and memory[1] <= MEMORY_GOAL_MIB
    )


def lifetime(command: str) -> tuple[float, float]:
    """Start a command, ask it until it answers, and end it; both durations."""
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        with Program(command, directory=Path(directory)) as program:
            assert program.get("/-/healthy")[0] == 200
            began_after = time.perf_counter() - began
            told = time.perf_counter()
            program.process.send_signal(signal.SIGTERM)
            program.process.wait(DEADLINE_SECONDS)
            return began_after, time.perf_counter() - told


def import_seconds() -> float:
    """Time the imports of a serving command, less what the interpreter itself imports."""
    line = "import time; t = time.perf_counter(); import exporter.__main__, exporter.cli.run; "
    argv = (sys.executable, "-c", f"{line}print(time.perf_counter() - t)")
    return statistics.median(
        float(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
        for _ in range(ROUNDS)
    )


def memory_together(pools: int) -> float:
    """Run both sides on quiet pools, scrape, and say what each takes; USS of both."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with (
            servers.published(pools, directory) as guard,
            Program("web", directory=directory) as web,
        ):
            wait_for(
                lambda: web.get("/-/ready")[0] == 200 or None,
                seconds=DEADLINE_SECONDS,
                what="web is ready",
            )
            for _ in range(SCRAPES):
                web.get("/metrics")
            ours = memory_of(guard), memory_of(web.process.pid)
    together = sum(each.unique for each in ours)
    say(f"{pools} pools: guard {ours[0]}, web {ours[1]}, together USS {together:.1f} MiB")
    return together
