"""What the rules cost Prometheus, beside earlier ones: `python -m tests.bench rules OLD`.

OLD is a folder with an earlier recording.yaml and alerts.yaml (`git show REVISION:rules/…`).

Processor time of the whole server, less that of one which evaluates no rules: so it can be
measured while other work goes on. Groups that say how often they are evaluated are taken
apart from the others, and evaluated as often as these.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.bench.fleet import past
from tests.bench.fleet.fleet import DEADLINE_SECONDS, SICK, UP, cpu_of
from tests.bench.fleet.hosts import fleet
from tests.bench.fleet.server import RULES, Prometheus, generating, running
from tests.bench.guard.table import say
from tests.programs import Edition
from tests.waiting import wait_for

HOSTS, PER = 300, 1000
SCRAPE, EVERY_SECONDS, WARM_SECONDS, SECONDS = "15s", 5, 60.0, 100.0
FILES = ("recording.yaml", "alerts.yaml")


def measure(arguments: Sequence[str]) -> bool:
    """Measure and print everything; whether there was something to measure."""
    if len(arguments) != 1:
        say("usage: python -m tests.bench rules FOLDER_OF_EARLIER_RULES")
        return False
    sides = {"before": Path(arguments[0]), "now": RULES}
    began_at = time.time()
    with tempfile.TemporaryDirectory() as name:
        history = Path(name) / "past"
        history.mkdir()
        past.write(history, fleet(HOSTS, SICK), began_at)
        say(f"| processor time for {PER} hosts | each time | of what is seldom, each time |")
        say("| --- | --- | --- |")
        for edition in Edition:
            idle, _ = _cpu_seconds(history, [], edition, began_at)
            for side, rules in sides.items():
                costs = [
                    _cost(history, rules, edition, began_at, idle, is_seldom=is_seldom)
                    for is_seldom in (False, True)
                ]
                cells = " | ".join(f"{cost:.2f} s" for cost in costs)
                say(f"| {edition.name.lower()}, {side} | {cells} |")
    return True


def _cost(
    history: Path,
    rules: Path,
    edition: Edition,
    began_at: float,
    idle: float,
    *,
    is_seldom: bool,
) -> float:
    """Return the seconds that one evaluation takes for PER hosts."""
    groups = [
        {key: value for key, value in group.items() if key != "interval"}
        for file in FILES
        for group in yaml.safe_load((rules / file).read_text())["groups"]
        if is_seldom == ("interval" in group)
    ]
    used, evaluations = _cpu_seconds(history, groups, edition, began_at)
    return (used - idle) / evaluations * PER / HOSTS


def _cpu_seconds(
    history: Path, groups: list[dict[str, object]], edition: Edition, began_at: float
) -> tuple[float, float]:
    """Return a server's processor time in SECONDS, and how often it evaluated the rules."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        shutil.copytree(history / "data", directory / "data")
        rules = directory / "rules.json"  # which is YAML as well
        rules.write_text(json.dumps({"groups": groups}))
        config = {
            "global": {"scrape_interval": SCRAPE, "evaluation_interval": f"{EVERY_SECONDS}s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {"job_name": "thinpool", "file_sd_configs": [{"files": ["targets.json"]}]}
            ],
        }
        sick = (f"{kind}={number}" for kind, number in SICK.items())
        flags = (f"--began-at={began_at}", "--sick", *sick)
        with (
            generating(directory, HOSTS, *flags),
            running(directory, config, edition) as prometheus,
        ):
            _wait_for_all(prometheus)
            time.sleep(WARM_SECONDS)
            (before,), made_before = cpu_of(prometheus.pid), _evaluations(prometheus)
            time.sleep(SECONDS)
            (after,), made = cpu_of(prometheus.pid), _evaluations(prometheus)
            return after - before, (made - made_before) / max(1, len(groups))


def _evaluations(prometheus: Prometheus) -> float:
    """Count the evaluations of groups; on a busy machine some are left out."""
    kinds = ("iterations", "iterations_missed")
    due, missed = (prometheus.own(f"prometheus_rule_group_{kind}_total") for kind in kinds)
    return due - missed


def _wait_for_all(prometheus: Prometheus) -> None:
    wait_for(
        lambda: prometheus.value(UP) == HOSTS or None if prometheus.values(UP) else None,
        seconds=DEADLINE_SECONDS,
        what=f"{HOSTS} hosts are scraped",
    )
