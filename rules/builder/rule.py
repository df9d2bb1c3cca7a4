"""Rules as data, and how they are written as YAML."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rules.builder.settings import Settings

Severity = Literal["critical", "warning", "none"]
# What an alert is about, and so the labels that it has.
Scope = Literal["fleet", "host", "vg", "pool"]
NAMED_BY: Mapping[Scope, tuple[str, ...]] = {
    "fleet": (),
    "host": (),
    "vg": ("vg",),
    "pool": ("vg", "pool"),
}
# All labels beside those of the target that an alert of a pool, a VG or a host may have.
ALERT_LABELS = "alertname, alertstate, severity, vg, pool, device, what"
# A plain scalar of YAML: no indicator at its start, and nothing that begins a comment or a pair.
PLAIN = re.compile(r"[A-Za-z0-9(](?!.*(?:: | #|:$)).*")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A recorded series."""

    name: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""
    pint: str = ""  # a linter's exception


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert. `description` has a sentence in each item; `first` is a command to type."""

    name: str
    severity: Severity
    scope: Scope
    expr: str
    summary: str
    description: Sequence[str]
    for_: str = ""
    keep: str = ""
    first: str = ""
    comment: str = ""

    def annotations(self, settings: Settings) -> dict[str, object]:
        """Write what a page shows."""
        first = [f"First: {self.first}"] if self.first else []
        if "$labels.vg" in self.first:
            # Prometheus leaves out the label of a pool that is not LVM's.
            other = "{{ else }}First: thinpool-exporter check{{ end }}"
            first = [f"{{{{ if $labels.vg }}}}{first[0]}{other}"]
        found: dict[str, object] = {
            "summary": self.summary,
            "description": [*self.description, *first],
            "runbook_url": settings.runbooks.format(self.name),
        }
        names = NAMED_BY[self.scope]
        if self.scope != "fleet":
            place = f"{settings.host_scheme}://{{{{ $labels.instance }}}}/runbooks/{self.name}"
            found["host_page"] = place + _query({name: name for name in names})
        variables = {f"var-{name}": name for name in names}
        if self.scope != "fleet":
            variables = {"var-instance": "instance", **variables}
        if settings.cluster:
            variables = {"var-cluster": settings.cluster, **variables}
        board = "thinpool-fleet" if self.scope == "fleet" else "thinpool-host"
        query = _query({"var-job": "job", **variables})
        found["dashboard"] = f"{settings.grafana}/d/{board}{query}"
        return found


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rules that are evaluated one after the other."""

    name: str
    rules: Sequence[Record | Alert]
    interval: str = ""
    comment: str = ""


def _query(labels: Mapping[str, str]) -> str:
    pairs = (f"{name}={{{{ $labels.{label} | urlquery }}}}" for name, label in labels.items())
    joined = "&".join(pairs)
    return f"?{joined}" if joined else ""


def write(heading: str, groups: Sequence[Group], settings: Settings) -> str:
    """Write a rule file."""
    lines = [*_comment(heading, ""), "groups:"]
    for number, group in enumerate(groups):
        lines += [""] * bool(number) + _comment(group.comment, "  ")
        lines.append(f"  - name: {group.name}")
        if group.interval:
            lines.append(f"    interval: {group.interval}")
        lines.append("    rules:")
        for place, rule in enumerate(group.rules):
            is_apart = isinstance(rule, Alert) or rule.comment
            lines += [""] * bool(place and is_apart) + _comment(rule.comment, "      ")
            lines += _record(rule) if isinstance(rule, Record) else _alert(rule, settings)
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str) -> list[str]:
    if not text:
        return []
    lines: list[str] = []
    for paragraph in textwrap.dedent(text).strip().split("\n\n"):
        if lines:
            lines.append(f"{indent}#")
        if paragraph.startswith("  "):  # a command, as it is typed
            lines += [f"{indent}#{line}" for line in paragraph.split("\n")]
            continue
        words = " ".join(paragraph.split())
        lines += [f"{indent}# {line}" for line in textwrap.wrap(words, 98 - len(indent) - 2)]
    return lines


def _record(rule: Record) -> list[str]:
    lines = [f"      - record: {rule.name}"]
    if rule.labels:
        inside = ", ".join(f"{name}: {value}" for name, value in rule.labels.items())
        lines.append(f"        labels: {{{inside}}}")
    if rule.pint:
        lines.append(f"        # pint {rule.pint}")
    return lines + _expr(rule.expr)


def _alert(rule: Alert, settings: Settings) -> list[str]:
    lines = [f"      - alert: {rule.name}", *_expr(rule.expr)]
    if rule.for_:
        lines.append(f"        for: {rule.for_}")
    if rule.keep:
        lines.append(f"        keep_firing_for: {rule.keep}")
    lines.append(f"        labels: {{severity: {rule.severity}}}")
    lines.append("        annotations:")
    for name, value in rule.annotations(settings).items():
        if isinstance(value, list):
            lines.append(f"          {name}: >-")
            lines += [f"            {sentence}" for sentence in value]
        else:
            lines.append(f"          {name}: {_scalar(str(value))}")
    return lines


def _scalar(text: str) -> str:
    return text if PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _expr(expr: str) -> list[str]:
    lines = textwrap.dedent(expr).strip().split("\n")
    if len(lines) == 1:
        return [f"        expr: {_scalar(lines[0])}"]
    return ["        expr: |", *(f"          {line}".rstrip() for line in lines)]
