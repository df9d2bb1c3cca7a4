"""Figures, bars, timelines and tables, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from tests.grafana.boards import Panel
from tests.grafana.drawing.chart import GAP_SECONDS, HOUR
from tests.grafana.drawing.frames import Line, settings_for, shown, worded

NAME_WIDTH, ROW_HEIGHT = 340, 24
TABLE_ROW, TABLE_HEAD = 24.5, 58


def figures(panel: Panel, lines: Sequence[Line], width: float) -> str:
    """Draw one figure, or what stands for none."""
    if not lines:
        settings = settings_for(panel, "")
        return _figure(settings.get("noValue", "No data"), "#2f9e44", width)
    line = lines[0]
    return _figure(*shown(line.series.values[-1][1], line.settings), width)


def _figure(words: str, colour: str, width: float) -> str:
    size = min(38, 1.4 * width / max(4, len(words)))
    return f'<div class="figure" style="color:{colour};font-size:{size:.0f}px">{words}</div>'


def bars(lines: Sequence[Line]) -> str:
    """Draw a bar for each line, the longest first."""
    ordered = sorted(lines, key=lambda line: -line.series.values[-1][1])
    most = max((line.series.values[-1][1] for line in ordered), default=1) or 1
    rows = []
    for line in ordered:
        value = line.series.values[-1][1]
        words, colour = shown(value, line.settings)
        rows.append(
            f'<div class="bar"><span class="name">{escape(line.name)}</span>'
            f'<span class="track"><i style="width:{100 * value / most:.1f}%;'
            f'background:{colour}"></i></span>'
            f'<b style="color:{colour}">{words}</b></div>'
        )
    return f'<div class="bars">{"".join(rows)}</div>'


def timeline(
    lines: Sequence[Line], *, size: tuple[float, float], times: tuple[float, float]
) -> str:
    """Draw a row for each line: what it was, and when."""
    width, height = size
    row = min(ROW_HEIGHT, (height - 24) / max(1, len(lines)))
    left = min(NAME_WIDTH, 12 + 6.4 * max((len(line.name) for line in lines), default=0))
    scale = (width - left - 12) / (times[1] - times[0])
    parts = []
    for index, line in enumerate(lines):
        y = 4 + index * row
        parts.append(
            f'<text x="{left - 8}" y="{y + row / 2 + 3:.1f}" text-anchor="end">'
            f"{escape(line.name)}</text>"
        )
        for begin, end, value in _stretches(line):
            _, colour = shown(value, line.settings)
            parts.append(
                f'<rect x="{left + (begin - times[0]) * scale:.1f}" y="{y + 2:.1f}"'
                f' width="{max(2.0, (end - begin) * scale):.1f}" height="{row - 4:.1f}"'
                f' fill="{colour}" opacity="0.8"/>'
            )
    time = (times[0] // (4 * HOUR) + 1) * 4 * HOUR
    while time <= times[1]:
        parts.append(
            f'<text x="{left + (time - times[0]) * scale:.1f}" y="{height - 6}"'
            f' text-anchor="middle">{int(time % 86400 // HOUR):02d}:00</text>'
        )
        time += 4 * HOUR
    return f'<svg width="{width:.0f}" height="{height:.0f}">{"".join(parts)}</svg>'


def _stretches(line: Line) -> list[tuple[float, float, float]]:
    """Join what stays the same without a gap."""
    points = line.series.values
    found = [(points[0][0], points[0][0], points[0][1])]
    for (before, _), (time, value) in pairwise(points):
        begin, _, last = found[-1]
        if value == last and time - before <= GAP_SECONDS:
            found[-1] = (begin, time, last)
        else:
            if time - before <= GAP_SECONDS:
                found[-1] = (begin, time, last)
            found.append((time, time, value))
    return found


def table(panel: Panel, rows: Sequence[Mapping[str, Any]], height: float) -> str:
    """Draw as much of a table as there is room for."""
    if not rows:
        return '<div class="figure" style="font-size:20px">none</div>'
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(_cell(panel, name, row[name]) for name in row) + "</tr>"
        for row in rows[: int((height - TABLE_HEAD) / TABLE_ROW)]
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(panel: Panel, name: str, value: object) -> str:
    settings = settings_for(panel, name)
    if value is None:
        return "<td></td>"
    words, colour = (
        shown(value, settings) if isinstance(value, float) else worded(str(value), settings)
    )
    is_coloured = "custom.cellOptions" in settings
    style = f' style="color:{colour};font-weight:600"' if is_coloured else ""
    words = f"<u>{escape(words)}</u>" if settings.get("links") else escape(words)
    return f"<td{style}>{words}</td>"
