"""One pool's part of the report: its verdict, its figures and what was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from exporter.model import ThinPool
from exporter.report.case import Case
from exporter.report.figures import Figure, figures
from exporter.report.finding import (
    AS_ABOVE,
    Finding,
    Remedy,
    Severity,
    Style,
    run,
    say,
    urgency,
    worst,
)
from exporter.report.foreign import foreign_findings
from exporter.report.policy import policy_findings
from exporter.report.room import room_findings
from exporter.report.state import state_findings
from exporter.report.text import error_words, operand, whole_percent
from exporter.report.verdict import Verdict, verdict
from exporter.report.volume_group import group_findings


class PoolReport(Struct, frozen=True, kw_only=True):
    """What is to be said of one pool, the most urgent finding first.

    `brief` is its place in the first line of the whole; every text is safe to show.
    """

    case: Case
    severity: Severity
    verdict: Verdict
    figures: tuple[Figure, ...]
    findings: tuple[Finding, ...]
    brief: str

    @classmethod
    def of_error(cls, pool: ThinPool, error: Exception | None) -> PoolReport:
        """Report that nothing can be said of a pool, and why."""
        case, words = Case.of_name(pool), error_words(error)
        bug = Finding(
            severity=Severity.UNKNOWN,
            text="this is a bug of thinpool-exporter; report it with the line of its log",
            remedy=(
                say("What the kernel says of the pool:"),
                run("dmsetup", "status", *operand(case.pool.device_name)),
            ),
        )
        return cls(
            case=case,
            severity=Severity.UNKNOWN,
            verdict=Verdict(severity=Severity.UNKNOWN, text=words, brief=words),
            figures=(),
            findings=(bug,),
            brief=f"{case.name}: {words}",
        )

    @property
    def name(self) -> str:
        """The pool's label, safe to show."""
        return self.case.name

    @classmethod
    def of(cls, case: Case) -> PoolReport:
        """Report on a pool."""
        judgement = verdict(case)
        findings = sorted(_findings(case), key=lambda finding: -urgency(finding.severity))
        return cls(
            case=case,
            severity=worst([judgement.severity, *(f.severity for f in findings)]),
            verdict=judgement,
            figures=tuple(figures(case)),
            findings=tuple(_each_once(findings, judgement.remedy)),
            brief=f"{case.name}: {', '.join(_briefs(case, judgement, findings))}",
        )


def _findings(case: Case) -> Iterator[Finding]:
    if not case.namesakes:
        yield from _all_findings(case)
        return
    # Until the VG has a name of its own, LVM refuses every other command.
    named = tuple(group_findings(case))
    yield from named
    rest = (finding for finding in _all_findings(case) if finding not in named)
    yield from (replace(finding, remedy=()) for finding in rest)


def _all_findings(case: Case) -> Iterator[Finding]:
    yield from state_findings(case)
    yield from foreign_findings(case)
    yield from group_findings(case)
    yield from policy_findings(case)
    yield from room_findings(case)


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


def _each_once(findings: Iterable[Finding], told: Remedy) -> Iterator[Finding]:
    """Give the findings; commands that were all told before are not told again."""
    known = _commands(told)
    for finding in findings:
        commands = _commands(finding.remedy)
        is_told = bool(commands) and commands <= known
        known |= commands
        again = (AS_ABOVE,)
        yield replace(finding, remedy=again) if is_told else finding


def _commands(lines: Remedy) -> set[str]:
    return {line.text for line in lines if line.style is Style.COMMAND}
