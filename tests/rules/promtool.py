"""promtool's checks and tests of rules, written from what a test says."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from tests.programs import Edition, is_all_required, need
from tests.prometheus import PACKAGES

RULES = Path(__file__).parents[2] / "rules"
FILES = (RULES / "recording.yaml", RULES / "alerts.yaml")

SHORTER = 60
DURATION = re.compile(r"^( +(?:for|keep_firing_for|interval): )(\d+)([mh])$", re.MULTILINE)
SECONDS = {"m": 60, "h": 3600}
MINUTES = {"m": 1, "h": 60, "d": 24 * 60, "w": 7 * 24 * 60}
PART = re.compile(r"(\d+)([mhdw])")
SAMPLE = re.compile(r"\{([^}]*)\} (\S+?)(?:,|$)", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')

# One minute of each series, as promtool writes it.
Series = Mapping[str, Sequence[str]]
Test = Mapping[str, object]
# Minute, labels and value.
Answers = list[tuple[int, dict[str, str], float]]


def promtools(editions: Iterable[Edition] = Edition) -> list[str]:
    """Find this host's promtool, and Prometheus 3's if it is there or must be."""
    has_next = is_all_required() or Edition.NEXT.find("promtool")
    wanted = [one for one in editions if has_next or one is Edition.INSTALLED]
    return [need("promtool", PACKAGES, edition) for edition in wanted]


def promtool(
    *arguments: str, editions: Iterable[Edition] = Edition, timeout_seconds: float = 240
) -> tuple[int, str]:
    """Run every promtool; the exit status of one that fails, and all that it says."""

    def run(path: str) -> tuple[int, str]:
        done = subprocess.run(
            (path, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )
        return done.returncode, f"{path}: {done.stdout}"

    with ThreadPoolExecutor() as threads:
        return max(threads.map(run, promtools(editions)))


def groups() -> list[dict[str, Any]]:
    """Read the groups of all rules, those that record first."""
    return [group for file in FILES for group in yaml.safe_load(file.read_text())["groups"]]


def hold(
    directory: Path,
    series: Series,
    *tests: Test,
    every: int = 1,
    is_between: bool = False,
    scrape_seconds: int = 60,
    editions: Iterable[Edition] = Edition,
) -> None:
    """Evaluate all rules over these series, and assert what `tests` expect.

    The series have a value each minute; the rules are evaluated `every` so many. With
    `is_between`, each scrape but the first is half a minute before the evaluation. Scraped more
    often, each value comes several times; more rarely, some are never seen.
    """
    series = {name: _scraped(values, scrape_seconds) for name, values in series.items()}
    interval = f"{min(scrape_seconds, 60)}s"
    if is_between:
        series = {name: _between(values) for name, values in series.items()}
        interval = "30s"
    status, said = _test(
        directory, series, *tests, every=every, interval=interval, editions=editions
    )
    assert status == 0, said


def hold_hourly(directory: Path, series: Series, *tests: Test) -> None:
    """Do the same for series that have a value each hour, when the rules are evaluated too."""
    status, said = _test(directory, series, *tests, every=60, interval="1h")
    assert status == 0, said


def got(
    directory: Path, series: Series, alert: str, severity: str, minute: int, *, every: int = 1
) -> str:
    """Return what promtool says of an alert that fires although none is expected."""
    test = {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": []}
    status, said = _test(directory, series, test, every=every)
    assert status, f"{alert} does not fire"
    parts = said.split("Labels:")
    return next(part for part in parts if f'severity="{severity}"' in part)


def answers(
    directory: Path,
    series: Series,
    *tests: Test,
    every: int,
    interval: str,
    edition: Edition,
    timeout_seconds: float,
) -> Answers:
    """Return what the expressions of `tests` have, over series with a value each interval.

    promtool prints only answers that are not expected: `tests` expect none.
    """
    _, said = _test(
        directory,
        series,
        *tests,
        every=every,
        interval=interval,
        editions=(edition,),
        timeout_seconds=timeout_seconds,
    )
    found: Answers = []
    for failed in said.split(" time: ")[1:]:
        time, _, answer = failed.partition("got: ")
        minute = _minutes(time.partition(",")[0])
        samples = SAMPLE.finditer(answer)
        found += ((minute, dict(LABEL.findall(one[1])), float(one[2])) for one in samples)
    assert found or "SUCCESS" in said, said
    assert " err: " not in said, said
    return found


def _minutes(duration: str) -> int:
    """Read a duration as Prometheus prints it, of whole minutes."""
    return sum(int(count) * MINUTES[unit] for count, unit in PART.findall(duration))


def _written(values: Sequence[str]) -> Iterator[str]:
    """Write values as promtool reads them, and what is repeated once."""
    for value, same in groupby(values):
        count = len(list(same))
        if count == 1 or value == "stale":
            yield from [value] * count
        elif value == "_":
            yield f"_x{count}"
        else:
            yield f"{value}+0x{count - 1}"


def _scraped(values: Sequence[str], seconds: int) -> Sequence[str]:
    """Give what scrapes at such an interval see of a value each minute."""
    if seconds < SECONDS["m"]:
        return [value for value in values for _ in range(SECONDS["m"] // seconds)]
    every = seconds // SECONDS["m"]
    return [value if minute % every == 0 else "_" for minute, value in enumerate(values)]


def _between(values: Sequence[str]) -> Sequence[str]:
    """Put each value but the first half a step before its evaluation."""
    first, second, *others = values
    return [first, second, *(part for value in others for part in ("_", value))]


def _test(
    directory: Path,
    series: Series,
    *tests: Test,
    every: int = 1,
    interval: str = "60s",
    editions: Iterable[Edition] = Edition,
    timeout_seconds: float = 240,
) -> tuple[int, str]:
    path = directory / "test.yaml"
    content = {
        "rule_files": [str(file) for file in FILES],
        "evaluation_interval": f"{every}m",
        "group_eval_order": [group["name"] for group in groups()],
        "tests": [
            {
                "interval": interval,
                "input_series": [
                    {"series": name, "values": " ".join(_written(values))}
                    for name, values in series.items()
                ],
                "promql_expr_test": [test for test in tests if "expr" in test],
                "alert_rule_test": [test for test in tests if "alertname" in test],
            }
        ],
    }
    path.write_text(json.dumps(content))  # which is YAML as well
    arguments = ("test", "rules", str(path))
    return promtool(*arguments, editions=editions, timeout_seconds=timeout_seconds)


def expect(minute: int, expression: str, *samples: tuple[str, float]) -> Test:
    """Expect an expression to have exactly these samples, each by its series, at a minute."""
    return {
        "expr": expression,
        "eval_time": f"{minute}m",
        "exp_samples": [{"labels": labels, "value": value} for labels, value in samples],
    }


def selector(name: str, labels: Mapping[str, str]) -> str:
    """Write a series; labels that are empty are none, and left out."""
    pairs = (f"{key}={json.dumps(value)}" for key, value in labels.items() if value)
    return f"{name}{{{','.join(pairs)}}}"


def shortened(directory: Path) -> list[str]:
    """Copy the rules, with what they wait for and how often they run SHORTER times as short.

    Expressions and their ranges stay as they are.
    """

    def divide(match: re.Match[str]) -> str:
        return f"{match[1]}{int(match[2]) * SECONDS[match[3]] // SHORTER}s"

    copies = []
    for file in FILES:
        copy = directory / file.name
        copy.write_text(DURATION.sub(divide, file.read_text()))
        copies.append(str(copy))
    return copies
