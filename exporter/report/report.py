"""Puts findings and figures together into the report of one host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from exporter.model import GuardNote, Snapshot
from exporter.report.case import Case
from exporter.report.figures import figure_lines
from exporter.report.finding import (
    Finding,
    Line,
    Remedy,
    Severity,
    Style,
    say,
    style_of,
    urgency,
    worst,
)
from exporter.report.foreign import foreign_findings
from exporter.report.host import host_findings, host_lines
from exporter.report.policy import policy_findings
from exporter.report.room import room_findings
from exporter.report.state import state_findings
from exporter.report.text import whole_percent
from exporter.report.verdict import Verdict, verdict
from exporter.report.volume_group import group_findings

INDENT = 2
MAX_NAMED = 3
SIMULATED = "SIMULATED HOST: these pools do not exist, nothing here is about this machine."


class Part(Struct, frozen=True, kw_only=True):
    """A pool, or the host: how bad it is, its place in the first line, and its lines."""

    severity: Severity
    brief: str
    lines: tuple[Line, ...]


class Report(Struct, frozen=True, kw_only=True):
    """What a person needs to know; the first line is for monitoring systems as well."""

    severity: Severity
    lines: tuple[Line, ...]

    @property
    def exit_status(self) -> int:
        """0 ok, 1 warning, 2 critical, 3 unknown, as monitoring plugins end."""
        return int(self.severity)

    @classmethod
    def of(cls, snapshot: Snapshot, guard: GuardNote | None) -> Report:
        """Report on a host; `guard` is the note of the guard that runs, if one does."""
        pools = [_pool_part(Case.of(pool, snapshot, guard)) for pool in snapshot.pools]
        host = _host_part(snapshot, guard)
        severity = worst(part.severity for part in (*pools, host))
        first = Line(f"{severity.name}: {_summary(pools, host)}", style_of(severity))
        banner = (Line(SIMULATED, Style.WARNING),) if snapshot.is_simulated else ()
        rest = (line for part in (*pools, host) for line in (Line(""), *part.lines))
        return cls(severity=severity, lines=(first, *banner, *rest))


def _pool_part(case: Case) -> Part:
    judgement = verdict(case)
    findings = [
        *state_findings(case),
        *foreign_findings(case),
        *group_findings(case),
        *policy_findings(case),
        *room_findings(case),
    ]
    findings.sort(key=lambda finding: -urgency(finding.severity))
    severity = worst([judgement.severity, *(finding.severity for finding in findings)])
    return Part(
        severity=severity,
        brief=f"{case.name}: {', '.join(_briefs(case, judgement, findings))}",
        lines=(
            Line(f"{case.name}: {severity.name}", style_of(severity)),
            Line(judgement.text, style_of(judgement.severity)).indented(INDENT),
            *_indented(Line(text) for text in figure_lines(case)),
            *_indented(_titled("to protect it", judgement.remedy)),
            *_indented(_each_once(findings, judgement.remedy)),
        ),
    )


def _briefs(case: Case, judgement: Verdict, findings: Iterable[Finding]) -> Iterator[str]:
    """Say what is critical, then what protects the pool, then the rest, each thing once."""
    told = [finding for finding in findings if finding.brief]
    critical = [f.brief for f in told if f.severity is Severity.CRITICAL]
    rest = [f.brief for f in told if f.severity is not Severity.CRITICAL]
    yield from dict.fromkeys([*critical, judgement.brief, *rest, *_fullness(case)])


def _fullness(case: Case) -> Iterator[str]:
    data, metadata = case.pool.data, case.pool.metadata
    if data is None or metadata is None:
        return
    if whole_percent(metadata) > whole_percent(data):
        yield f"metadata {whole_percent(metadata)} % full"
    else:
        yield f"{whole_percent(data)} % full"


def _each_once(findings: Iterable[Finding], told: Remedy) -> Iterator[Line]:
    """Print findings; commands that were all told before are not told again."""
    known = _commands(told)
    for finding in findings:
        commands = _commands(finding.remedy)
        is_told = bool(commands) and commands <= known
        known |= commands
        again = (say("What to type is told above."),)
        yield from _finding_lines(replace(finding, remedy=again) if is_told else finding)


def _commands(lines: Remedy) -> set[str]:
    return {line.text for line in lines if line.style is Style.COMMAND}


def _finding_lines(finding: Finding) -> Iterator[Line]:
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


def _host_part(snapshot: Snapshot, guard: GuardNote | None) -> Part:
    findings = sorted(host_findings(snapshot), key=lambda finding: -urgency(finding.severity))
    briefs = dict.fromkeys(finding.brief for finding in findings if finding.brief)
    return Part(
        severity=worst(finding.severity for finding in findings),
        brief=", ".join(briefs),
        lines=(
            Line("host", Style.HEADING),
            *_indented(Line(text) for text in host_lines(snapshot, guard)),
            *_indented(line for finding in findings for line in _finding_lines(finding)),
        ),
    )


def _summary(pools: list[Part], host: Part) -> str:
    """Name what is wrong, the worst first; a reader of one line sees what to do first."""
    wrong = [part for part in (*pools, host) if part.severity is not Severity.OK]
    if not wrong:
        return _all_well(pools)
    wrong.sort(key=lambda part: -urgency(part.severity))
    named = [part.brief for part in wrong if part.brief]
    more = len(named) - MAX_NAMED
    return "; ".join([*named[:MAX_NAMED], *([f"and {more} more"] if more > 0 else [])])


def _all_well(pools: list[Part]) -> str:
    if not pools:
        return "no thin pools on this host"
    if len(pools) == 1:
        return pools[0].brief
    return f"{len(pools)} thin pools, all protected"
