"""An accelerated day in a real Prometheus: every query of dashboards and rules is answered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.grafana.backfill import Rule, rules_of
from tests.grafana.boards import Board, Panel, Target, filled, label_query, load
from tests.grafana.day import Day, accelerated_day
from tests.grafana.machine import JOB
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(900)

FLEET, HOST = load("thinpool-fleet"), load("thinpool-host")
STORY = "docker-7:10128"
# What the story's host does not show, and the host that does.
ELSEWHERE = {
    ("Failed extensions", "A"): "edge-6:10128",  # LVM refuses, from the tenth hour on
    ("How the guard extended", "C"): "build-4:10128",  # a burst
    ("How the guard extended", "D"): "edge-6:10128",  # dmeventd monitors and does nothing
    ("Extension failed", ""): "edge-6:10128",
    ("Metadata extended", ""): "registry-2:10128",  # its metadata is extended
    ("Data, as Docker says", "E"): "old-9:10128",  # on sparse files
    ("Mapped by volume", "B"): "twin-10:10128",  # LVM's own thin volumes
    ("Growth by volume", "B"): "twin-10:10128",
    ("What is unusual", "A"): "edge-6:10128",  # taken over
}
# What takes more than a day, or a guard that is a process apart: no answer.
NOT_IN_A_DAY = {
    ("Growth of weeks", "A"),
    ("Growth of weeks", "B"),
    ("Pools that need disks", "A"),
    ("Processor", "B"),
    ("Memory", "B"),
}
RECORDED_IN_WEEKS = {
    *("thinpool:used:growth7d", "thinpool:used:growth30d"),
    "thinpool:until_exhausted_by_7d:days",
}
# States that no host of the day is in: tests/rules has them, with promtool.
OF_NO_HOST = {
    *("ThinPoolInactive", "ThinPoolHangs", "ThinPoolHostLost", "ThinPoolTargetsLost"),
    *("ThinPoolFiguresLost", "ThinPoolLoopBackingFull", "ThinPoolFullWithinWeeks"),
    *("ThinPoolSpaceNotReturned", "ThinPoolGuardImpaired", "ThinPoolDockerKeepsDeleted"),
    *("ThinPoolMaintenance", "ThinPoolFillingFast", "ThinPoolVolumeGroupNearlyFull"),
}
PAGED_IN_THE_DAY = {"ThinPoolExtensionFailing", "ThinPoolGuardStale"}  # and never a ticket
RULE_SECONDS = 60.0


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """Live through it once for all tests."""
    with accelerated_day(tmp_path_factory.mktemp("day")) as lived:
        yield lived


def values(instance: str) -> dict[str, str]:
    """Choose one host and all of its pools."""
    return {"cluster": ".*", "job": JOB, "instance": instance, "vg": ".*", "pool": ".*"}


def has_answer(day: Day, target: Target, instance: str) -> bool:
    """Whether a query has data, now or, if it is of a time, at some moment of the day."""
    expr = filled(target.expr, values(instance))
    return bool(day.at_end(expr) if target.is_instant else day.over(expr))


def queries(panels: tuple[Panel, ...]) -> list[tuple[str, Target]]:
    """List the queries of panels, with the panel's title."""
    return [(panel.title, target) for panel in panels for target in panel.targets]


def named(query: object) -> str | None:
    """Name a query in pytest's list."""
    return query.ref if isinstance(query, Target) else None


@pytest.mark.parametrize(("title", "target"), queries(FLEET.panels), ids=named)
def test_every_query_of_the_fleet_has_an_answer(day: Day, title: str, target: Target) -> None:
    """As of the end of the day: somebody is needed."""
    is_in_a_day = (title, target.ref) not in NOT_IN_A_DAY
    assert has_answer(day, target, STORY) is is_in_a_day, f"{title}: {target.expr}"


@pytest.mark.parametrize(("title", "target"), queries(HOST.panels), ids=named)
def test_every_query_of_a_host_has_an_answer(day: Day, title: str, target: Target) -> None:
    """Of the host of the story, or of the one that is in the state that it shows."""
    other = ELSEWHERE.get((title, target.ref))
    is_told = other is None and (title, target.ref) not in NOT_IN_A_DAY

    assert has_answer(day, target, STORY) is is_told, f"{title}: {target.expr}"
    if other:
        assert has_answer(day, target, other), f"{title} of {other}: {target.expr}"


@pytest.mark.parametrize("mark", HOST.annotations, ids=lambda mark: str(mark["name"]))
def test_every_annotation_has_something_to_mark(day: Day, mark: dict[str, str]) -> None:
    """Extensions, a disk, a page; failures are another host's."""
    instance = ELSEWHERE.get((mark["name"], ""), STORY)

    assert day.over(filled(mark["expr"], values(instance)))


@pytest.mark.parametrize("board", [FLEET, HOST], ids=lambda board: board.name)
def test_every_variable_has_something_to_choose(day: Day, board: Board) -> None:
    """By the queries that Grafana asks."""
    for variable in board.variables:
        selector, label = label_query(variable)
        if label == "cluster":
            continue  # this Prometheus has one
        assert day.label_values(label, filled(selector, values(STORY))), variable["name"]


@pytest.mark.parametrize(
    "rule",
    [rule for rule in rules_of("recording.yaml") if rule["record"] not in RECORDED_IN_WEEKS],
    ids=lambda rule: rule["record"],
)
def test_every_recording_rule_records(day: Day, rule: Rule) -> None:
    """Its expression has an answer, and its series are there."""
    labels = "".join(f', {name}="{value}"' for name, value in rule.get("labels", {}).items())

    assert day.over(rule["expr"])
    assert day.over(f'{{__name__="{rule["record"]}"{labels}}}')


@pytest.mark.parametrize(
    "rule",
    [
        rule
        for rule in rules_of("alerts.yaml")
        if rule["alert"] not in OF_NO_HOST
        and (rule["labels"]["severity"] == "critical" or rule["alert"] not in PAGED_IN_THE_DAY)
    ],
    ids=lambda rule: rule["alert"],
)
def test_every_alert_has_its_state(day: Day, rule: Rule) -> None:
    """Its expression holds for some host at some time of the day, and long enough to fire."""
    severity = rule["labels"]["severity"]
    firing = f'ALERTS{{alertname="{rule["alert"]}", severity="{severity}"}}'

    assert day.over(rule["expr"])
    assert day.over(firing)


def evaluated(day: Day) -> list[dict[str, str]] | None:
    """List the rules that are due by now, once all of them have been evaluated."""
    rules = day.rules(longest_interval=RULE_SECONDS)
    return None if any(rule["health"] == "unknown" for rule in rules) else rules


def test_prometheus_evaluates_every_rule(day: Day) -> None:
    """As they are committed, without an error; those of slow groups have answers above."""
    count = len(rules_of("recording.yaml")) + len(rules_of("alerts.yaml"))

    rules = wait_for(lambda: evaluated(day), seconds=RULE_SECONDS, what="evaluations")

    assert {rule["health"] for rule in rules} == {"ok"}
    assert len(rules) > count / 2
    assert len(day.rules()) == count


def test_the_story_pages_once_and_ends_well(day: Day) -> None:
    """The pool fills, its VG is used up, somebody is paged, adds a disk, and all is well."""
    pool = 'instance="docker-7:10128", vg="docker", pool="thinpool"'
    (page,) = day.over(f'max by (alertname) (ALERTS{{{pool}, severity="critical"}})')
    (group,) = day.over('thinpool_vg_size_bytes{instance="docker-7:10128"}')
    sizes = [value for _, value in group.values]
    disk_at = next(time for time, value in group.values if value > sizes[0])

    assert page.labels["alertname"] == "ThinPoolDataFillingUp"
    first, last = page.values[0][0], page.values[-1][0]
    assert len(page.values) == (last - first) / 60 + 1, "it came and went"
    assert first < disk_at < last + 60 < day.ended_at - 3600
    (given,) = day.at_end(f'thinpool_guard_extends_total{{{pool}, device="data"}}')
    assert given.values[0][1] >= 5
    (protected,) = day.at_end(f"thinpool:protected:bool{{{pool}}}")
    assert protected.values[0][1] == 1


def test_calm_hosts_are_quiet_all_day(day: Day) -> None:
    """But for the hour in which their rack is not to be reached."""
    alerts = day.over('max by (alertname) (ALERTS{instance=~"web-1[1-5]:10128"})')

    assert {series.labels["alertname"] for series in alerts} == {"ThinPoolExporterDown"}
