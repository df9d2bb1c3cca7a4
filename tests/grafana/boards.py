"""The committed dashboards as data: panels, queries, variables, annotations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "grafana"
NAMES = ("thinpool-fleet", "thinpool-host")
# Grafana makes it four scrapes long, or a step and a scrape if that is longer.
RATE_INTERVAL = "4m"
Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A query of a panel."""

    ref: str
    expr: str
    legend: str
    is_instant: bool


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A panel that shows queries; `raw` is all that Grafana knows of it."""

    title: str
    type: str
    targets: tuple[Target, ...]
    raw: Json


@dataclass(frozen=True, kw_only=True)
class Board:
    """A dashboard."""

    name: str
    raw: Json

    @property
    def panels(self) -> tuple[Panel, ...]:
        """The panels, without the rows' headings."""
        return tuple(_panel(raw) for raw in self.raw["panels"] if raw["type"] != "row")

    @property
    def variables(self) -> tuple[Json, ...]:
        """The variables that are queries."""
        return tuple(
            variable
            for variable in self.raw["templating"]["list"]
            if variable["type"] == "query"
        )

    @property
    def annotations(self) -> tuple[Json, ...]:
        """The events that are drawn into the graphs."""
        return tuple(self.raw["annotations"]["list"])

    def expressions(self) -> Iterator[tuple[str, str]]:
        """Name every expression of panels and annotations."""
        for panel in self.panels:
            for target in panel.targets:
                yield f"{panel.title} {target.ref}", target.expr
        for mark in self.annotations:
            yield str(mark["name"]), str(mark["expr"])


def load(name: str) -> Board:
    """Read a dashboard."""
    return Board(name=name, raw=json.loads((FOLDER / f"{name}.json").read_text()))


def filled(expr: str, values: Mapping[str, str]) -> str:
    """Put values in place of variables, as Grafana does. Fails if one stays."""
    known = {**values, "__rate_interval": RATE_INTERVAL}

    def value(match: re.Match[str]) -> str:
        return known[match[1] or match[2]]

    return re.sub(r"\$(\w+)|\$\{(\w+)\}", value, expr)


def label_query(variable: Json) -> tuple[str, str]:
    """Read a variable's `label_values(selector, label)`: selector and label."""
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
    assert match, variable["query"]
    return match[1], match[2]


def _panel(raw: Json) -> Panel:
    targets = tuple(
        Target(
            ref=target["refId"],
            expr=target["expr"],
            legend=target.get("legendFormat", ""),
            is_instant=bool(target.get("instant")),
        )
        for target in raw.get("targets", ())
    )
    return Panel(title=raw.get("title", ""), type=raw["type"], targets=targets, raw=raw)
