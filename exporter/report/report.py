"""Puts findings and figures together into the report of one host."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from exporter.bulkhead import Bulkheads
from exporter.model import GuardNote, Snapshot, Stage, ThinPool
from exporter.report.case import Case
from exporter.report.figures import Figure
from exporter.report.finding import Finding, Severity, urgency, worst
from exporter.report.host import host_figures, host_findings, missing_pool
from exporter.report.pool import PoolReport
from exporter.report.text import error_words

MAX_NAMED = 3


class HostReport(Struct, frozen=True, kw_only=True):
    """What is to be said of the host beside its pools, the most urgent finding first."""

    severity: Severity
    figures: tuple[Figure, ...]
    findings: tuple[Finding, ...]
    brief: str

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        guard: GuardNote | None,
        silence_seconds: float | None = None,
        *,
        missing: Sequence[str] = (),
    ) -> HostReport:
        """Report on the host, and on the pools that were asked for and are not there."""
        found = [
            *map(missing_pool, missing),
            *host_findings(snapshot, guard, silence_seconds),
        ]
        findings = sorted(found, key=lambda f: -urgency(f.severity))
        briefs = dict.fromkeys(finding.brief for finding in findings if finding.brief)
        return cls(
            severity=worst(finding.severity for finding in findings),
            figures=host_figures(snapshot, guard),
            findings=tuple(findings),
            brief=", ".join(briefs),
        )

    @classmethod
    def of_error(cls, error: Exception | None) -> HostReport:
        """Report that nothing can be said of the host, and why."""
        words = f"the host {error_words(error)}"
        finding = Finding(severity=Severity.UNKNOWN, text=words, brief=words)
        return cls(severity=finding.severity, figures=(), findings=(finding,), brief=words)


class Report(Struct, frozen=True, kw_only=True):
    """What a person needs to know; `summary` is one line, for monitoring systems as well.

    `taken_at` is the Snapshot's time, in seconds since the epoch. `published_seconds_ago` is
    how old it was if a guard published it; None: it was read for this report.
    """

    taken_at: float
    published_seconds_ago: float | None = None
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
    def of(
        cls,
        snapshot: Snapshot,
        guard: GuardNote | None,
        bulkheads: Bulkheads,
        *,
        silence_seconds: float | None = None,
        labels: Sequence[str] = (),
    ) -> Report:
        """Report on a host; `guard` is the note of the guard that runs, if one does.

        `silence_seconds` is for how long that guard has completed no cycle, if that is too
        long. What cannot be reported on is shown as such, and nothing else is missing.
        `labels` are the pools to report on: all of them if none is named.
        """

        def of_pool(pool: ThinPool) -> PoolReport:
            with bulkheads.contain(Stage.REPORT, pool.label) as bulkhead:
                return PoolReport.of(Case.of(pool, snapshot, guard, silence_seconds))
            return PoolReport.of_error(pool, bulkhead.error)

        def of_host() -> HostReport:
            with bulkheads.contain(Stage.REPORT, "host") as bulkhead:
                return HostReport.of(snapshot, guard, silence_seconds, missing=missing)
            return HostReport.of_error(bulkhead.error)

        known = [pool.label for pool in snapshot.pools]
        missing = tuple(label for label in labels if label not in known)
        chosen = [pool for pool in snapshot.pools if not labels or pool.label in labels]
        pools, host = tuple(map(of_pool, chosen)), of_host()
        return cls(
            taken_at=snapshot.taken_at,
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
