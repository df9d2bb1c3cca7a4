"""One device of a pool as the page shows it: in words, and as a bar with its threshold."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from exporter.autoextend import NEVER_PERCENT, PERCENT_1, usage_percent
from exporter.model import Device, Filling
from exporter.report import PoolReport, Severity
from exporter.report.case import Case
from exporter.report.text import percent
from exporter.units import format_bytes, format_duration

BAR_LENGTH = 1000  # of the drawing; its width on the screen is the style's
PERCENT_LENGTH = BAR_LENGTH // 100


class Bar(Struct, frozen=True, kw_only=True):
    """How long it is, where the threshold is (None: nowhere), and what it says instead."""

    used: int
    threshold: int | None
    threshold_words: str
    severity: str
    label: str


class UsageView(Struct, frozen=True, kw_only=True):
    """One device; without a bar where its usage is not known."""

    name: str
    percent: str
    words: str
    bar: Bar | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, pool: PoolReport, device: Device) -> UsageView:
        """Show a device of a pool."""
        words = {figure.name: figure.text for figure in pool.figures}
        share, short = _share(pool.case, device)
        return cls(
            name=str(device),
            percent=short,
            words=words.get(str(device), "unknown"),
            bar=None if share is None else _bar(pool, device, share, short),
            notes=tuple(_notes(pool.case, device)),
        )


def filling_of(case: Case, device: Device) -> Filling | None:
    """Find how fast a device fills; None while it does not, or nobody knows."""
    return case.judged.filling.get(device) if case.judged else None


def _share(case: Case, device: Device) -> tuple[float | None, str]:
    """Find the usage in percent, and in words."""
    usage = case.usage(device)
    if usage is None:
        return None, "unknown"
    return usage_percent(usage.used_blocks, usage.total_blocks) / PERCENT_1, percent(usage)


def _bar(pool: PoolReport, device: Device, share: float, short: str) -> Bar:
    threshold = pool.case.threshold(device)
    if threshold is not None and threshold >= NEVER_PERCENT:
        threshold = None
    words = "no threshold" if threshold is None else f"threshold {threshold} %"
    return Bar(
        used=max(0, min(BAR_LENGTH, round(share * PERCENT_LENGTH))),
        threshold=None if threshold is None else threshold * PERCENT_LENGTH,
        threshold_words=words,
        severity=_severity(pool, device).name.lower(),
        label=f"{device} of {pool.name}: {short} full, {words}",
    )


def _severity(pool: PoolReport, device: Device) -> Severity:
    """Colour the bar: what is full, or above its threshold where nobody mends that."""
    usage = pool.case.usage(device)
    if usage is not None and usage.used_blocks >= usage.total_blocks:
        return Severity.CRITICAL
    if pool.case.is_over(device):
        is_lost = pool.severity is Severity.CRITICAL
        return Severity.CRITICAL if is_lost else Severity.WARNING
    return Severity.OK


def _notes(case: Case, device: Device) -> Iterator[str]:
    threshold = case.threshold(device)
    if threshold is not None and case.is_lvm:
        is_never = threshold >= NEVER_PERCENT
        yield "never extended by policy" if is_never else f"extended above {threshold} %"
    filling = filling_of(case, device)
    if filling is not None:
        rate = format_bytes(filling.bytes_per_second)
        until = format_duration(filling.seconds_until_full)
        yield f"gains {rate}/s: full in {until} if nothing extends it"
    elif case.is_guard_at_work and case.judged and case.usage(device):
        yield "does not fill at present"
    step = case.step(device)
    if step is not None:
        yield (
            f"next step {format_bytes(step.wanted_bytes)}, "
            f"the VG can give {format_bytes(step.possible_bytes)}"
        )
