"""Answers of Prometheus in, what Grafana makes of them out: names, overrides, rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.grafana.boards import Panel, Target, filled
from tests.grafana.day import Day, Series
from tests.grafana.drawing.units import PALETTE, colour, text

STEP_SECONDS = 120
Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A series with its name, and the settings that hold for it."""

    name: str
    series: Series
    settings: Json
    colour: str


def ask(day: Day, target: Target, values: Mapping[str, str]) -> list[Series]:
    """Ask a panel's query as Grafana does: of now, or through the day."""
    expr = filled(target.expr, values)
    return day.at_end(expr) if target.is_instant else day.over(expr, step=STEP_SECONDS)


def lines(panel: Panel, day: Day, values: Mapping[str, str]) -> list[Line]:
    """Ask a panel's queries, and name what comes."""
    found: list[tuple[str, Series]] = []
    for target in panel.targets:
        answer = ask(day, target, values)
        found += [(named(target.legend, series), series) for series in answer]
    return [
        Line(
            name=name,
            series=series,
            settings=settings_for(panel, name),
            colour=_colour(panel, name, PALETTE[index % len(PALETTE)]),
        )
        for index, (name, series) in enumerate(found)
    ]


def named(legend: str, series: Series) -> str:
    """Put labels into a legend; without one, write the labels."""
    if not legend:
        return ", ".join(value for name, value in series.labels.items() if name != "__name__")
    name = re.sub(r"{{(\w+)}}", lambda match: series.labels.get(match[1], ""), legend)
    return name.strip().removeprefix("/")


def settings_for(panel: Panel, name: str) -> dict[str, Any]:
    """Collect a field's settings: the panel's, and those of the overrides that match."""
    config = panel.raw["fieldConfig"]
    settings = dict(config["defaults"])
    settings.update(
        {f"custom.{key}": value for key, value in settings.pop("custom", {}).items()}
    )
    for override in config["overrides"]:
        kind, wanted = override["matcher"]["id"], override["matcher"]["options"]
        is_meant = (kind == "byName" and wanted == name) or (
            kind == "byRegexp" and re.search(wanted.strip("/"), name) is not None
        )
        if is_meant:
            settings.update({entry["id"]: entry["value"] for entry in override["properties"]})
    return settings


def _colour(panel: Panel, name: str, default: str) -> str:
    chosen = settings_for(panel, name).get("color", {})
    return colour(chosen["fixedColor"]) if chosen.get("mode") == "fixed" else default


def shown(value: float, settings: Json) -> tuple[str, str]:
    """Write a value, and choose its colour, by mappings and thresholds."""
    mapped = _mapped(number_key(value), settings)
    if mapped:
        return mapped
    chosen = "#1f2933"
    for step in settings.get("thresholds", {}).get("steps", ()):
        if step["value"] is None or value >= step["value"]:
            chosen = colour(step["color"])
    return text(value, settings.get("unit", "none"), settings.get("decimals")), chosen


def worded(value: str, settings: Json) -> tuple[str, str]:
    """Write a label's value, and choose its colour, by mappings."""
    return _mapped(value, settings) or (value, "#1f2933")


def number_key(value: float) -> str:
    """Write a value as mappings name it."""
    return str(int(value)) if value == int(value) else str(value)


def _mapped(key: str, settings: Json) -> tuple[str, str] | None:
    for mapping in settings.get("mappings", ()):
        if found := mapping["options"].get(key):
            return found["text"], colour(found["color"])
    return None


def table(
    panel: Panel, answers: Sequence[tuple[str, Sequence[Series]]]
) -> list[dict[str, Any]]:
    """Merge the answers of a table's queries into rows, named and sorted as it says.

    As Grafana's transformations do: rows are of one where the labels agree that all of the
    answers have.
    """
    is_single = len(answers) == 1
    filled = [[set(row.labels) for row in series] for _, series in answers if series]
    key = set.intersection(*(names for frame in filled for names in frame)) if filled else set()
    merged: dict[tuple[str, ...], dict[str, Any]] = {}
    for number, (ref, series) in enumerate(answers):
        for count, row in enumerate(series):
            labels = dict(row.labels)
            identity = tuple(labels.get(name, "") for name in sorted(key))
            identity = (*identity, str(count)) if is_single else identity
            value = "Value" if is_single else f"Value #{ref}"
            merged.setdefault(identity, {}).update(labels | {value: row.values[-1][1]})
        del number
    (organize,) = (
        entry["options"] for entry in panel.raw["transformations"] if entry["id"] == "organize"
    )
    order = sorted(organize["indexByName"], key=organize["indexByName"].get)
    rows = [
        {organize["renameByName"][name]: row.get(name) for name in order}
        for row in merged.values()
    ]
    for by in panel.raw["options"].get("sortBy") or ():
        rows.sort(key=lambda row: _sortable(row[by["displayName"]]), reverse=by["desc"])
    return rows


def _sortable(value: object) -> tuple[bool, Any]:
    return (value is None, value if value is not None else 0)
