"""Rows of the present in, a table of Grafana's out: columns named, coloured and linked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models

from grafana.builder.panels import DATASOURCE, Steps, Text, instant_table, mappings, thresholds

# Of the row that is clicked; the data source and the time go along.
_WITH = "${datasource:queryparam}&${__url_time_range}"
TO_HOST = (
    "/d/thinpool-host?var-cluster=${cluster}&var-job=${__data.fields.Job}"
    "&var-instance=${__data.fields.Host}&" + _WITH
)
TO_POOL = (
    "/d/thinpool-host?var-cluster=${cluster}&var-job=${__data.fields.Job}"
    "&var-instance=${__data.fields.Host}&var-vg=${__data.fields.VG}&var-pool=${__data.fields.Pool}&"
    + _WITH
)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: a label, or `Value #A` for the value of query A."""

    of: str
    name: str
    unit: str = ""
    steps: Steps = ()
    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    link: str = ""
    width: int = 0


def rows(
    text: Text,
    queries: Sequence[str],
    columns: Sequence[Column],
    *,
    sort: str = "",
    is_descending: bool = False,
    size: tuple[int, int] = (24, 9),
) -> table.Panel:
    """Show a row for each set of labels; the values of several queries stand side by side.

    Queries whose labels differ do not merge: they are to be aggregated to the same ones.
    """
    width, height = size
    panel = (
        table.Panel()
        .title(text.title)
        .description(text.description)
        .datasource(DATASOURCE)
        .span(width)
        .height(height)
        .no_value("none")
        .unit("none")
        .show_header(True)
        .cell_height(shapes.TableCellHeight.SM)
    )
    for number, expr in enumerate(queries):
        panel = panel.with_target(instant_table(expr, "ABCDEFGH"[number]))
    if len(queries) > 1:
        panel = panel.with_transformation(
            models.DataTransformerConfig(id_val="merge", options={})
        )
    names = {"include": {"names": [column.of for column in columns]}}
    panel = panel.with_transformation(
        models.DataTransformerConfig(id_val="filterFieldsByName", options=names)
    )
    panel = panel.with_transformation(_organised(columns))
    for column in columns:
        panel = panel.override_by_name(column.name, _properties(column))
    if sort:
        by = common.TableSortByFieldState().display_name(sort).desc(is_descending)
        panel = panel.sort_by([by])
    return panel


def _organised(columns: Sequence[Column]) -> models.DataTransformerConfig:
    """Put the columns into this order, with these names."""
    return models.DataTransformerConfig(
        id_val="organize",
        options={
            "indexByName": {column.of: index for index, column in enumerate(columns)},
            "renameByName": {column.of: column.name for column in columns},
        },
    )


def _properties(column: Column) -> list[models.DynamicConfigValue]:
    found: dict[str, object] = {}
    if column.unit:
        found["unit"] = column.unit
    if column.steps:
        found["thresholds"] = thresholds(column.steps).build()
    if column.names:
        found["mappings"] = mappings(column.names)
    if column.steps or column.names:
        found["color"] = {"mode": "thresholds"}
        found["custom.cellOptions"] = {"type": "color-text"}
    if column.link:
        found["links"] = [{"title": "Look at it", "url": column.link}]
    if column.width:
        found["custom.width"] = column.width
    return [models.DynamicConfigValue(name, value) for name, value in found.items()]
