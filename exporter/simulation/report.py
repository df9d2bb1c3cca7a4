"""lvs, vgs and pvs: fields and a selection in, LVM's JSON report out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from exporter.simulation.arguments import Arguments, LvmError, parse
from exporter.simulation.fields import (
    LV_FIELDS,
    PV_FIELDS,
    SEGMENT_FIELDS,
    VG_FIELDS,
    Field,
    RowT,
)
from exporter.simulation.rows import LvRow, PvRow, VgRow, lv_rows
from exporter.simulation.state import HostState

OPTIONS = {
    "--all": False,
    "--binary": False,
    "--nosuffix": False,
    "--noheadings": False,
    "--options": True,
    "--reportformat": True,
    "--select": True,
    "--units": True,
}
CONDITION = re.compile(r"\s*(\w+)\s*(!?=)\s*(.*?)\s*")


RowT_co = TypeVar("RowT_co", covariant=True)


class RowSource(Protocol[RowT_co]):
    """Finds the rows of a report."""

    def __call__(
        self, state: HostState, arguments: Arguments, *, is_by_segment: bool
    ) -> Sequence[RowT_co]:
        """Every row that the arguments name."""


@dataclass(frozen=True, kw_only=True)
class Reporter(Generic[RowT]):
    """One of the three commands: the report's key, its fields and its rows."""

    key: str
    fields: Mapping[str, Field[RowT]]
    rows: RowSource[RowT]


@dataclass(frozen=True, kw_only=True)
class Condition(Generic[RowT]):
    """One comparison of a selection."""

    field: Field[RowT]
    is_equal: bool
    value: str

    def holds(self, row: RowT) -> bool:
        """Whether the row is selected; a binary field goes by its number or its word."""
        texts = {self.field.text(row, is_numeric=flag) for flag in (False, True)}
        return (self.value in texts) == self.is_equal


def report(state: HostState, command: str, words: Sequence[str]) -> tuple[str, list[str]]:
    """Run a reporter: its report, and messages on names that it did not find.

    Raises LvmError with LVM's own text where there is no report at all.
    """
    arguments = parse(command, words, OPTIONS)
    if arguments.options.get("--reportformat") != "json":
        raise LvmError("  The simulated host reports as JSON only.")
    if command == "pvs":
        return _report(state, _PVS, arguments), _unknown_pvs(state, arguments)
    unknown = _unknown_names(state, arguments)
    if command == "lvs":
        return _report(state, _LVS, arguments), unknown
    return _report(state, _VGS, arguments), unknown


def _report(state: HostState, reporter: Reporter[RowT], arguments: Arguments) -> str:
    fields = _fields(reporter, arguments)
    conditions = _conditions(reporter, arguments)
    used = [*fields, *(condition.field for condition in conditions)]
    is_by_segment = any(field.name in SEGMENT_FIELDS for field in used)
    is_numeric = "--binary" in arguments.options
    lines = []
    for row in reporter.rows(state, arguments, is_by_segment=is_by_segment):
        if all(condition.holds(row) for condition in conditions):
            cells = (f'"{f.name}":"{f.text(row, is_numeric=is_numeric)}"' for f in fields)
            lines.append("{" + ", ".join(cells) + "}")
    return _document(reporter.key, lines)


def _document(key: str, lines: Sequence[str]) -> str:
    """Lay out a report with LVM's own indents: a row a line."""
    indent = " " * 18
    rows = f",\n{indent}".join(lines)
    return (
        '  {\n      "report": [\n          {\n'
        f'              "{key}": [\n'
        f"{indent + rows + chr(10) if lines else ''}"
        "              ]\n          }\n      ]\n  }\n"
    )


def _fields(reporter: Reporter[RowT], arguments: Arguments) -> list[Field[RowT]]:
    names = arguments.options.get("--options", "").lstrip("+").split(",")
    return [_field(reporter, name) for name in names if name]


def _field(reporter: Reporter[RowT], name: str) -> Field[RowT]:
    """Find a field. Raises LvmError, which lists every field as LVM does."""
    try:
        return reporter.fields[name]
    except KeyError:
        known = (f"    {field:<26} -" for field in reporter.fields)
        raise LvmError(*known, "   ", f"  Unrecognised field: {name}") from None


def _conditions(reporter: Reporter[RowT], arguments: Arguments) -> list[Condition[RowT]]:
    text = arguments.options.get("--select", "")
    return [_condition(reporter, part) for part in re.split(r"&&|,", text) if part]


def _condition(reporter: Reporter[RowT], text: str) -> Condition[RowT]:
    found = CONDITION.fullmatch(text)
    if found is None or found[1] not in reporter.fields:
        message = f"  Selection syntax error at '{text}'."
        raise LvmError(message, "  Use 'help' for selection to get more help.")
    name, operator, value = found.groups()
    return Condition(
        field=reporter.fields[name], is_equal=operator == "=", value=value.strip("'\"")
    )


def _lv_rows(state: HostState, arguments: Arguments, *, is_by_segment: bool) -> list[LvRow]:
    names = set(arguments.names)
    is_all = "--all" in arguments.options
    return [
        row
        for row in lv_rows(state, is_all=is_all, is_by_segment=is_by_segment)
        if not names or {row.vg.name, f"{row.vg.name}/{row.lv.name}"} & names
    ]


def _vg_rows(state: HostState, arguments: Arguments, *, is_by_segment: bool) -> list[VgRow]:
    del is_by_segment
    names = set(arguments.names)
    vgs = sorted(state.vgs.items())
    return [VgRow(vg=vg) for name, vg in vgs if not names or name in names]


def _pv_rows(state: HostState, arguments: Arguments, *, is_by_segment: bool) -> list[PvRow]:
    del is_by_segment
    names = arguments.names
    pvs = [PvRow(vg=vg, pv=pv) for vg in state.vgs.values() for pv in vg.pvs]
    return [row for row in pvs if not names or row.pv.name in names]


def _unknown_pvs(state: HostState, arguments: Arguments) -> list[str]:
    known = {pv.name for vg in state.vgs.values() for pv in vg.pvs}
    unknown = [name for name in arguments.names if name not in known]
    return [f'  Failed to find physical volume "{name}".' for name in unknown]


def _unknown_names(state: HostState, arguments: Arguments) -> list[str]:
    lines = []
    for name in arguments.names:
        vg_name, _, lv_name = name.partition("/")
        vg = state.vgs.get(vg_name)
        if vg is None:
            lines.append(f'  Volume group "{vg_name}" not found')
            lines.append(f"  Cannot process volume group {vg_name}")
        elif lv_name and lv_name not in vg.lvs:
            lines.append(f'  Failed to find logical volume "{name}"')
    return lines


_LVS = Reporter(key="lv", fields=LV_FIELDS, rows=_lv_rows)
_VGS = Reporter(key="vg", fields=VG_FIELDS, rows=_vg_rows)
_PVS = Reporter(key="pv", fields=PV_FIELDS, rows=_pv_rows)
