"""A report for programs: the line of a monitoring plugin, and JSON.

Source of the line: the Monitoring Plugins' guidelines, "Performance data" and "Threshold and
ranges".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from exporter.autoextend import NEVER_PERCENT, PERCENT_1, usage_percent
from exporter.model import Device, PoolMode
from exporter.report.case import Case
from exporter.report.finding import Finding, Line, Severity, Style
from exporter.report.lines import origin_words
from exporter.report.pool import PoolReport
from exporter.report.report import Report
from exporter.report.state import NEARLY_FULL_PERCENT
from exporter.report.text import shown

FORMAT = 1


class JsonStep(Struct, frozen=True, kw_only=True):
    """One line of a remedy: a command to type, or what to know about it."""

    text: str
    is_command: bool


class JsonFinding(Struct, frozen=True, kw_only=True):
    """One thing to know."""

    status: str
    text: str
    remedy: tuple[JsonStep, ...]


class JsonUsage(Struct, frozen=True, kw_only=True):
    """One device of a pool. `threshold_percent` is None if LVM never extends it."""

    used_bytes: int
    size_bytes: int
    threshold_percent: int | None


class JsonPool(Struct, frozen=True, kw_only=True):
    """One pool; `vg` is "" if LVM did not make it, and usage None is unknown."""

    vg: str
    pool: str
    status: str
    summary: str
    mode: PoolMode
    protection: str
    data: JsonUsage | None
    metadata: JsonUsage | None
    remedy: tuple[JsonStep, ...]
    findings: tuple[JsonFinding, ...]


class JsonReport(Struct, frozen=True, kw_only=True):
    """The whole. A check that failed has `status` UNKNOWN, its `summary`, and nothing else."""

    format: int = FORMAT
    status: str
    exit_status: int
    summary: str
    is_simulated: bool = False
    taken_at: float | None = None
    published_seconds_ago: float | None = None
    pools: tuple[JsonPool, ...] = ()
    host: tuple[JsonFinding, ...] = ()


def plugin_line(report: Report) -> str:
    """Write the one line of a monitoring plugin, with each device's usage in percent."""
    notes = [origin_words(report), "simulated host" if report.is_simulated else ""]
    said = "".join(f" ({note})" for note in notes if note)
    text = status_line(report.severity, f"{report.summary}{said}")
    figures = " ".join(figure for pool in report.pools for figure in _performance(pool.case))
    return f"{text} | {figures}" if figures else text


def status_line(severity: Severity, text: str) -> str:
    """Write the line without figures."""
    return f"THINPOOL {severity.name} - {text}"


def _performance(case: Case) -> Iterator[str]:
    """Write `'label'=value;warn;crit;min;max`; U is a value that is not known."""
    for device in Device:
        usage, threshold = case.usage(device), _threshold(case, device)
        value = "U"
        if usage is not None:
            value = f"{usage_percent(usage.used_blocks, usage.total_blocks) / PERCENT_1:.2f}%"
        warn = "" if threshold is None else threshold
        yield f"{_label(f'{case.name} {device}')}={value};{warn};{NEARLY_FULL_PERCENT};0;100"


def _label(name: str) -> str:
    """Quote a label; an equals sign is not allowed even within quotes."""
    return "'" + name.replace("=", "\\x3d").replace("'", "''") + "'"


def _threshold(case: Case, device: Device) -> int | None:
    threshold = case.threshold(device)
    return None if threshold is None or threshold >= NEVER_PERCENT else threshold


def json_text(report: Report) -> str:
    """Write the report as one JSON object."""
    return _encoded(
        JsonReport(
            status=report.severity.name,
            exit_status=report.exit_status,
            summary=report.summary,
            is_simulated=report.is_simulated,
            taken_at=report.taken_at,
            published_seconds_ago=report.published_seconds_ago,
            pools=tuple(map(_pool, report.pools)),
            host=_findings(report.host.findings),
        )
    )


def json_failure(text: str) -> str:
    """Write that there is no report, and why."""
    severity = Severity.UNKNOWN
    return _encoded(JsonReport(status=severity.name, exit_status=int(severity), summary=text))


def _encoded(report: JsonReport) -> str:
    return msgspec.json.encode(report).decode()


def _pool(report: PoolReport) -> JsonPool:
    case = report.case
    return JsonPool(
        vg=shown(case.pool.vg_name),
        pool=shown(case.pool.name),
        status=report.severity.name,
        summary=report.brief,
        mode=case.pool.mode,
        protection=report.verdict.text,
        data=_usage(case, Device.DATA),
        metadata=_usage(case, Device.METADATA),
        remedy=_steps(report.verdict.remedy),
        findings=_findings(report.findings),
    )


def _usage(case: Case, device: Device) -> JsonUsage | None:
    usage = case.usage(device)
    if usage is None:
        return None
    return JsonUsage(
        used_bytes=usage.used_bytes,
        size_bytes=usage.total_bytes,
        threshold_percent=_threshold(case, device),
    )


def _findings(findings: Iterable[Finding]) -> tuple[JsonFinding, ...]:
    return tuple(
        JsonFinding(status=each.severity.name, text=each.text, remedy=_steps(each.remedy))
        for each in findings
    )


def _steps(lines: Iterable[Line]) -> tuple[JsonStep, ...]:
    return tuple(
        JsonStep(text=line.text.strip(), is_command=line.style is Style.COMMAND)
        for line in lines
    )
