"""The committed dashboards: as the builder makes them, and as Grafana's own linter wants them.

The rules are those of grafana/dashboard-linter, reimplemented, as it has no package; each test
names its rule, and what grafana/.lint excepts is excepted here. Where the linter itself is
installed, it is run as well.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from systemd.package.build import stage_shared
from tests.grafana.backfill import RULES, rules_of
from tests.grafana.boards import FOLDER, NAMES, Board, filled, label_query, load
from tests.programs import need

ROOT = FOLDER.parent
BUILDERS = {
    "thinpool-fleet": "grafana.builder.fleet",
    "thinpool-host": "grafana.builder.host",
}
# What the linter takes for a unit, as far as it is used here.
UNITS = {"none", "short", "bytes", "binBps", "percentunit", "s", "dtdurations"}
WITH_UNITS = {"stat", "timeseries", "gauge", "table"}
AGGREGATIONS = ("count(", "count by ", "sum(", "min by ", "max by ", "topk(", "bottomk(")
VALUES = {"cluster": ".*", "job": "j", "instance": "i", "vg": "v", "pool": "p"}
boards = pytest.mark.parametrize("board", [load(name) for name in NAMES], ids=NAMES)


def excepted(rule: str, board: Board) -> bool:
    """Whether grafana/.lint lets a dashboard off a rule; it must say why."""
    entry = yaml.safe_load((FOLDER / ".lint").read_text())["exclusions"].get(rule)
    assert entry is None or entry["reason"]
    titles = {item["dashboard"] for item in entry["entries"]} if entry else set()
    return board.raw["title"] in titles


def selectors(expr: str) -> Iterator[str]:
    """Find the label matchers of every metric in an expression."""
    plain = re.sub(r"\b(by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)", "", expr)
    plain = re.sub(r"\[[^]]*\]|offset \w+", "", plain)
    plain = re.sub(r',\s*"[^"]*"', "", plain)  # a function's arguments
    # A function is followed by a bracket, a metric by its matchers or by nothing.
    metric = r"(?<![\w:$])([a-zA-Z_][\w:]*)(?![\w:])(?!\s*\()(\{[^}]*\})?"
    for match in re.finditer(metric, plain):
        if match[1] not in {"and", "or", "unless", "offset", "bool"}:
            yield match[2] or ""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Grafana's SDK needs Python 3.11")
@boards
def test_is_what_the_builder_makes(board: Board) -> None:
    """`make dashboards` has been run since the builder was last changed."""
    made = import_module(BUILDERS[board.name]).dashboard()

    assert made == (FOLDER / f"{board.name}.json").read_text()


@boards
def test_keeps_its_uid(board: Board) -> None:
    """Alerts and other pages link to it."""
    assert board.raw["uid"] == board.name


@boards
def test_template_datasource_rule(board: Board) -> None:
    """One variable chooses the data source."""
    (variable,) = (
        entry for entry in board.raw["templating"]["list"] if entry["type"] == "datasource"
    )

    assert (variable["name"], variable["label"]) == ("datasource", "Data source")
    assert variable["query"] == "prometheus"


@pytest.mark.parametrize("name", ["job", "instance"])
@boards
def test_template_job_and_instance_rules(board: Board, name: str) -> None:
    """Job and instance can be chosen, in the form that the linter wants."""
    found = [variable for variable in board.variables if variable["name"] == name]
    assert bool(found) is not excepted(f"template-{name}-rule", board)

    for variable in found:
        assert variable["datasource"]["uid"] == "$datasource"
        assert variable["label"] == name.capitalize()
        assert variable["multi"] is not excepted(f"template-{name}-rule-multi", board)
        assert variable["allValue"] == ".+"


@boards
def test_template_label_promql_and_time_change_rules(board: Board) -> None:
    """Variables ask for labels, and anew when the time changes."""
    for variable in board.variables:
        assert label_query(variable)
        assert variable["refresh"] == 2


@boards
def test_panel_rules(board: Board) -> None:
    """panel-datasource, -title-description, -no-targets and -units."""
    for panel in board.panels:
        assert panel.title, panel.raw["id"]
        assert panel.raw["description"], panel.title
        assert panel.raw["datasource"]["uid"] == "$datasource", panel.title
        assert panel.targets, panel.title
        for target in panel.raw["targets"]:
            assert target["datasource"]["uid"] == "$datasource", panel.title
        if panel.type in WITH_UNITS:
            assert panel.raw["fieldConfig"]["defaults"]["unit"] in UNITS, panel.title


@pytest.mark.parametrize("label", ["job", "instance"])
@boards
def test_target_job_and_instance_rules(board: Board, label: str) -> None:
    """Every metric of every query is asked for the job and the instance chosen."""
    if excepted(f"target-{label}-rule", board):
        return
    for name, expr in board.expressions():
        found = list(selectors(expr))
        assert found, name
        for matchers in found:
            assert f'{label}=~"${label}"' in matchers, f"{name}: {expr}"


@boards
def test_target_rate_interval_and_counter_agg_rules(board: Board) -> None:
    """Counters are rates or increases; those of graphs over what Grafana finds right."""
    for name, expr in board.expressions():
        counters = re.findall(r"(\w+\()?(\w+_total)\b", expr)
        for function, counter in counters:
            assert function in {"rate(", "increase("}, f"{name}: {counter}"
        assert "$__interval" not in expr, name
        assert not re.search(r"\brate\([^)]*\[\d", expr), name


@boards
def test_uneditable_dashboard(board: Board) -> None:
    """What is changed in Grafana would be lost with the next version."""
    assert board.raw["editable"] is False


@boards
def test_target_promql_rule(board: Board, tmp_path: Path) -> None:
    """Promtool can read every expression."""
    rules = [
        {"record": "dashboard:expr", "labels": {"panel": name}, "expr": filled(expr, VALUES)}
        for name, expr in board.expressions()
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    argv = [need("promtool", "prometheus"), "check", "rules", "--lint=none", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(rules)} rules found" in done.stdout


@boards
def test_asks_for_metrics_that_there_are(board: Board) -> None:
    """Of the exporter, by the README, which names them all, or recorded by a rule."""
    exported = set(re.findall(r"`(thinpool_\w+)`", (ROOT / "rules/README.md").read_text()))
    recorded = {rule["record"] for rule in rules_of("recording.yaml")}

    for name, expr in board.expressions():
        asked = set(re.findall(r"\b(?:\w+:)?thinpool[\w:]+", expr))
        plain = {re.sub(r"_(bucket|sum|count)$", "", metric) for metric in asked - recorded}
        assert plain <= exported, name


def test_the_fleet_asks_for_no_pool_of_every_host() -> None:
    """Each query ends in one figure, one for each kind, or a limited number of rows."""
    for name, expr in load("thinpool-fleet").expressions():
        assert expr.startswith(AGGREGATIONS), name
        if " by (job, instance" in expr:
            assert re.search(r"\b(top|bottom)k\(\d+", expr), name


def test_links_lead_to_dashboards_that_there_are() -> None:
    """Of the dashboards to each other and to the exporter, and of every alert."""
    variables = {
        name: {entry["name"] for entry in load(name).raw["templating"]["list"]}
        for name in NAMES
    }
    text = "".join((FOLDER / f"{name}.json").read_text() for name in NAMES)
    text += (RULES / "alerts.yaml").read_text()

    links = re.findall(r"/d/([\w-]+)\?([^\s\"]*)", text)

    assert {uid for uid, _ in links} == set(NAMES)
    for uid, query in links:
        assert set(re.findall(r"var-(\w+)=", query)) <= variables[uid]
    assert '"http://${instance}/"' in text


def test_provisioning_loads_what_the_package_brings(tmp_path: Path) -> None:
    """The provider's folder is the package's: the dashboards are there, the builder is not."""
    provider = yaml.safe_load((FOLDER / "provisioning/dashboards/thinpool.yaml").read_text())
    (source,) = yaml.safe_load((FOLDER / "provisioning/datasources/thinpool.yaml").read_text())[
        "datasources"
    ]

    stage_shared(tmp_path)

    assert source["type"] == "prometheus"
    path = Path(provider["providers"][0]["options"]["path"])
    shipped = tmp_path / path.relative_to("/usr/share/thinpool-exporter")
    assert {file.stem for file in shipped.rglob("*.json")} == set(NAMES)
    assert not list(shipped.rglob("*.py"))
