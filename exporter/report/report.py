"""Puts findings and figures together into the report of one host."""

from __future__ import annotations

from msgspec import Struct

from exporter.model import GuardNote, Snapshot
from exporter.report.case import Case
from exporter.report.figures import Figure
from exporter.report.finding import Finding, Severity, urgency, worst
from exporter.report.host import host_figures, host_findings
from exporter.report.pool import PoolReport

MAX_NAMED = 3


class HostReport(Struct, frozen=True, kw_only=True):
    """What is to be said of the host beside its pools, the most urgent finding first."""

    severity: Severity
    figures: tuple[Figure, ...]
    findings: tuple[Finding, ...]
    brief: str

    @classmethod
    def of(cls, snapshot: Snapshot, guard: GuardNote | None) -> HostReport:
        """Report on the host."""
        findings = sorted(host_findings(snapshot), key=lambda f: -urgency(f.severity))
        briefs = dict.fromkeys(finding.brief for finding in findings if finding.brief)
        return cls(
            severity=worst(finding.severity for finding in findings),
            figures=host_figures(snapshot, guard),
            findings=tuple(findings),
            brief=", ".join(briefs),
        )


class Report(Struct, frozen=True, kw_only=True):
    """What a person needs to know; `summary` is one line, for monitoring systems as well."""

    severity: Severity
    summary: str
    is_simulated: bool
    pools: tuple[PoolReport, ...]
    host: HostReport

    @property
    def exit_status(self) -> int:
        """0 ok, 1 warning, 2 critical, 3 unknown, as monitoring plugins end."""
        return int(self.severity)

    @classmethod
    def of(cls, snapshot: Snapshot, guard: GuardNote | None) -> Report:
        """Report on a host; `guard` is the note of the guard that runs, if one does."""
        pools = tuple(PoolReport.of(Case.of(pool, snapshot, guard)) for pool in snapshot.pools)
        host = HostReport.of(snapshot, guard)
        return cls(
            severity=worst([*(pool.severity for pool in pools), host.severity]),
            summary=_summary(pools, host),
            is_simulated=snapshot.is_simulated,
            pools=pools,
            host=host,
        )


def _summary(pools: tuple[PoolReport, ...], host: HostReport) -> str:
    """Name what is wrong, the worst first; a reader of one line sees what to do first."""
    parts: tuple[PoolReport | HostReport, ...] = (*pools, host)
    wrong = [part for part in parts if part.severity is not Severity.OK]
    if not wrong:
        return _all_well(pools)
    wrong.sort(key=lambda part: -urgency(part.severity))
    named = [part.brief for part in wrong if part.brief]
    more = len(named) - MAX_NAMED
    return "; ".join([*named[:MAX_NAMED], *([f"and {more} more"] if more > 0 else [])])


def _all_well(pools: tuple[PoolReport, ...]) -> str:
    if not pools:
        return "no thin pools on this host"
    if len(pools) == 1:
        return pools[0].brief
    return f"{len(pools)} thin pools, all protected"
