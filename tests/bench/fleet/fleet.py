"""What a fleet asks of one Prometheus: `python -m tests.bench fleet`.

500, 1,000 and 2,000 hosts with one pool of LVM's and Docker each, scraped every 15 s, rules
every 30 s, with six hours of past for what looks back. The generator shares the machine's
cores, so that times are high rather than low; the ratios between the sizes are what counts.
"""

from __future__ import annotations

import os
import re
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.bench.fleet import past
from tests.bench.fleet.hosts import fleet
from tests.bench.fleet.server import Prometheus, Rates, generating, watching
from tests.bench.guard.table import say
from tests.grafana.boards import filled, load
from tests.waiting import wait_for

SIZES = (500, 1000, 2000)
SICK = {"unprotected": 5, "no_room": 3, "needs_check": 2}
ROUNDS = 6  # evaluations of each group, but those that are minutes apart
SLOW_GROUP_SECONDS = 60.0
SCRAPE_SECONDS = 15.0
QUERY_ROUNDS = 5
SHOWN_QUERIES = 3
DEADLINE_SECONDS = 900.0
GOAL_SERIES = 135  # 107 when the fleet was measured; README reckons with 145
VOLUME_SERIES = 3 * 3  # of a generated host's three volumes, counted apart
MOST_GROWTH = 1.3  # beside that of the hosts
QUICK = Rates(scrape="2s", evaluation="30s")
SAMPLES_IN_A_CHUNK = 120
HEAD, APPENDED = "prometheus_tsdb_head_series", "prometheus_tsdb_head_samples_appended_total"
OWN_SERIES = 5  # up and scrape_…, of each target
TICKS = os.sysconf("SC_CLK_TCK")
ALL: Mapping[str, str] = {"job": "thinpool", "rack": ".*", "instance": ".*"}


UP = 'count(up{job="thinpool"} == 1)'
SCRAPED = 'avg(scrape_samples_scraped{job="thinpool"})'


class Figures(NamedTuple):
    """What was measured with one number of hosts; times in seconds, memory in MiB."""

    hosts: int
    scraped: float
    recorded: float
    rules: Mapping[str, float]
    queries: Mapping[str, float]
    memory: float
    series: float
    core_share: float
    generator_share: float


def measure() -> bool:
    """Measure and print everything; whether the goal is kept."""
    found = []
    for hosts in SIZES:
        with tempfile.TemporaryDirectory() as directory:
            found.append(visit(hosts, Path(directory)))
        say(table(found))
    with tempfile.TemporaryDirectory() as directory:
        say(f"with full chunks: {full_memory(Path(directory)):.2f} KiB of memory for a series")
    with tempfile.TemporaryDirectory() as directory:
        say(f"a sample takes {past.bytes_per_sample(Path(directory)):.2f} bytes on disk")
    first, last = found[0], found[-1]
    growth = sum(last.rules.values()) / sum(first.rules.values())
    larger = last.hosts / first.hosts
    say(f"all rules: {growth:.1f} times as long for {larger:.1f} times the hosts")
    is_small = all(figures.scraped <= GOAL_SERIES + VOLUME_SERIES for figures in found)
    return is_small and growth <= MOST_GROWTH * larger


def full_memory(directory: Path) -> float:
    """Scrape so often that chunks fill up, as they do within half an hour, in KiB a series."""
    with generating(directory, SIZES[0]), watching(directory, QUICK) as prometheus:
        wait_for(
            lambda: chunks_of(prometheus) >= 1 or None,
            seconds=DEADLINE_SECONDS,
            what="full chunks",
        )
        return 1024 * anonymous_mib(prometheus.pid) / prometheus.own(HEAD)


def visit(count: int, directory: Path) -> Figures:
    """Run a fleet of one size, and measure it once all of it is known."""
    began_at = time.time()
    past.write(directory, fleet(count, SICK), began_at)
    sick = (f"{kind}={number}" for kind, number in SICK.items())
    flags = (f"--began-at={began_at}", "--sick", *sick)
    with (
        generating(directory, count, *flags) as generator,
        watching(directory, Rates()) as prometheus,
    ):
        wait_for(
            lambda: prometheus.value(UP) == count or None if prometheus.values(UP) else None,
            seconds=DEADLINE_SECONDS,
            what=f"{count} hosts are scraped",
        )
        used, since = cpu_of(prometheus.pid, generator), time.monotonic()
        rules = rule_seconds(prometheus)
        passed = time.monotonic() - since
        shares = [
            (now - then) / passed
            for now, then in zip(cpu_of(prometheus.pid, generator), used, strict=True)
        ]
        return Figures(
            hosts=count,
            scraped=OWN_SERIES + prometheus.value(SCRAPED),
            recorded=prometheus.value('count({__name__=~".+:.+|ALERTS.*"})') / count,
            rules=rules,
            queries=query_seconds(prometheus),
            memory=anonymous_mib(prometheus.pid),
            series=prometheus.own(HEAD),
            core_share=shares[0],
            generator_share=shares[1],
        )


def rule_seconds(prometheus: Prometheus) -> Mapping[str, float]:
    """Wait for so many evaluations of each group: the median that each took."""
    seen: dict[str, dict[str, float]] = {}

    def look() -> bool | None:
        is_over = True
        for group in prometheus.get("rules")["groups"]:
            assert all(rule["health"] != "err" for rule in group["rules"]), group
            times = seen.setdefault(group["name"], {})
            times[group["lastEvaluation"]] = group["evaluationTime"]
            # What was there at the first look was made while the fleet was not complete.
            wanted = 2 if group["interval"] > SLOW_GROUP_SECONDS else 1 + ROUNDS
            is_over = is_over and len(times) >= wanted
        return is_over or None

    wait_for(look, seconds=DEADLINE_SECONDS, what="evaluations of all rules")
    return {name: statistics.median(list(times.values())[1:]) for name, times in seen.items()}


def query_seconds(prometheus: Prometheus) -> Mapping[str, float]:
    """Time each query of the fleet's dashboard, as a whole request: medians, dearest first."""
    times = {}
    for name, expr in load("thinpool-fleet").expressions():
        took = []
        for _ in range(QUERY_ROUNDS):
            began = time.perf_counter()
            prometheus.get("query", query=filled(expr, ALL))
            took.append(time.perf_counter() - began)
        times[name] = statistics.median(took)
    return dict(sorted(times.items(), key=lambda item: -item[1]))


def chunks_of(prometheus: Prometheus) -> float:
    """Count the chunks that a series has filled so far, on average."""
    series = prometheus.own(HEAD)
    return prometheus.own(APPENDED) / series / SAMPLES_IN_A_CHUNK if series else 0.0


def anonymous_mib(pid: int) -> float:
    """Read how much memory a process has that is no file's, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (kib,) = re.findall(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    return int(kib) / 1024


def cpu_of(*pids: int) -> list[float]:
    """Read the processor time of each process, in seconds."""
    return [_cpu(pid) for pid in pids]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def table(found: list[Figures]) -> str:
    """Lay it out, a column for each size, and the growth from the first to the last."""
    rows: list[tuple[str, list[float], str]] = [
        ("series of a host, with Prometheus' own five", [f.scraped for f in found], ".0f"),
        ("recorded series of a host", [f.recorded for f in found], ".1f"),
        ("Prometheus' memory, MiB", [f.memory for f in found], ".0f"),
        ("of that for a series, KiB", [1024 * f.memory / f.series for f in found], ".2f"),
        ("Prometheus' share of a core", [f.core_share for f in found], ".2f"),
        ("the generator's", [f.generator_share for f in found], ".2f"),
    ]
    rows += [
        (f"rules {name}, ms", [1000 * f.rules[name] for f in found], ".1f")
        for name in found[0].rules
    ]
    rows += [
        (f"query {name}, ms", [1000 * f.queries[name] for f in found], ".0f")
        for name in list(found[-1].queries)[:SHOWN_QUERIES]
    ]
    head = ("", *(f"{f.hosts} hosts" for f in found), "growth")
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for name, values, form in rows:
        growth = f"{values[-1] / values[0]:.1f}" if values[0] else ""
        cells = (name, *(format(value, form) for value in values), growth)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
