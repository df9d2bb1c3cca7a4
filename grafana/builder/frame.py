"""What is around the panels: variables, links, rows, times; and the JSON of it all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from grafana.builder.panels import DATASOURCE

TAG = "thinpool-exporter"
Panel = Builder[models.Panel]
Panels = Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A heading and what stands below it."""

    title: str
    panels: Panels


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Events that are drawn into every graph: those moments at which `expr` has a series."""

    name: str
    expr: str
    title: str
    text: str
    colour: str
    tags: str = ""

    def as_json(self) -> dict[str, object]:
        """Write it as Grafana's Prometheus data source reads it; the SDK knows less."""
        return {
            "name": self.name,
            "datasource": {"type": "prometheus", "uid": "$datasource"},
            "enable": True,
            "hide": False,
            "iconColor": self.colour,
            "expr": self.expr,
            "step": "60s",
            "titleFormat": self.title,
            "textFormat": self.text,
            "tagKeys": self.tags,
        }


def datasource() -> builders.DatasourceVariable:
    """Let the reader choose the Prometheus."""
    return builders.DatasourceVariable("datasource").label("Data source").type("prometheus")


def choice(
    name: str, label: str, query: str, *, every: str = "", is_one: bool = False
) -> builders.QueryVariable:
    """Let the reader choose values of a label, or one of them.

    `every` is what matches All; "" offers none.
    """
    variable = (
        builders.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(DATASOURCE)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(not is_one)
        .include_all(bool(every))
        .all_value(every or ".+")
    )
    if every:
        variable = variable.current(models.VariableOption(text="All", value="$__all"))
    return variable


def link(title: str, url: str, *, is_ours: bool) -> builders.DashboardLink:
    """Lead to another page, above the panels; ours take data source and time along."""
    made = builders.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url)
    made = made.icon("dashboard" if is_ours else "external link")
    return made.keep_time(True) if is_ours else made.target_blank(True)


def frame(uid: str, title: str, description: str, *, hours: int) -> builders.Dashboard:
    """Begin a dashboard."""
    return (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .time(f"now-{hours}h", "now")
        .timezone("browser")
        .refresh("1m")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
    )


def render(board: builders.Dashboard, rows: Sequence[Row], marks: Sequence[Mark]) -> str:
    """Lay out the rows, and write the JSON that is committed."""
    for row in rows:
        board = board.with_row(builders.Row(row.title))
        for panel in row.panels:
            board = board.with_panel(panel)
    plain = json.loads(json.dumps(board.build(), cls=JSONEncoder))
    plain["annotations"] = {"list": [mark.as_json() for mark in marks]}
    for number, panel in enumerate(plain["panels"], start=1):
        panel["id"] = number
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
