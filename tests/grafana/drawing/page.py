"""A dashboard in, its page as HTML out: each panel in its place, drawn from its queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tests.grafana.boards import Board, Panel, filled
from tests.grafana.day import Day
from tests.grafana.drawing import boxes, chart, frames
from tests.grafana.drawing.units import colour

WIDTH, MARGIN = 1480, 12
CELL, GAP = 30, 8  # Grafana's
TITLE_HEIGHT, LEGEND_HEIGHT = 30, 26
MARK_GAP_SECONDS = 150
STYLE = """
body{margin:0;background:#f1f2f4;font:13px Inter,'DejaVu Sans',Roboto,Helvetica,sans-serif;
  color:#1f2933}
header{padding:14px 18px 8px;display:flex;gap:10px;align-items:center;flex-wrap:wrap}
header h1{font-size:20px;font-weight:600;margin:0 16px 0 0}
header .v{background:#fff;border:1px solid #d5d9de;border-radius:3px;padding:4px 9px}
header .v b{font-weight:500;color:#5b6775;margin-right:6px}
header .by{margin-left:auto;color:#5b6775}
main{position:relative}
.p{position:absolute;background:#fff;border:1px solid #dfe2e6;border-radius:3px;
  overflow:hidden;box-sizing:border-box}
.p h2{font-size:13px;font-weight:600;margin:0;padding:8px 10px 0;height:22px;
  white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.row{position:absolute;font-size:15px;font-weight:600;color:#323f4b}
svg text{font-size:11px;fill:#52606d}
svg .g{stroke:#e6e8eb}
.legend{padding:0 10px 4px;max-height:44px;overflow:hidden;line-height:20px}
.key{margin-right:14px;white-space:nowrap;font-size:12px;color:#323f4b}
.key i{display:inline-block;width:14px;height:4px;border-radius:2px;margin-right:5px;
  vertical-align:middle}
.figure{display:flex;align-items:center;justify-content:center;height:calc(100% - 38px);
  font-weight:600}
.bars{padding:4px 12px}
.bar{display:flex;align-items:center;gap:8px;height:24px}
.bar .name{width:42%;text-align:right;white-space:nowrap;overflow:hidden;
  text-overflow:ellipsis}
.bar .track{flex:1;background:#f1f2f4;height:14px;border-radius:2px}
.bar .track i{display:block;height:14px;border-radius:2px;opacity:.8}
.bar b{width:74px;white-space:nowrap}
table{border-collapse:collapse;width:100%;font-size:12.5px}
th{text-align:left;color:#2f6fd0;font-weight:600;padding:4px 10px;
  border-bottom:1px solid #dfe2e6;white-space:nowrap}
td{padding:4px 10px;border-bottom:1px solid #eef0f2;white-space:nowrap}
td u{color:#2f6fd0;text-decoration:none}
"""


def page(board: Board, day: Day, values: Mapping[str, str]) -> tuple[str, int]:
    """Draw the page, and say how high it is; `values` are the variables'."""
    moments = _moments(board, day, values)
    parts, bottom = [], 0.0
    for raw in board.raw["panels"]:
        x, y, width, height = _place(raw["gridPos"])
        bottom = max(bottom, y + height)
        if raw["type"] == "row":
            title = escape(raw["title"])
            parts.append(f'<div class="row" style="left:{x}px;top:{y + 6}px">⌄ {title}</div>')
    for panel in board.panels:
        x, y, width, height = _place(panel.raw["gridPos"])
        body = _body(panel, day, values, size=(width, height), moments=moments)
        parts.append(
            f'<section class="p" style="left:{x}px;top:{y}px;width:{width}px;'
            f'height:{height}px"><h2>{escape(panel.title)}</h2>{body}</section>'
        )
    chosen = "".join(
        f'<span class="v"><b>{variable["label"]}</b>'
        f"{escape(_choice(values[variable['name']]))}</span>"
        for variable in board.variables
    )
    title = escape(board.raw["title"])
    html = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><style>{STYLE}</style>'
        f'<header><h1>{title}</h1>{chosen}<span class="by">Last 24 hours</span></header>'
        f'<main style="height:{bottom + MARGIN}px">{"".join(parts)}</main></html>'
    )
    return html, int(bottom + MARGIN + 60)


def _choice(value: str) -> str:
    return "All" if value == ".*" else value


def _place(grid: Mapping[str, int]) -> tuple[float, float, float, float]:
    column = (WIDTH - 2 * MARGIN + GAP) / 24
    return (
        MARGIN + grid["x"] * column,
        float(grid["y"] * (CELL + GAP)),
        grid["w"] * column - GAP,
        float(grid["h"] * (CELL + GAP) - GAP),
    )


def _moments(board: Board, day: Day, values: Mapping[str, str]) -> list[chart.Moment]:
    """Join the points of each annotation's series where they follow each other."""
    found = []
    for mark in board.annotations:
        for series in day.over(filled(mark["expr"], values)):
            begin = last = series.values[0][0]
            for time, _ in [*series.values[1:], (float("inf"), 0.0)]:
                if time - last > MARK_GAP_SECONDS:
                    shade = colour(mark["iconColor"])
                    found.append(chart.Moment(begin=begin, end=last, colour=shade))
                    begin = time
                last = time
    return found


def _body(
    panel: Panel,
    day: Day,
    values: Mapping[str, str],
    *,
    size: tuple[float, float],
    moments: Sequence[chart.Moment],
) -> str:
    width, height = size
    if panel.type == "table":
        answers = [(target.ref, frames.ask(day, target, values)) for target in panel.targets]
        return boxes.table(panel, frames.table(panel, answers))
    lines = frames.lines(panel, day, values)
    times = (day.began_at, day.ended_at)
    if panel.type == "stat":
        return boxes.figures(panel, lines, height)
    if panel.type == "bargauge":
        return boxes.bars(lines)
    if panel.type == "state-timeline":
        return boxes.timeline(lines, size=(width - 2, height - TITLE_HEIGHT - 2), times=times)
    keys = chart.legend(lines)
    room = LEGEND_HEIGHT + 20 * (len(keys) > 900)
    graph = chart.chart(
        lines,
        size=(width - 2, height - TITLE_HEIGHT - room),
        times=times,
        moments=moments,
        unit=_unit(panel.raw),
    )
    return graph + keys


def _unit(raw: Mapping[str, Any]) -> str:
    return str(raw["fieldConfig"]["defaults"].get("unit", "none"))
