"""Figures as Grafana writes them, and its colours by name."""

from __future__ import annotations

from collections.abc import Sequence

COLOURS = {
    "green": "#2f9e44",
    "orange": "#e8710a",
    "red": "#d92d3a",
    "blue": "#2f6fd0",
    "purple": "#8f4fc4",
}
# For lines without a colour of their own, in order.
PALETTE = (
    "#3274d9",
    "#e8710a",
    "#2f9e44",
    "#a352cc",
    "#d92d3a",
    "#0a9396",
    "#b58900",
    "#7a5c3e",
    "#d6569b",
    "#5f6b7a",
)
BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
SHORT = ("", " K", " Mil", " Bil")
DURATIONS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 0.001))


def colour(name: str) -> str:
    """Give a colour as CSS has it."""
    return COLOURS.get(name, name)


def number(value: float, decimals: int | None = None) -> str:
    """Write a number with three digits or so."""
    if decimals is not None:
        return f"{value:.{decimals}f}"
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


def text(value: float, unit: str, decimals: int | None = None) -> str:
    """Write a value in a unit of Grafana's."""
    if unit == "percentunit":
        return f"{number(value * 100, decimals)} %"
    if unit in {"bytes", "binBps"}:
        return _scaled(value, 1024, BINARY, " ", decimals) + ("/s" if unit == "binBps" else "")
    if unit in {"s", "dtdurations"}:
        return _duration(value)
    return _scaled(value, 1000, SHORT, "", decimals)


def _scaled(
    value: float, base: int, names: Sequence[str], space: str, decimals: int | None
) -> str:
    power = 0
    while abs(value) >= base and power + 1 < len(names):
        value, power = value / base, power + 1
    return f"{number(value, decimals)}{space}{names[power]}".rstrip()


def _duration(seconds: float) -> str:
    for name, size in DURATIONS:
        if abs(seconds) >= size:
            return f"{number(seconds / size)} {name}"
    return "0 s"
