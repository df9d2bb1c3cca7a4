"""What linters have to say of the rules, and that nothing in them is made up."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from exporter.model import Collector, GuardMode, PoolMode, PoolSource, Reason, Stage
from rules.builder.__main__ import files
from rules.builder.settings import Settings
from tests.rules.cases import CASES
from tests.rules.promtool import FILES, RULES, groups, promtool

GOLDEN = Path(__file__).parents[1] / "golden"
ALERTS = [rule for group in groups() for rule in group["rules"] if "alert" in rule]
RECORDS = {rule["record"] for group in groups() for rule in group["rules"] if "record" in rule}
EXPRESSIONS = [rule["expr"] for group in groups() for rule in group["rules"]]
OWN = re.compile(r"(?<![:\w])(thinpool_\w+)(?:\{([^}]*)\})?")
RECORDED = re.compile(r"\w+:\w+(?::\w+)?")
RANGE = re.compile(r"\b(\w+)\([^()]*\[(\w+)\]")
SHORT_SECONDS = 30 * 60
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
# Series that only the process that serves another's Snapshot has, or that no golden needs.
ELSEWHERE = {
    "thinpool_exporter_snapshot_success",
    "thinpool_exporter_config_last_reload_successful",
    "thinpool_fill_bytes_per_second",
}
OF_FLEETS = {"ThinPoolExportersDown", "ThinPoolTargetsLost"}
# Of many hosts, of many days, and after other alerts: test_fleet.py and test_lasting.py.
TESTED_ELSEWHERE = {
    ("ThinPoolExportersDown", "critical"),
    ("ThinPoolTargetsLost", "critical"),
    ("ThinPoolTargetsLost", "warning"),
    ("ThinPoolHostLost", "critical"),
    ("ThinPoolFullWithinWeeks", "warning"),
}
WORDS: dict[str, set[str]] = {
    "mode": {*map(str, PoolMode), *map(str, GuardMode)},
    "reason": {*map(str, Reason), "stuck"},
    "collector": {*map(str, Collector)},
    "source": {*map(str, PoolSource)},
    "stage": {*map(str, Stage)},
    "device": {"data", "metadata"},
    "storage_driver": {"devicemapper"},
    "driver": {"devicemapper", "devmapper"},
    "vg": {""},  # of a pool that LVM does not own
    "discards": {"ignore"},
    "outcome": {"done", "failed"},
}


def exposed() -> dict[str, set[str]]:
    """Find every series in the goldens: its name, and the labels that it has."""
    found: dict[str, set[str]] = {}
    for path in GOLDEN.glob("*.prom"):
        for line in path.read_text().splitlines():
            if not line.startswith("#"):
                name, _, labels = line.partition("{")
                names = set(re.findall(r"(\w+)=\"", labels))
                found.setdefault(name.split(" ")[0], set()).update(names)
    return found


EXPOSED = exposed()


def test_promtool_has_nothing_to_say() -> None:
    """With all its lints, each of them fatal."""
    status, said = promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, FILES))

    assert status == 0, said


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_has_what_a_page_needs(rule: dict[str, Any]) -> None:
    """A severity, a summary that is the same for all, and a command to begin with."""
    assert rule["labels"]["severity"] in {"critical", "warning", "none"}
    found = {"summary", "description", "runbook_url", "dashboard"}
    is_fleets = rule["alert"] in OF_FLEETS
    assert found | (set() if is_fleets else {"host_page"}) == set(rule["annotations"])
    assert "{{" not in rule["annotations"]["summary"]
    assert "First: " in rule["annotations"]["description"]
    assert "{{" not in rule["annotations"]["runbook_url"]  # it works when the host is dead


def test_every_alert_is_tested() -> None:
    """Each with each of its severities."""
    cases = {(case.alert, case.severity) for case in CASES}
    alerts = {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS}

    assert alerts == cases | TESTED_ELSEWHERE


@pytest.mark.parametrize("name", sorted({rule["alert"] for rule in ALERTS}))
def test_every_alert_has_a_runbook(name: str) -> None:
    """Which is what its page leads to."""
    assert (RULES / "runbooks" / f"{name}.md").is_file()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_uses_only_series_that_there_are(expression: str) -> None:
    """With labels and values that the exporter gives to them."""
    for name, matchers in OWN.findall(expression):
        assert name in EXPOSED or name in ELSEWHERE, name
        for label, operator, value in MATCHER.findall(matchers):
            assert label in EXPOSED[name], (name, label)
            assert operator.endswith("~") or value in WORDS[label], (name, label, value)
    recorded = {name for name in RECORDED.findall(expression) if "thinpool" in name}
    assert recorded <= RECORDS


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_counters_and_gauges_are_not_mixed_up(expression: str) -> None:
    """A rate of a gauge, or a slope of a counter, is a number without a meaning."""
    for function, name in re.findall(r"\b(\w+)\((thinpool_\w+)", expression):
        is_counter = name.endswith("_total")
        assert function not in {"rate", "increase", "irate"} or is_counter, name
        assert function not in {"deriv", "predict_linear", "delta"} or not is_counter, name


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_short_ranges_hold_the_same_samples_in_every_prometheus(expression: str) -> None:
    """None is exactly as old as a range in which few are compared: scrapes are 15 s apart."""
    for function, written in RANGE.findall(expression):
        parts = re.findall(r"(\d+)([smhd])", written)
        seconds = sum(int(count) * SECONDS[unit] for count, unit in parts)
        is_compared = function != "last_over_time" and seconds < SHORT_SECONDS
        assert not is_compared or seconds % 15, (function, written)


def test_the_builder_has_written_what_is_committed() -> None:
    """With its defaults."""
    for name, text in files(Settings()).items():
        assert (RULES / name).read_text() == text


OTHER = Settings(
    job="thinpool|node",
    cluster="site",
    scrape_seconds=300,
    page_hours=2,
    ticket_hours=48,
    page_minutes=30,
    ticket_days=30,
    nearly_full_percent=90,
    full_percent=98,
    many_hosts=50,
    runbooks="https://runbooks.example.org/{}",
    host_scheme="https",
    grafana="https://grafana.example.org",
)


def test_every_setting_reaches_the_rules(tmp_path: Path) -> None:
    """Each changes something, and promtool still has nothing to say."""
    for field in fields(Settings):
        value = getattr(OTHER, field.name)
        assert files(replace(Settings(), **{field.name: value})) != files(Settings()), (
            field.name
        )
    paths = []
    for name, text in files(OTHER).items():
        paths.append(tmp_path / name)
        paths[-1].write_text(text)
    status, said = promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, paths))
    assert status == 0, said
    rules = paths[1].read_text().partition("groups:")[2]
    assert "http://" not in rules
    assert "github" not in rules


def test_the_job_is_named_in_one_place() -> None:
    """All else goes by the figures that hosts show."""
    text = "".join(file.read_text() for file in FILES)
    rules = re.sub(r"^ *#.*$", "", text, flags=re.MULTILINE)

    assert rules.count('job=~"thinpool"') == 1
