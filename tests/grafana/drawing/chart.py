"""Lines, areas and columns over time, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from tests.grafana.drawing.frames import STEP_SECONDS, Line
from tests.grafana.drawing.units import text

LEFT, RIGHT, TOP, BOTTOM = 66, 12, 10, 22
HOUR = 3600
GAP_SECONDS = 2.5 * STEP_SECONDS
TICKS = 5
Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """An event in a graph, from its first second to its last."""

    begin: float
    end: float
    colour: str


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The rectangle of a graph: its size in pixels, its time and its values."""

    width: float
    height: float
    begin: float
    end: float
    low: float
    high: float

    def x(self, time: float) -> float:
        """Place a time."""
        span = self.width - LEFT - RIGHT
        return LEFT + span * (time - self.begin) / (self.end - self.begin)

    def y(self, value: float) -> float:
        """Place a value."""
        span = self.height - TOP - BOTTOM
        return TOP + span * (1 - (value - self.low) / (self.high - self.low))


def chart(
    lines: Sequence[Line],
    *,
    size: tuple[float, float],
    times: Point,
    moments: Sequence[Moment] = (),
    unit: str,
) -> str:
    """Draw a graph; the lines' own settings say how each of them looks."""
    is_stacked = any(
        line.settings.get("custom.stacking", {}).get("mode") == "normal" for line in lines
    )
    drawn = _stack(lines) if is_stacked else [(line.series.values, None) for line in lines]
    values = [value for upper, _ in drawn for _, value in upper]
    ticks = _ticks(min([0.0, *values]), max([*values, 1e-9]), unit)
    frame = Frame(
        width=size[0],
        height=size[1],
        begin=times[0],
        end=times[1],
        low=ticks[0],
        high=max(ticks[-1], *values) if values else ticks[-1],
    )
    parts = [*_axes(frame, ticks, unit), *_moments(frame, moments)]
    # The first line is the one that matters: on top.
    for line, (upper, lower) in reversed([*zip(lines, drawn, strict=True)]):
        if line.settings.get("custom.drawStyle") == "bars":
            parts.append(_columns(frame, line, upper, lower))
        else:
            parts += _line(frame, line, upper, lower)
    return (
        f'<svg width="{frame.width:.0f}" height="{frame.height:.0f}" role="img">'
        + "".join(parts)
        + "</svg>"
    )


def _stack(
    lines: Sequence[Line],
) -> list[tuple[Sequence[Point], Sequence[Point] | None]]:
    below: dict[float, float] = {}
    drawn: list[tuple[Sequence[Point], Sequence[Point] | None]] = []
    for line in lines:
        lower = [(time, below.get(time, 0.0)) for time, _ in line.series.values]
        upper = [
            (time, base + value)
            for (time, base), (_, value) in zip(lower, line.series.values, strict=True)
        ]
        below.update(upper)
        drawn.append((upper, lower))
    return drawn


def _ticks(low: float, high: float, unit: str) -> list[float]:
    rough = (high - low) / TICKS
    if unit in {"bytes", "binBps"}:
        base = 1024.0 ** math.floor(math.log(max(rough, 1.0), 1024))
    elif unit in {"s", "dtdurations"} and rough >= 1:
        base = max((size for size in (1.0, 60.0, 3600.0, 86400.0) if size <= rough), default=1)
    else:
        base = 10.0 ** math.floor(math.log10(rough))
    while base * 10 <= rough:
        base *= 10
    step = next(base * nice for nice in (1, 2, 5, 10, 20, 50, 100, 200) if base * nice >= rough)
    first = math.floor(low / step)
    last = math.ceil(high / step)
    return [step * index for index in range(first, last + 1)]


def _axes(frame: Frame, ticks: Sequence[float], unit: str) -> list[str]:
    parts = []
    for tick in ticks:
        y = frame.y(tick)
        parts.append(
            f'<path d="M{LEFT} {y:.1f} H{frame.width - RIGHT:.1f}" class="g"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text(tick, unit)}</text>'
        )
    every = 4 * HOUR if frame.width < 700 else 2 * HOUR
    time = math.ceil(frame.begin / every) * every
    while time <= frame.end:
        x = frame.x(time)
        parts.append(
            f'<path d="M{x:.1f} {TOP} V{frame.height - BOTTOM:.1f}" class="g"/>'
            f'<text x="{x:.1f}" y="{frame.height - 6}" text-anchor="middle">'
            f"{int(time % 86400 // HOUR):02d}:00</text>"
        )
        time += every
    return parts


def _moments(frame: Frame, moments: Sequence[Moment]) -> list[str]:
    parts = []
    bottom = frame.height - BOTTOM
    for moment in moments:
        x, end = frame.x(moment.begin), frame.x(moment.end)
        if end - x > 2:
            parts.append(
                f'<rect x="{x:.1f}" y="{TOP}" width="{end - x:.1f}" height="{bottom - TOP}"'
                f' fill="{moment.colour}" opacity="0.10"/>'
            )
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"'
            f' stroke="{moment.colour}" stroke-dasharray="4 3"/>'
            f'<path d="M{x - 4:.1f} {bottom + 6} h8 l-4 -6 z" fill="{moment.colour}"/>'
        )
    return parts


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Split where nothing is known for longer than a step."""
    runs: list[list[Point]] = []
    last = -math.inf
    for point in points:
        if point[0] - last > GAP_SECONDS:
            runs.append([])
        runs[-1].append(point)
        last = point[0]
    return runs


def _path(frame: Frame, points: Sequence[Point], *, is_stepped: bool) -> str:
    words = [f"M{frame.x(points[0][0]):.1f} {frame.y(points[0][1]):.1f}"]
    for (_, before), (time, value) in pairwise(points):
        if is_stepped and value != before:
            words.append(f"L{frame.x(time):.1f} {frame.y(before):.1f}")
        words.append(f"L{frame.x(time):.1f} {frame.y(value):.1f}")
    if len(points) == 1:
        words.append("h2")
    return " ".join(words)


def _line(
    frame: Frame, line: Line, upper: Sequence[Point], lower: Sequence[Point] | None
) -> list[str]:
    is_stepped = line.settings.get("custom.lineInterpolation") == "stepAfter"
    opacity = line.settings.get("custom.fillOpacity", 0) / 100
    width = line.settings.get("custom.lineWidth", 1)
    is_dashed = line.settings.get("custom.lineStyle", {}).get("fill") == "dash"
    dash = ' stroke-dasharray="7 5"' if is_dashed else ""
    parts = []
    floor = dict(lower) if lower else {}
    for run in _runs(upper):
        path = _path(frame, run, is_stepped=is_stepped)
        if opacity:
            back = [(time, floor.get(time, 0.0)) for time, _ in reversed(run)]
            close = _path(frame, back, is_stepped=False).replace("M", "L", 1)
            parts.append(
                f'<path d="{path} {close} Z" fill="{line.colour}" opacity="{opacity}"/>'
            )
        parts.append(
            f'<path d="{path}" fill="none" stroke="{line.colour}"'
            f' stroke-width="{width}"{dash}/>'
        )
    return parts


def _columns(
    frame: Frame, line: Line, upper: Sequence[Point], lower: Sequence[Point] | None
) -> str:
    base = dict(lower or ())
    width = 5.0
    return "".join(
        f'<rect x="{frame.x(time) - width / 2:.1f}" y="{frame.y(value):.1f}" width="{width}"'
        f' height="{max(1.0, frame.y(base.get(time, 0.0)) - frame.y(value)):.1f}"'
        f' fill="{line.colour}" opacity="0.85"/>'
        for time, value in upper
    )


def legend(lines: Sequence[Line]) -> str:
    """List the lines' names and colours."""
    entries = [
        f'<span class="key"><i style="background:{line.colour}"></i>{escape(line.name)}</span>'
        for line in {line.name: line for line in lines}.values()
    ]
    return f'<div class="legend">{"".join(entries)}</div>'
