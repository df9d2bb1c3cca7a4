"""An accelerated day in a real Prometheus: scraped, and with everything that the rules record.

Prometheus scrapes each simulated host in earnest. What it gets is an hour at a time, with the
time of the day on every line, which it keeps (honor_timestamps): a day takes a minute or two.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.grafana.backfill import RULES, Rule, levels
from tests.grafana.chronicle import telling
from tests.grafana.machine import JOB
from tests.grafana.story import hosts
from tests.programs import need
from tests.prometheus import PACKAGES, free_port
from tests.waiting import wait_for

DAY_SECONDS = 24 * 3600
STEP_SECONDS = 60
LIVED_SECONDS, START_SECONDS, STOP_SECONDS = 600.0, 60.0, 60.0
PROMTOOL_SECONDS, SNAPSHOT_SECONDS = 120, 60
# A Prometheus takes nothing that is older than its newest sample by half a block or more.
BLOCK = "72h"


@dataclass(frozen=True, kw_only=True)
class Series:
    """A series of an answer: its labels, and its values by time."""

    labels: Mapping[str, str]
    values: Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Day:
    """A Prometheus that knows the day, and when the day ended, by the epoch."""

    url: str
    ended_at: float

    @property
    def began_at(self) -> float:
        """The day's first second."""
        return self.ended_at - DAY_SECONDS

    def at_end(self, expr: str) -> list[Series]:
        """Evaluate as of the end of the day."""
        answer = self._ask("query", query=expr, time=str(self.ended_at))
        return _series((row["metric"], [row["value"]]) for row in answer["result"])

    def over(self, expr: str, *, step: int = STEP_SECONDS) -> list[Series]:
        """Evaluate through the whole day."""
        answer = self._ask(
            "query_range",
            query=expr,
            start=str(self.began_at + STEP_SECONDS),
            end=str(self.ended_at),
            step=str(step),
        )
        return _series((row["metric"], row["values"]) for row in answer["result"])

    def label_values(self, label: str, selector: str) -> list[str]:
        """List the values of a label among the series of a selector."""
        limits = {"start": str(self.began_at), "end": str(self.ended_at)}
        return list(self._ask(f"label/{label}/values", **{"match[]": selector}, **limits))

    def rules(self, *, longest_interval: float = math.inf) -> list[dict[str, Any]]:
        """List the rules that are loaded, with how their last evaluation went."""
        groups = self._ask("rules")["groups"]
        return [
            rule
            for group in groups
            for rule in group["rules"]
            if group["interval"] <= longest_interval
        ]

    def _ask(self, path: str, **arguments: str) -> Any:  # noqa: ANN401 - as JSON has it
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as page:
                return json.load(page)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{arguments}: {error.read().decode()}") from error


def _series(rows: Iterable[tuple[Mapping[str, str], Sequence[Any]]]) -> list[Series]:
    """Read an answer; what is no number is no data."""
    found = []
    for labels, pairs in rows:
        samples = [(float(time), float(value)) for time, value in pairs]
        if values := [sample for sample in samples if not math.isnan(sample[1])]:
            found.append(Series(labels=labels, values=values))
    return found


@contextmanager
def accelerated_day(directory: Path) -> Iterator[Day]:
    """Live through a day, have it scraped, and give out the Prometheus that knows it."""
    ended_at = time.time() // STEP_SECONDS * STEP_SECONDS
    pages = directory / "pages"
    pages.mkdir()
    for rules in ("recording.yaml", "alerts.yaml"):
        shutil.copy(RULES / rules, directory)
    with telling(pages, ended_at - DAY_SECONDS) as (chronicle, address):
        _configure(directory, address)
        with _prometheus(directory, directory / "scraped") as url:
            wait_for(
                lambda: chronicle.is_told or None, seconds=LIVED_SECONDS, what="a day's scrapes"
            )
            # What has been served last may not be stored yet.
            told = Day(url=url, ended_at=ended_at)
            wait_for(
                lambda: _has_all(told) or None, seconds=LIVED_SECONDS, what="every host's end"
            )
            # As blocks: beside those that follow, a restart would take the rest for old.
            snapshot = _snapshot(url)
    data = directory / "data"
    (directory / "scraped" / "snapshots" / snapshot).rename(data)
    # Scraped no more: from now on nothing is added but what the rules make of it.
    _configure(directory, None)
    for number, level in enumerate(levels()):
        with _prometheus(directory, data) as url:
            _record(directory, number, level, Day(url=url, ended_at=ended_at))
    with _prometheus(directory, data) as url:
        yield Day(url=url, ended_at=ended_at)


def _has_all(day: Day) -> bool:
    """Whether the last minute of every host is there, of those that do not answer as well."""
    return [series.values[-1][1] for series in day.at_end(f'count(up{{job="{JOB}"}})')] == [
        len(hosts())
    ]


def _snapshot(url: str) -> str:
    """Have everything written into blocks; the folder's name."""
    request = urllib.request.Request(f"{url}/api/v1/admin/tsdb/snapshot", method="POST")
    with urllib.request.urlopen(request, timeout=SNAPSHOT_SECONDS) as answer:
        return str(json.load(answer)["data"]["name"])


def _configure(directory: Path, address: str | None) -> None:
    targets = [
        {
            "targets": [address],
            "labels": {"instance": plan.name, "__metrics_path__": f"/{plan.name}"},
        }
        for plan in hosts()
    ]
    scrape = {
        # Not the hosts' own: what Prometheus notes of these scrapes is of now, not of the day.
        "job_name": "chronicle",
        "honor_timestamps": True,
        "honor_labels": True,
        "static_configs": targets,
    }
    config = {
        "global": {
            "scrape_interval": "5s",
            "scrape_timeout": "5s",
            "evaluation_interval": "5s",
        },
        "rule_files": ["recording.yaml", "alerts.yaml"],
        "scrape_configs": [scrape] if address else [],
    }
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))


@contextmanager
def _prometheus(directory: Path, data: Path) -> Iterator[str]:
    """Run Prometheus until the end of the block; its address, once it answers."""
    url = f"http://127.0.0.1:{free_port()}"
    argv = (
        need("prometheus", PACKAGES),
        f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={data}",
        "--web.enable-admin-api",
        f"--web.listen-address={url.removeprefix('http://')}",
        f"--storage.tsdb.min-block-duration={BLOCK}",
        f"--storage.tsdb.max-block-duration={BLOCK}",
        # A series that is gone has no mark of that with times of its own: a scrape and a half.
        "--query.lookback-delta=90s",
    )
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(argv, stderr=log)
    try:
        wait_for(lambda: _is_ready(url), seconds=START_SECONDS, what="Prometheus")
        yield url
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _is_ready(url: str) -> bool | None:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
            return True
    except OSError:
        return None


def _record(directory: Path, number: int, level: Sequence[Rule], day: Day) -> None:
    """Write the blocks of one level of rules."""
    file = directory / f"level-{number}.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "level", "rules": list(level)}]}))
    argv = (
        need("promtool", PACKAGES),
        *("tsdb", "create-blocks-from", "rules"),
        f"--start={day.began_at + STEP_SECONDS:.0f}",
        f"--end={day.ended_at:.0f}",
        f"--eval-interval={STEP_SECONDS}s",
        f"--url={day.url}",
        f"--output-dir={directory}/data",
        str(file),
    )
    done = subprocess.run(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PROMTOOL_SECONDS,
    )
    assert done.returncode == 0, done.stdout
