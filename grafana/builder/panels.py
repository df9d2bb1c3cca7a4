"""What a panel is to say in, a panel of Grafana's out: one look for both dashboards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="$datasource")
GREEN, AMBER, RED, GREY, BLUE = "green", "orange", "red", "#8e8e8e", "blue"
NEVER_FULL = "not filling"

Builder = stat.Panel | timeseries.Panel | bargauge.Panel | statetimeline.Panel
AnyPanel = TypeVar("AnyPanel", bound=Builder)
Steps = Sequence[tuple[float | None, str]]

# What is worse, the fuller it is, the sooner it is full, or the more there are.
FULLNESS: Steps = ((None, GREEN), (0.8, AMBER), (0.95, RED))
TIME_LEFT: Steps = ((None, RED), (4 * 3600, AMBER), (24 * 3600, GREEN))
ANY_IS_BAD: Steps = ((None, GREEN), (1, RED))
ANY_IS_WORSE: Steps = ((None, GREEN), (1, AMBER))
PLAIN: Steps = ((None, BLUE),)


@dataclass(frozen=True, kw_only=True)
class Query:
    """An expression, and how its series are named."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class Text:
    """What stands above a panel, and what it explains when somebody asks."""

    title: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Look:
    """Unit, colours and size of a panel; the width is of 24, the height of 30 pixels."""

    unit: str = "none"
    width: int = 12
    height: int = 8
    steps: Steps = PLAIN
    names: dict[str, tuple[str, str]] = field(default_factory=dict)  # value → text, colour
    no_value: str = "none"
    decimals: int | None = None


def numbers(text: Text, query: Query, look: Look) -> stat.Panel:
    """Show one figure, or one for each series, as of now."""
    panel = (
        stat.Panel()
        .color_mode(shapes.BigValueColorMode.VALUE)
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .reduce_options(_last())
    )
    return _dressed(panel, text, look).with_target(_target(query, is_instant=True))


def bars(text: Text, query: Query, look: Look) -> bargauge.Panel:
    """Show a bar for each series, as of now."""
    panel = (
        bargauge.Panel()
        .display_mode(shapes.BarGaugeDisplayMode.BASIC)
        .orientation(shapes.VizOrientation.HORIZONTAL)
        .reduce_options(_last())
        .min(0)  # otherwise the shortest bar has no length, nor has one that is alone
    )
    return _dressed(panel, text, look).with_target(_target(query, is_instant=True))


def graph(text: Text, queries: Sequence[Query], look: Look) -> timeseries.Panel:
    """Show lines over time."""
    panel = (
        timeseries.Panel()
        .line_width(2)
        .fill_opacity(8)
        .show_points(shapes.VisibilityMode.NEVER)
        .axis_soft_min(0)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI))
    )
    panel = _dressed(panel, text, look)
    for number, query in enumerate(queries):
        panel = panel.with_target(_target(query, ref="ABCDEFGH"[number]))
    return panel


def stacked(text: Text, queries: Sequence[Query], look: Look) -> timeseries.Panel:
    """Show areas over time, one upon the other."""
    mode = common.StackingConfig().mode(shapes.StackingMode.NORMAL)
    return graph(text, queries, look).fill_opacity(40).line_width(1).stacking(mode)


def columns(text: Text, queries: Sequence[Query], look: Look) -> timeseries.Panel:
    """Show what happened in each interval, as columns."""
    panel = graph(text, queries, look).draw_style(shapes.GraphDrawStyle.BARS)
    mode = common.StackingConfig().mode(shapes.StackingMode.NORMAL)
    return panel.fill_opacity(80).line_width(1).stacking(mode)


def timeline(text: Text, query: Query, look: Look) -> statetimeline.Panel:
    """Show for each series when there was what."""
    panel = (
        statetimeline.Panel()
        .merge_values(True)
        .row_height(0.8)
        .show_value(shapes.VisibilityMode.NEVER)
        .legend(_legend())
    )
    return _dressed(panel, text, look).with_target(_target(query))


def stepped(panel: timeseries.Panel, legends: str) -> timeseries.Panel:
    """Draw lines as steps: sizes that change at once."""
    return panel.override_by_regexp(
        legends,
        [
            models.DynamicConfigValue("custom.lineInterpolation", "stepAfter"),
            models.DynamicConfigValue("custom.fillOpacity", 0),
        ],
    )


def dashed(panel: timeseries.Panel, legends: str, colour: str) -> timeseries.Panel:
    """Draw lines dashed, in a colour of their own: limits, not usage."""
    return panel.override_by_regexp(
        legends,
        [
            models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
            models.DynamicConfigValue("custom.lineInterpolation", "stepAfter"),
            models.DynamicConfigValue("custom.fillOpacity", 0),
            models.DynamicConfigValue("custom.lineWidth", 1),
            models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour}),
        ],
    )


def coloured(panel: timeseries.Panel, legends: str, colour: str) -> timeseries.Panel:
    """Draw lines in one colour, whatever else there is."""
    value = {"mode": "fixed", "fixedColor": colour}
    return panel.override_by_regexp(legends, [models.DynamicConfigValue("color", value)])


def thresholds(steps: Steps) -> builders.ThresholdsConfig:
    """Build the steps of colour."""
    return (
        builders.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour) for value, colour in steps])
    )


def mappings(names: dict[str, tuple[str, str]]) -> list[models.ValueMapping]:
    """Build the words for values."""
    if not names:
        return []
    options = {
        value: models.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(names.items())
    }
    return [models.ValueMap(options=options)]


def instant_table(expr: str, ref: str) -> prometheus.Dataquery:
    """Ask for the present rows of a table."""
    return (
        prometheus.Dataquery()
        .expr(expr)
        .instant()
        .format(PromQueryFormat.TABLE)
        .ref_id(ref)
        .datasource(DATASOURCE)
    )


def _dressed(panel: AnyPanel, text: Text, look: Look) -> AnyPanel:
    panel.title(text.title).description(text.description).datasource(DATASOURCE)
    panel.unit(look.unit).span(look.width).height(look.height)
    panel.thresholds(thresholds(look.steps)).no_value(look.no_value)
    if look.names:
        panel.mappings(mappings(look.names))
    if look.decimals is not None:
        panel.decimals(look.decimals)
    if not isinstance(panel, timeseries.Panel):
        mode = models.FieldColorModeId.THRESHOLDS
        panel.color_scheme(builders.FieldColor().mode(mode))
    return panel


def _target(query: Query, *, ref: str = "A", is_instant: bool = False) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).ref_id(ref).datasource(DATASOURCE)
    target = target.instant() if is_instant else target.range()
    return target.legend_format(query.legend) if query.legend else target


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(shapes.LegendDisplayMode.LIST)
        .placement(shapes.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
