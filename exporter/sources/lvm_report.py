"""The two forms in which LVM reports, into rows of text by field name.

JSON, since 2.02.158; before that `--nameprefixes`, where each value stands behind its field's
name. Neither takes anything from a column's position.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from exporter.errors import ParseError, quote
from exporter.model import Problem

RawRow = Mapping[str, str]
Row = Mapping[str, object]
Converters = Mapping[str, Callable[[str], object]]
Check = Callable[[Row], None]
Scalar = str | int | float | bool | None

MAX_PROBLEMS = 100  # of one report: more say nothing more
PREFIX = "LVM2_"
SEPARATOR = " "
PAIR = re.compile(rf"(?:^|{SEPARATOR}){PREFIX}([A-Z0-9_]+)='")
# Before 2.03.12 or so LVM escapes quotes and nothing else.
LONE_BACKSLASH = re.compile(r'\\(?!")')


class _Section(msgspec.Struct):
    """One section of a report; which list it has depends on the command."""

    lv: list[dict[str, Scalar | list[Scalar]]] = []
    seg: list[dict[str, Scalar | list[Scalar]]] = []
    vg: list[dict[str, Scalar | list[Scalar]]] = []
    pv: list[dict[str, Scalar | list[Scalar]]] = []


class _Report(msgspec.Struct):
    """What LVM prints; later versions add a `log` beside it."""

    report: list[_Section]


def parse_json(text: str, *, source: str) -> list[RawRow]:
    """Read a JSON report, whatever lines LVM has printed around it.

    Shape: `{"report": [{"lv"|"seg"|"vg"|"pv": [{field: text, …}, …]}]}`; numbers, null and
        arrays, as json_std has them, become the text that json has.
    Raises ParseError. Source: lvmreport(7), "json".
    """
    report = _decode(text, source)
    return [
        {name: _as_text(value) for name, value in row.items()}
        for section in report.report
        for row in (*section.lv, *section.seg, *section.vg, *section.pv)
    ]


def is_report(text: str) -> bool:
    """Whether there is a report at all, if only of nothing.

    For a field that it does not know LVM prints JSON without any section.
    """
    try:
        return bool(_decode(text, "").report)
    except ParseError:
        return PREFIX in text


def _decode(text: str, source: str) -> _Report:
    start = re.search(r"^[ \t]*\{", text, re.MULTILINE)
    document = text[start.start() : text.rfind("}") + 1] if start else text
    try:
        return msgspec.json.decode(document, type=_Report, strict=True)
    except (msgspec.DecodeError, RecursionError) as error:
        first = error
    try:
        mended = LONE_BACKSLASH.sub(r"\\\\", document)
        return msgspec.json.decode(mended, type=_Report, strict=True)
    except (msgspec.DecodeError, RecursionError):
        raise ParseError(source, text, quote(str(first))) from first


def _as_text(value: Scalar | list[Scalar]) -> str:
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    if isinstance(value, bool):
        return str(int(value))
    return "" if value is None else str(value)


def parse_named(
    text: str, asked: Collection[str], *, source: str
) -> tuple[list[RawRow], list[Problem]]:
    """Read a report of `--nameprefixes`, a row a line; other lines are LVM's messages.

    Shape: `  LVM2_VG_NAME='docker' LVM2_LV_SIZE='20396900352' …`.
    LVM quotes without escaping. A value that looks like another field (which no VG or LV
    may be named) makes a field too many: then the row is a Problem, as is one cut short.
    A field that LVM has by two names (2.02.133: `stripesize`, `stripe_size`) may be printed by
    the other one; they differ by underscores alone, which LVM itself does not go by.
    Source: lvm2 libdm/libdm-report.c, _output_field, _is_same_field.
    """
    spelled = {_bare(name): name for name in asked}
    rows: list[RawRow] = []
    problems: list[Problem] = []
    for line in map(str.strip, text.split("\n")):
        if not line.startswith(PREFIX):
            continue
        row = _named_row(line, spelled)
        if row is not None and row.keys() == set(asked):
            rows.append(row)
        elif len(problems) < MAX_PROBLEMS:
            problems.append(Problem(subject=source, message=f"not understood: {quote(line)}"))
    return rows, problems


def _bare(name: str) -> str:
    return name.lower().replace("_", "")


def _named_row(line: str, spelled: Mapping[str, str]) -> RawRow | None:
    """Cut a line where fields begin; None where that leaves anything unclear."""
    marks = list(PAIR.finditer(line))
    if not marks:
        return None
    ends = [*(mark.start() for mark in marks[1:]), len(line)]
    values = [line[mark.end() : end] for mark, end in zip(marks, ends, strict=True)]
    names = (spelled.get(_bare(mark[1]), mark[1]) for mark in marks)
    row = {name: value[:-1] for name, value in zip(names, values, strict=True)}
    is_clear = len(row) == len(marks) and all(value.endswith("'") for value in values)
    return row if is_clear else None


def accept(_: Row) -> None:
    """Find no fault with any row."""


def convert(
    raw: Iterable[RawRow], fields: Converters, *, source: str, check: Check = accept
) -> tuple[list[Row], list[Problem]]:
    """Convert each row's fields; a row that cannot be read or is refused becomes a Problem.

    A field that is not there is blank: LVM leaves out columns when it is told to be compact.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    for row in raw:
        try:
            converted = {name: _converted(row, name, into) for name, into in fields.items()}
            check(converted)
            rows.append(converted)
        except ValueError as error:
            if len(problems) < MAX_PROBLEMS:
                problems.append(_problem(source, row, error))
    return rows, problems


def _converted(row: RawRow, name: str, into: Callable[[str], object]) -> object:
    if name in row:
        return into(row[name])
    try:
        return into("")
    except ValueError:
        raise ValueError(f"no {name}") from None


def _problem(source: str, row: RawRow, error: Exception) -> Problem:
    label = quote(f"{row.get('vg_name', '')}/{row.get('lv_name', '')}")
    message = f"not understood: {quote(str(error))}"
    return Problem(subject=f"{source} {label}", message=message)


def parse_report(
    text: str, fields: Converters, *, source: str
) -> tuple[list[Row], list[Problem]]:
    """Read a JSON report that has all these fields. Raises ParseError."""
    return convert(parse_json(text, source=source), fields, source=source)


def names_in_help(text: str) -> frozenset[str]:
    """Find the fields that `-o help` lists, one a line: `  vg_name   - Name. [string]`.

    Source: lvm2 libdm/libdm-report.c, _display_fields.
    """
    return frozenset(re.findall(r"^[ \t]+(\w+)[ \t]+- ", text, re.MULTILINE))
