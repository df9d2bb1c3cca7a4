"""What the rules would have recorded through the day, and which alerts would have fired.

`promtool tsdb create-blocks-from rules` evaluates recording rules in the past, but not rules
that go by each other, so they are given to it level by level; and no alerts, so each is
written as a rule that records ALERTS where its expression held for as long as it must.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).resolve().parents[2] / "rules"
MINUTES = {"s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0}
Rule = Mapping[str, Any]


def rules_of(file: str) -> tuple[Rule, ...]:
    """Read all rules of a file."""
    groups = yaml.safe_load((RULES / file).read_text())["groups"]
    return tuple(rule for group in groups for rule in group["rules"])


def levels() -> Iterator[list[Rule]]:
    """Give out the recording rules: first those that need no other; the alerts at the end."""
    left = list(rules_of("recording.yaml"))
    while left:
        names = {rule["record"] for rule in left}
        # What a rule recorded before, it may go by: it begins without.
        level = [rule for rule in left if not (names - {rule["record"]}) & _names(rule["expr"])]
        # One of several rules of a name may go by another rule of that name.
        assert level, f"rules that go by each other: {sorted(names)}"
        ready = {rule["record"] for rule in level}
        held = {rule["record"] for rule in left if rule not in level}
        yield [rule for rule in level if rule["record"] not in ready & held]
        left = [rule for rule in left if rule not in level or rule["record"] in ready & held]
    yield [as_recording(rule) for rule in rules_of("alerts.yaml")]


def as_recording(alert: Rule) -> Rule:
    """Write an alert as a rule that records what Prometheus keeps of one that fires."""
    held = _minutes(alert.get("for", "0m"))
    expr = f"group without () ({alert['expr']})"
    if held:
        # An evaluation a minute, as the day has a scrape a minute.
        expr = f"group without () (count_over_time(({expr})[{held}m:1m]) >= {held})"
    if kept := _minutes(alert.get("keep_firing_for", "0m")):
        expr = f"last_over_time(({expr})[{kept}m:1m])"
    labels = alert.get("labels", {})
    return {
        "record": "ALERTS",
        "expr": expr,
        "labels": {**labels, "alertname": alert["alert"], "alertstate": "firing"},
    }


def _names(expr: str) -> set[str]:
    return set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", expr))


def _minutes(duration: str) -> int:
    """Count a duration as 5m, 1h or 1h30m in minutes."""
    parts = re.findall(r"(\d+)([smhd])", duration)
    return round(sum(int(count) * MINUTES[unit] for count, unit in parts))
