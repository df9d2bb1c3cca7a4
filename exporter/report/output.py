"""Prints a report: as text, in colours on a terminal, as a plugin's line or as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from exporter.model.words import Text
from exporter.report.finding import Line, Severity, Style
from exporter.report.lines import brief_lines_of, lines_of
from exporter.report.machine import json_failure, json_text, plugin_line, status_line
from exporter.report.report import Report
from exporter.report.text import shown

COLOURS = {
    Style.PLAIN: "",
    Style.HEADING: "bold",
    Style.COMMAND: "bold cyan",
    Style.OK: "bold green",
    Style.WARNING: "bold yellow",
    Style.CRITICAL: "bold red",
    Style.UNKNOWN: "bold magenta",
}


class Output(Text):
    """The forms of a report."""

    TEXT = "text"
    PLUGIN = "plugin"
    JSON = "json"


def print_report(
    report: Report,
    stream: TextIO,
    output: Output = Output.TEXT,
    *,
    is_brief: bool = False,
) -> None:
    """Print a report; every line stands as it is, so that its commands can be pasted."""
    if output is Output.TEXT:
        _print_lines(brief_lines_of(report) if is_brief else lines_of(report), stream)
    else:
        write = json_text if output is Output.JSON else plugin_line
        stream.write(f"{write(report)}\n")


def print_failure(text: str, stream: TextIO, output: Output = Output.PLUGIN) -> None:
    """Print one line: that there is no report, and why."""
    text = shown(" ".join(text.split()))
    is_json = output is Output.JSON
    line = json_failure(text) if is_json else status_line(Severity.UNKNOWN, text)
    stream.write(f"{line}\n")


def _print_lines(lines: Iterable[Line], stream: TextIO) -> None:
    if stream.isatty():
        _print_coloured(lines, stream)
    else:
        stream.writelines(f"{line.text}\n" for line in lines)


def _print_coloured(lines: Iterable[Line], stream: TextIO) -> None:
    from rich.console import Console  # noqa: PLC0415 - heavy, and of use here alone
    from rich.text import Text as RichText  # noqa: PLC0415 - heavy, and of use here alone

    console = Console(file=stream, highlight=False)
    for line in lines:
        # A Text, so that no name is taken for markup; soft, so that no line is cut.
        console.print(RichText(line.text, style=COLOURS[line.style]), soft_wrap=True)
