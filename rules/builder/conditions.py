"""Parts of expressions that several alerts have."""

from __future__ import annotations

from rules.builder.settings import Settings

OF_ALERTS = "alertname, alertstate, severity"


def lasting(condition: str, evidence: str, name: str, *, severity: str = "critical") -> str:
    """Write a condition that counts only after some evidence, and then for as long as it holds.

    The evidence ages. That the alert has fired itself keeps it.
    """
    series = f'ALERTS{{alertname="{name}",severity="{severity}",alertstate="firing"}}[1d]'
    inside = indented(f"{evidence}\nor\nlast_over_time({series})")
    return f"{condition}\nand ignoring ({OF_ALERTS})\n(\n{inside}\n)"


def in_mode(mode: str, settings: Settings, *, samples: int = 1) -> str:
    """Write that a pool is in a mode, as of its last sample, and that so many of late say so."""
    series = f'thinpool_mode{{mode="{mode}"}}'
    last = f"max without (mode) ({recent(series, settings)}) == 1"
    if samples == 1:
        return last
    counted = f"sum_over_time({series}[10m5s])"
    return f"{last}\nand\nmax without (mode) ({counted}) >= {samples}"


def recent(series: str, settings: Settings) -> str:
    """Write the last sample of a series; a scrape that failed does not hide it."""
    return f"last_over_time({series}[{settings.recent}])"


def covered(settings: Settings) -> str:
    """Write that a pool has all that its volumes promise: its data cannot run out."""
    return f"{recent('thinpool:overcommitted:bool', settings)} == 0"


def indented(text: str) -> str:
    """Indent an expression by one level."""
    return "\n".join(f"  {line}" for line in text.split("\n"))
