"""Scrapes under abuse, ours beside other exporters: `python -m tests.bench abuse`.

In each round every server is started anew, measured calm, abused, measured under it, and
looked at afterwards. Abuse and scrapes come from two other processes on the same machine: on
two cores the three share them, so that the calm figures beside them are the yardstick. The
abuse comes from another address than the scrapes, as another host's would.
prometheus-lvm-exporter has no volume group to report here: its scrape is as cheap as it gets.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench.abuse import crowd, scraping, servers
from tests.bench.abuse.memory import Memory, memory_of
from tests.bench.abuse.scraping import Scrapes
from tests.bench.abuse.servers import Server, Side
from tests.bench.guard.table import say

ROUNDS = 3
PACED_SCRAPES = 100  # in each round: 300 of each kind
PACE_SECONDS = 0.02
BURST_SECONDS = 1.5
SAMPLE_SECONDS = 0.5
GOAL_SECONDS = 0.100
HEADINGS = (
    "server",
    "scrapes/s, calm → abused",
    "p50, calm → abused",
    "p99, calm → abused",
    "longest, abused",
    "failed of",
    "USS before → peak → after",
)


class Visit(NamedTuple):
    """What one round saw of one server in one state."""

    new: Scrapes
    kept: Scrapes
    burst: Scrapes


class Round(NamedTuple):
    """One server: calm, abused, and its memory before, at its peak, and after."""

    calm: Visit
    abused: Visit
    memory: tuple[Memory, Memory, Memory]


def measure(rounds: int = ROUNDS) -> bool:
    """Measure and print everything; whether ours keeps to the goal."""
    sides = [side for side in servers.SIDES if side.find()]
    for side in servers.SIDES:
        if side not in sides:
            say(f"LEFT OUT: {side.name} is not installed")
    results: dict[tuple[Side, bool], list[Round]] = {}
    for number in range(rounds):
        for is_tls in (False, True):
            for side in sides:
                seen = visit(side, is_tls=is_tls)
                results.setdefault((side, is_tls), []).append(seen)
        # A run that is cut short has said something.
        say(f"after round {number + 1}, load of the machine {os.getloadavg()[0]:.1f}:")
        say(table(results))
    worse = measure_worse({side.pools: side for side in sides})
    ours = [found for (side, _), found in results.items() if side.pools]
    return worse and all(p99(found, under=True) < GOAL_SECONDS for found in ours)


def visit(side: Side, *, is_tls: bool) -> Round:
    """Start a server and measure it."""
    with run(side, is_tls=is_tls) as server:
        calm = scrape(server)
        before = memory_of(server.pid)
        counts = crowd.listed(is_tls=is_tls)
        with crowd.abused(server.address, counts, is_tls=is_tls), peak_of(server) as peak:
            under = scrape(server)
        return Round(calm, under, (before, peak[0], memory_of(server.pid)))


@contextmanager
def run(side: Side, *, is_tls: bool) -> Iterator[Server]:
    """Run a server in a directory of its own."""
    with (
        tempfile.TemporaryDirectory() as directory,
        servers.running(side, Path(directory), is_tls=is_tls) as server,
    ):
        yield server


def scrape(server: Server) -> Visit:
    """Scrape in each way."""
    new, kept = (
        scraping.paced(server.scraper(keeps_connection=kept), PACED_SCRAPES, PACE_SECONDS)
        for kept in (False, True)
    )
    burst = scraping.back_to_back(server.scraper(keeps_connection=False), BURST_SECONDS)
    return Visit(new, kept, burst)


@contextmanager
def peak_of(server: Server) -> Iterator[list[Memory]]:
    """Look at a server's memory now and then; the list holds its peak."""
    peak, is_over = [memory_of(server.pid)], threading.Event()

    def look() -> None:
        while not is_over.wait(SAMPLE_SECONDS):
            peak[0] = peak[0].at_most(memory_of(server.pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        is_over.set()
        thread.join()
        peak[0] = peak[0].at_most(memory_of(server.pid))


def table(results: dict[tuple[Side, bool], list[Round]]) -> str:
    """Lay out the medians of the rounds."""
    lines = [f"| {' | '.join(HEADINGS)} |", f"| {' | '.join('---' for _ in HEADINGS)} |"]
    for (side, is_tls), rounds in results.items():
        calm, under = ([getattr(seen, state) for seen in rounds] for state in Round._fields[:2])
        rates = (middle(visits, lambda v: v.burst.per_second) for visits in (calm, under))
        p50s = (middle(visits, lambda v: v.new.quantile(50)) * 1000 for visits in (calm, under))
        p99s = (p99(rounds, under=state) * 1000 for state in (False, True))
        failed = sum(len(v.new.failures) + len(v.kept.failures) for v in under)
        memory = (statistics.median(m.memory[i].unique for m in rounds) for i in range(3))
        cells = (
            f"{side.name}{', TLS' if is_tls else ''}",
            arrow(rates, "{:.0f}"),
            arrow(p50s, "{:.1f}") + " ms",
            arrow(p99s, "{:.1f}") + " ms",
            f"{1000 * max(v.new.quantile(100) for v in under):.0f} ms",
            f"{failed} of {2 * PACED_SCRAPES * len(rounds)}",
            arrow(memory, "{:.1f}") + " MiB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def arrow(values: Iterator[float], form: str) -> str:
    """Write what came after what."""
    return " → ".join(form.format(value) for value in values)


def middle(visits: list[Visit], figure: Callable[[Visit], float]) -> float:
    """Take the median of the rounds."""
    return statistics.median(map(figure, visits))


def p99(rounds: list[Round], *, under: bool) -> float:
    """Find that of all rounds together, of the worse of the two ways to scrape."""
    visits = [seen.abused if under else seen.calm for seen in rounds]
    ways = ([visit.new for visit in visits], [visit.kept for visit in visits])
    return max(scraping.pooled(way).quantile(99) for way in ways)


def measure_worse(sides: Mapping[int, Side]) -> bool:
    """Try each of what is worse than listed; whether it is over when it ends."""
    is_fine = True
    for name, counts, is_tls, source, pools, has_goal in crowd.WORSE:
        with run(sides[pools], is_tls=is_tls) as server:
            scraper = server.scraper(keeps_connection=False)
            before = memory_of(server.pid)
            with (
                crowd.abused(server.address, counts, is_tls=is_tls, source=source) as tally,
                peak_of(server) as peak,
            ):
                under = scraping.paced(scraper, PACED_SCRAPES, PACE_SECONDS)
            after = scraping.paced(scraper, PACED_SCRAPES // 2, PACE_SECONDS)
        say(
            f"{name} ({tally}): p50 {under.quantile(50) * 1000:.1f} "
            f"p99 {under.quantile(99) * 1000:.1f} ms, {len(under.failures)} failed; "
            f"then p99 {after.quantile(99) * 1000:.1f} ms, {len(after.failures)} failed; "
            f"USS {before.unique:.1f} → {peak[0].unique:.1f} MiB"
        )
        is_slow = has_goal and under.quantile(99) >= GOAL_SECONDS
        is_fine = is_fine and not after.failures and not is_slow
    return is_fine
