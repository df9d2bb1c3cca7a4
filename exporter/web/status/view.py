"""What pages show of a host: the report on the latest Snapshot, and how far to believe it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping

from msgspec import Struct

from exporter import __version__
from exporter.bulkhead import Bulkheads
from exporter.model import Snapshot
from exporter.report import Figure, PoolReport, Report, Severity, urgency, worst
from exporter.report.text import no_look_words, shown
from exporter.staleness import SILENT_GUARD_SECONDS, as_of, silence_seconds
from exporter.units import format_duration
from exporter.web.message import Response
from exporter.web.status.pool import (
    FindingView,
    PoolView,
    finding_views,
    pool_views,
    seconds_until_full,
    utc,
)
from exporter.web.status.words import host_words

# Of the pages of a second: a runbook about one pool takes 10 KiB, about a hundred 300 KiB.
MAX_PAGES_BYTES = 4 * 1024 * 1024


class HostView(Struct, frozen=True, kw_only=True):
    """What the page shows of the host beside its pools; `words` are for runbooks."""

    severity: str
    figures: tuple[Figure, ...]
    findings: tuple[FindingView, ...]
    words: Mapping[str, str]


class PageView(Struct, frozen=True, kw_only=True):
    """All that the template needs; every text may be shown as it is, but for HTML's signs."""

    host_name: str
    severity: str
    summary: str
    is_simulated: bool
    warnings: tuple[str, ...]
    taken_at: str
    age: str
    pools: tuple[PoolView, ...]
    host: HostView | None
    nothing: str
    telemetry_path: str
    version: str = __version__


class Viewer:
    """Makes what pages show, and each page, once for each Snapshot and second.

    The view of a hundred pools takes thirty milliseconds, in the event loop: a crowd that asks
    for pages must not hold up a scrape, whatever pages it asks for.
    `fault` says why there is no newer Snapshot, "" where there is; `clock` gives seconds
    since the epoch.
    """

    def __init__(
        self,
        latest: Callable[[], Snapshot | None],
        fault: Callable[[], str],
        *,
        telemetry_path: str,
        host_name: str,
        clock: Callable[[], float],
        bulkheads: Bulkheads,
    ) -> None:
        self._latest = latest
        self._fault = fault
        self._telemetry_path = telemetry_path
        self._host_name = shown(host_name)
        self._clock = clock
        self._bulkheads = bulkheads
        self._shown: tuple[Snapshot | None, str, int, PageView] | None = None
        self._pages: dict[Hashable, Response] = {}
        self._pages_bytes = 0

    def view(self) -> PageView:
        """Show the host as of now; the same object as long as it is the same moment."""
        snapshot, fault, second = self._latest(), self._fault(), int(self._clock())
        if shown := self._shown:
            *moment, view = shown
            if moment[0] is snapshot and moment[1:] == [fault, second]:
                return view
        view = self._empty(fault) if snapshot is None else self._view(snapshot, fault)
        self._shown, self._pages, self._pages_bytes = (snapshot, fault, second, view), {}, 0
        return view

    def page(self, key: Hashable, render: Callable[[PageView], Response]) -> Response:
        """Answer with the page as of now, which is known by its key."""
        view = self.view()
        if key not in self._pages:
            page = render(view)
            self._pages_bytes += len(page.body)
            if self._pages_bytes > MAX_PAGES_BYTES:
                self._pages, self._pages_bytes = {}, len(page.body)
            self._pages[key] = page
        return self._pages[key]

    def _empty(self, fault: str) -> PageView:
        return PageView(
            host_name=self._host_name,
            severity=Severity.UNKNOWN.name,
            summary="nothing has been read yet",
            is_simulated=False,
            warnings=(f"There are no figures: {shown(fault)}.",) if fault else (),
            taken_at="",
            age="",
            pools=(),
            host=None,
            nothing="As soon as the guard has looked at the host, its pools are shown here.",
            telemetry_path=self._telemetry_path,
        )

    def _view(self, snapshot: Snapshot, fault: str) -> PageView:
        now = self._clock()
        age, silence = max(0.0, now - snapshot.taken_at), silence_seconds(snapshot, now)
        warnings = tuple(_warnings(age, fault, silence))
        # Whoever can no longer be heard of protects nothing.
        note = snapshot.guard.note if snapshot.guard and not fault else None
        report = Report.of(as_of(snapshot, now), note, self._bulkheads, silence_seconds=silence)
        severity = worst([report.severity, *([Severity.UNKNOWN] if warnings else [])])
        pools = sorted(report.pools, key=_place)
        return PageView(
            host_name=self._host_name,
            severity=severity.name,
            summary=report.summary,
            is_simulated=report.is_simulated,
            warnings=warnings,
            taken_at=utc(snapshot.taken_at),
            age=format_duration(int(age)),
            pools=tuple(pool_views(pools, self._bulkheads)),
            host=HostView(
                severity=report.host.severity.name,
                figures=report.host.figures,
                findings=finding_views(report.host.findings),
                words=host_words(snapshot),
            ),
            nothing=_nothing(report),
            telemetry_path=self._telemetry_path,
        )


def _warnings(age: float, fault: str, silence: float | None) -> Iterator[str]:
    """Say what keeps the figures from being the present ones."""
    if fault:
        yield (
            f"There are no newer figures than these, {format_duration(int(age))} old: "
            f"{shown(fault)}."
        )
    elif age > SILENT_GUARD_SECONDS:
        yield (
            f"These figures are {format_duration(int(age))} old: the guard publishes nothing. "
            "See what became of it: systemctl status thinpool-guard."
        )
    elif silence is not None:
        yield (
            f"The guard {no_look_words(silence)}: nobody extends them. "
            "See what became of it: systemctl status thinpool-guard."
        )


def _place(pool: PoolReport) -> tuple[int, float, str]:
    """Order the pools: by urgency, then by how soon they are full, then by name."""
    until = seconds_until_full(pool)
    return (-urgency(pool.severity), float("inf") if until is None else until, pool.name)


def _nothing(report: Report) -> str:
    """Say why no pool is shown: because there is none, or because none could be read."""
    if report.host.severity is Severity.UNKNOWN:
        return "No thin pool could be read; what keeps it from being read is told below."
    return "There are no thin pools on this host."
