"""Prints a report: in colours on a terminal, else as the plain text it is."""

from __future__ import annotations

from typing import TextIO

from exporter.report.finding import Style
from exporter.report.lines import lines_of
from exporter.report.report import Report

COLOURS = {
    Style.PLAIN: "",
    Style.HEADING: "bold",
    Style.COMMAND: "bold cyan",
    Style.OK: "bold green",
    Style.WARNING: "bold yellow",
    Style.CRITICAL: "bold red",
    Style.UNKNOWN: "bold magenta",
}


def print_report(report: Report, stream: TextIO) -> None:
    """Print a report; every line stands as it is, so that its commands can be pasted."""
    if stream.isatty():
        _print_coloured(report, stream)
        return
    stream.writelines(f"{line.text}\n" for line in lines_of(report))


def _print_coloured(report: Report, stream: TextIO) -> None:
    from rich.console import Console  # noqa: PLC0415 - heavy, and of use here alone
    from rich.text import Text  # noqa: PLC0415 - heavy, and of use here alone

    console = Console(file=stream, highlight=False)
    for line in lines_of(report):
        # A Text, so that no name is taken for markup; soft, so that no line is cut.
        console.print(Text(line.text, style=COLOURS[line.style]), soft_wrap=True)
