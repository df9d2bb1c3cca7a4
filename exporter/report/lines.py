"""A report as lines of text, for a terminal or a mail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exporter.report.figures import Figure
from exporter.report.finding import (
    AS_ABOVE,
    Finding,
    Line,
    Remedy,
    Severity,
    Style,
    style_of,
)
from exporter.report.pool import PoolReport
from exporter.report.report import Report

INDENT = 2
POOL_NAME_WIDTH = 11
GAP = 2
SIMULATED = "SIMULATED HOST: these pools do not exist, nothing here is about this machine."


def lines_of(report: Report) -> tuple[Line, ...]:
    """Write the report, and each remedy once."""
    told = Told()
    parts = (*(_pool(pool, told) for pool in report.pools), _host(report, told))
    return (*_head(report), *(line for part in parts for line in (Line(""), *part)))


def brief_lines_of(report: Report) -> tuple[Line, ...]:
    """Write a line for each pool, and one for the host if anything is wrong with it."""
    parts = [(pool.severity, pool.brief) for pool in report.pools]
    if report.host.brief:
        parts.append((report.host.severity, f"host: {report.host.brief}"))
    lines = (Line(f"{each.name}: {text}", style_of(each)) for each, text in parts)
    return (*_head(report), *_indented(lines))


def origin_words(report: Report) -> str:
    """Say whose figures these are, if they were not read for this report."""
    seconds = report.published_seconds_ago
    return "" if seconds is None else f"from the guard's Snapshot, {seconds:.0f} s old"


def _head(report: Report) -> Iterator[Line]:
    severity = report.severity
    yield Line(f"{severity.name}: {report.summary}", style_of(severity))
    if report.is_simulated:
        yield Line(SIMULATED, Style.WARNING)


class Told:
    """Remembers what was told to do, so that it is not told again for the next pool."""

    def __init__(self) -> None:
        self._steps: set[Remedy] = set()

    def rest_of(self, remedy: Remedy) -> Remedy:
        """Return the steps that are new, with a line in place of the others."""
        lines: list[Line] = []
        for step in _steps(remedy):
            if step not in self._steps:
                lines.extend(step)
            elif lines[-1:] != [AS_ABOVE]:
                lines.append(AS_ABOVE)
            self._steps.add(step)
        return tuple(lines)


def _steps(remedy: Remedy) -> list[Remedy]:
    """Cut a remedy after each group of commands."""
    steps: list[list[Line]] = []
    was_command = True
    for line in remedy:
        is_command = line.style is Style.COMMAND
        if was_command and not is_command:
            steps.append([])
        if not steps:
            steps.append([])
        steps[-1].append(line)
        was_command = is_command
    return [tuple(step) for step in steps]


def _pool(pool: PoolReport, told: Told) -> Iterator[Line]:
    judgement = pool.verdict
    yield Line(f"{pool.name}: {pool.severity.name}", style_of(pool.severity))
    yield Line(judgement.text, style_of(judgement.severity)).indented(INDENT)
    yield from _indented(_figures(pool.figures, POOL_NAME_WIDTH))
    yield from _indented(_titled("to protect it", told.rest_of(judgement.remedy)))
    yield from _indented(_findings(pool.findings, told))


def _host(report: Report, told: Told) -> Iterator[Line]:
    host, origin = report.host, origin_words(report)
    yield Line("host", Style.HEADING)
    figures = [*([Figure("source", origin)] if origin else []), *host.figures]
    width = max((len(figure.name) for figure in figures), default=0) + GAP
    yield from _indented(_figures(figures, width))
    yield from _indented(_findings(host.findings, told))


def _figures(figures: Iterable[Figure], width: int) -> Iterator[Line]:
    return (Line(f"{figure.name:<{width}}{figure.text}") for figure in figures)


def _findings(findings: Iterable[Finding], told: Told) -> Iterator[Line]:
    for finding in findings:
        word = "note" if finding.severity is Severity.OK else finding.severity.name
        yield Line(f"{word}: {finding.text}", style_of(finding.severity))
        yield from _indented(_set_off(told.rest_of(finding.remedy)))


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
