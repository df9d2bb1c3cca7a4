"""What linters have to say of the rules, and that nothing in them is made up."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from exporter.model import Collector, GuardMode, PoolMode, PoolSource, Reason, Stage
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
def test_every_alert_has_what_a_page_needs(rule: dict[str, dict[str, str]]) -> None:
    """A severity, and a summary that is the same for all."""
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert {"summary", "description", "runbook_url", "dashboard"} == set(rule["annotations"])
    assert "{{" not in rule["annotations"]["summary"]


def test_every_alert_is_tested() -> None:
    """Each with each of its severities; that of many hosts has a test of its own."""
    cases = {(case.alert, case.severity) for case in CASES}
    alerts = {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS}

    assert alerts == cases | {("ThinPoolExportersDown", "critical")}


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


def test_one_command_changes_all_links(tmp_path: Path) -> None:
    """The commands that the file itself names."""
    text = FILES[1].read_text()
    commands = re.findall(r"^#   (sed -i .* alerts\.yaml)$", text, re.MULTILINE)
    copy = tmp_path / "alerts.yaml"
    copy.write_text(text)
    for command in commands:
        subprocess.run(command, shell=True, cwd=tmp_path, check=True, timeout=10)  # noqa: S602

    assert len(commands) == 2
    rules = copy.read_text().partition("groups:")[2]
    assert "http://" not in rules
    assert rules.count("https://runbooks.example.org/ThinPool") == len(ALERTS) - 2
    assert rules.count("https://grafana.example.org/d/thinpool-") == len(ALERTS)
    assert promtool("check", "rules", str(copy))[0] == 0


def test_the_job_is_named_in_one_place() -> None:
    """Where it is easily changed."""
    text = "".join(file.read_text() for file in FILES)
    rules = re.sub(r"^ *#.*$", "", text, flags=re.MULTILINE)

    assert rules.count('job="thinpool"') == 1
