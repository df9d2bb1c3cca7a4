"""A report as lines of text, for a terminal, a mail or a monitoring system."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exporter.report.figures import Figure
from exporter.report.finding import Finding, Line, Severity, Style, style_of
from exporter.report.pool import PoolReport
from exporter.report.report import HostReport, Report

INDENT = 2
POOL_NAME_WIDTH = 11
GAP = 2
SIMULATED = "SIMULATED HOST: these pools do not exist, nothing here is about this machine."


def lines_of(report: Report) -> tuple[Line, ...]:
    """Write the report; its first line is all that a monitoring system shows."""
    severity = report.severity
    first = Line(f"{severity.name}: {report.summary}", style_of(severity))
    banner = (Line(SIMULATED, Style.WARNING),) if report.is_simulated else ()
    parts = (*(_pool(pool) for pool in report.pools), _host(report.host))
    return (first, *banner, *(line for part in parts for line in (Line(""), *part)))


def _pool(pool: PoolReport) -> Iterator[Line]:
    judgement = pool.verdict
    yield Line(f"{pool.name}: {pool.severity.name}", style_of(pool.severity))
    yield Line(judgement.text, style_of(judgement.severity)).indented(INDENT)
    yield from _indented(_figures(pool.figures, POOL_NAME_WIDTH))
    yield from _indented(_titled("to protect it", judgement.remedy))
    yield from _indented(_findings(pool.findings))


def _host(host: HostReport) -> Iterator[Line]:
    yield Line("host", Style.HEADING)
    width = max((len(figure.name) for figure in host.figures), default=0) + GAP
    yield from _indented(_figures(host.figures, width))
    yield from _indented(_findings(host.findings))


def _figures(figures: Iterable[Figure], width: int) -> Iterator[Line]:
    return (Line(f"{figure.name:<{width}}{figure.text}") for figure in figures)


def _findings(findings: Iterable[Finding]) -> Iterator[Line]:
    for finding in findings:
        word = "note" if finding.severity is Severity.OK else finding.severity.name
        yield Line(f"{word}: {finding.text}", style_of(finding.severity))
        yield from _indented(_set_off(finding.remedy))


def _titled(title: str, lines: Iterable[Line]) -> Iterator[Line]:
    lines = tuple(lines)
    if lines:
        yield Line(f"{title}:", Style.HEADING)
        yield from _indented(_set_off(lines))


def _set_off(lines: Iterable[Line]) -> Iterator[Line]:
    """Move the commands to the right of what explains them."""
    is_command = Style.COMMAND
    return (line.indented(INDENT) if line.style is is_command else line for line in lines)


def _indented(lines: Iterable[Line]) -> Iterator[Line]:
    return (line.indented(INDENT) for line in lines)
