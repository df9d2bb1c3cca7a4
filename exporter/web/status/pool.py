"""One pool as the page shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from itertools import groupby
from urllib.parse import quote

from msgspec import Struct

from exporter.bulkhead import Bulkheads
from exporter.collectors.families import printable
from exporter.model import Device, PastExtension, Stage
from exporter.report import Figure, Finding, Line, PoolReport, Style
from exporter.units import format_bytes, format_duration
from exporter.web.status.usage import UsageView, filling_of
from exporter.web.status.words import pool_words

# The usage is shown as bars, with these in their notes.
SHOWN_ELSEWHERE = {"data", "metadata", "next step"}


class ExtensionView(Struct, frozen=True, kw_only=True):
    """What the guard did, and when (UTC)."""

    at: str
    words: str


class Advice(Struct, frozen=True, kw_only=True):
    """A paragraph, or commands to type, one on a line."""

    text: str
    is_command: bool


class FindingView(Struct, frozen=True, kw_only=True):
    """One thing to know, and what mends it."""

    badge: str
    severity: str
    text: str
    remedy: tuple[Advice, ...]


class PoolView(Struct, frozen=True, kw_only=True):
    """What the page shows of a pool; `anchor` names its place on the page.

    `labels` are those of its metrics, `words` what stands for its names in a runbook.
    """

    name: str
    labels: tuple[str, str]
    words: Mapping[str, str]
    is_lvm: bool
    is_docker_s: bool
    anchor: str
    severity: str
    brief: str
    verdict: str
    full_in: str
    usages: tuple[UsageView, ...]
    figures: tuple[Figure, ...]
    extensions: tuple[ExtensionView, ...]
    remedy: tuple[Advice, ...]
    findings: tuple[FindingView, ...]

    @classmethod
    def of(cls, pool: PoolReport, anchor: str) -> PoolView:
        """Show a pool."""
        judged = pool.case.judged
        until = seconds_until_full(pool)
        return cls(
            name=pool.name,
            labels=(printable(pool.case.pool.vg_name), printable(pool.case.pool.name)),
            words=pool_words(pool.case),
            is_lvm=pool.case.is_lvm,
            is_docker_s=pool.case.is_docker_s,
            anchor=anchor,
            severity=pool.severity.name,
            brief=pool.brief.removeprefix(f"{pool.name}: "),
            verdict=pool.verdict.text,
            full_in="" if until is None else format_duration(until),
            usages=tuple(UsageView.of(pool, device) for device in Device),
            figures=tuple(f for f in pool.figures if f.name not in SHOWN_ELSEWHERE),
            extensions=tuple(map(_extension, judged.last_extensions)) if judged else (),
            remedy=tuple(_advice(pool.verdict.remedy)),
            findings=finding_views(pool.findings),
        )


def pool_views(pools: Iterable[PoolReport], bulkheads: Bulkheads) -> Iterator[PoolView]:
    """Show pools, each at an anchor of its own: two VGs may have one name."""
    count: Counter[str] = Counter()
    for pool in pools:
        anchor = _anchor(pool.case.pool.label)
        count[anchor] += 1
        number = count[anchor]
        yield _contained(pool, anchor if number == 1 else f"{anchor}:{number}", bulkheads)


def _contained(pool: PoolReport, anchor: str, bulkheads: Bulkheads) -> PoolView:
    with bulkheads.contain(Stage.REPORT, pool.name) as bulkhead:
        return PoolView.of(pool, anchor)
    return PoolView.of(PoolReport.of_error(pool.case.pool, bulkhead.error), anchor)


def seconds_until_full(pool: PoolReport) -> float | None:
    """Tell when the first of its devices is full; None while none fills."""
    fillings = (filling_of(pool.case, device) for device in Device)
    return min((f.seconds_until_full for f in fillings if f is not None), default=None)


def finding_views(findings: Iterable[Finding]) -> tuple[FindingView, ...]:
    """Show findings."""
    return tuple(
        FindingView(
            badge=finding.severity.name if finding.severity else "NOTE",
            severity=finding.severity.name.lower(),
            text=finding.text,
            remedy=tuple(_advice(finding.remedy)),
        )
        for finding in findings
    )


def utc(seconds: float) -> str:
    """Write a time of day that means the same to everybody; seconds since the epoch."""
    return f"{datetime.fromtimestamp(seconds, tz=timezone.utc):%Y-%m-%d %H:%M:%SZ}"


def _anchor(label: str) -> str:
    """Make an id of a label, which may hold any byte that a program can print."""
    return f"pool-{quote(label.encode(errors='surrogatepass'), safe='')}"


def _extension(past: PastExtension) -> ExtensionView:
    added = format_bytes(past.after_bytes - past.before_bytes)
    words = f"{past.device} by {added} to {format_bytes(past.after_bytes)}"
    why = [
        *(["before the threshold, since it filled fast"] if past.is_anticipated else []),
        *(["all that there was"] if past.is_clamped else []),
    ]
    return ExtensionView(at=utc(past.at), words=", ".join([words, *why]))


def _advice(lines: Iterable[Line]) -> Iterator[Advice]:
    """Join what explains a step, and what is typed in it: the page breaks its own lines."""
    for is_command, group in groupby(lines, lambda line: line.style is Style.COMMAND):
        texts = [line.text for line in group]
        yield Advice(text=("\n" if is_command else " ").join(texts), is_command=is_command)
