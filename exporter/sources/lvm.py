"""VGs, PVs and thin pools as LVM describes them: lvs, vgs and pvs in JSON.

One row per field makes both the command line and the reader, so they cannot disagree.
Nothing is taken from a column's position, and nothing here starts dmeventd.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec import structs

from exporter.command import Output
from exporter.errors import (
    CommandFailedError,
    CommandStuckError,
    HostError,
    ParseError,
    quote,
)
from exporter.model import Dmeventd, LvmLayout, Problem
from exporter.sources import system_id
from exporter.sources.lvm_layout import Row, make_layout
from exporter.units import parse_count, quoted

Run = Callable[[Sequence[str]], Output]

UNLOCKED = "--nolocking"
LVM_FAILED = 5  # tools/errors.h: ECMD_FAILED; part of the report may still be good
MAX_PROBLEMS = 100  # of one report: more say nothing more
# lvm(8), "Valid names". These become arguments of commands: none begins with a hyphen.
NAME = re.compile(r"[\w+.][\w+.-]{0,127}", re.ASCII)
PERCENT = re.compile(r"(?:100|[0-9]{1,2})(?:\.[0-9]{1,6})?")


def _text(value: str) -> str | None:
    return value or None


def _name(value: str) -> str:
    """Take off the brackets that `lvs -a` puts around hidden LVs; "" where there is none."""
    name = value.removeprefix("[").removesuffix("]")
    if name and not NAME.fullmatch(name):
        raise ValueError(f"{quoted(value)} is no name")
    return name


def _percent(value: str) -> float | None:
    if value and not PERCENT.fullmatch(value):
        raise ValueError(f"{quoted(value)} is no percentage")
    return float(value) if value else None


def _flag(value: str) -> bool | None:
    """Read a --binary field: 1, 0, or -1 for unknown; blank where it does not apply."""
    return {"1": True, "0": False, "-1": None, "": None}[value]


def _count(value: str) -> int:
    return parse_count(value) if value else 0


def _positive(value: str) -> int:
    if not (count := parse_count(value)):
        raise ValueError("0 extends nothing")
    return count


def _words(value: str) -> frozenset[str]:
    return frozenset(value.split(","))


# field: how to read it
LV_FIELDS: dict[str, Callable[[str], object]] = {
    "vg_name": _name,
    "vg_uuid": str,
    "lv_name": _name,
    "lv_uuid": str,
    "lv_role": _words,
    "lv_size": parse_count,
    "lv_metadata_size": _count,
    "lv_profile": _text,
    "lv_permissions": _text,
    "lv_active_locally": _flag,
    "lv_suspended": _flag,
    "lv_allocation_locked": _flag,
    "lv_converting": _flag,
    "lv_check_needed": _flag,
    "lv_health_status": _text,
    "lv_when_full": _text,
    "data_percent": _percent,
    "metadata_percent": _percent,
    "pool_lv": _name,
    "data_lv": _name,
    "metadata_lv": _name,
    "segtype": str,
    "seg_start_pe": parse_count,
    "stripes": _count,
    "stripe_size": _count,
    "data_copies": _count,
    "chunk_size": _count,
    "discards": _text,
}
VG_FIELDS: dict[str, Callable[[str], object]] = {
    "vg_name": _name,
    "vg_uuid": str,
    "vg_size": parse_count,
    "vg_free": parse_count,
    "vg_extent_size": _positive,
    "vg_seqno": parse_count,
    "vg_profile": _text,
    "vg_permissions": _text,
    "vg_exported": _flag,
    "vg_partial": _flag,
    "vg_shared": _flag,
    "vg_clustered": _flag,
    "vg_systemid": _text,
}
PV_FIELDS: dict[str, Callable[[str], object]] = {
    "pv_name": str,
    "vg_name": _name,
    "pv_allocatable": _flag,
    "pv_missing": _flag,
    "pv_pe_count": parse_count,
    "pv_pe_alloc_count": parse_count,
}
MONITOR_FIELDS: dict[str, Callable[[str], object]] = {
    "vg_name": _name,
    "lv_name": _name,
    "seg_monitor": str,
}

# LVM notes in /run/lvm/hints which devices to look at next time. Where these notes lack a disk
# that a VG was just given (2.03.16, after vgextend beside readings of ours), the VG is partial
# for every command that goes by them: ours go by none, and make none. (Bare, without quotes,
# since 2.02.113.)
NO_HINTS = "devices/hints=none"
WITHOUT_HINTS = ("--config", NO_HINTS)
REPORT_OPTIONS = ("--reportformat", "json", "--units", "b", "--nosuffix", "--binary")


def argv_report(
    lvm: str, command: str, fields: Iterable[str], *options: str
) -> tuple[str, ...]:
    """Ask one of LVM's reporters for these fields as JSON."""
    return (lvm, command, *WITHOUT_HINTS, *REPORT_OPTIONS, *options, "-o", ",".join(fields))


def argv_lvs(lvm: str, vg_names: Iterable[str] = ()) -> tuple[str, ...]:
    """Ask for every LV, hidden ones too, of these VGs (of all when none is named)."""
    return (*argv_report(lvm, "lvs", LV_FIELDS, "-a"), *vg_names)


def argv_vgs(lvm: str, vg_names: Iterable[str] = ()) -> tuple[str, ...]:
    """Ask for these VGs."""
    return (*argv_report(lvm, "vgs", VG_FIELDS), *vg_names)


def argv_pvs(lvm: str, *options: str) -> tuple[str, ...]:
    """Ask for every PV (pvs takes no VG name)."""
    return argv_report(lvm, "pvs", PV_FIELDS, *options)


def argv_monitoring(lvm: str) -> tuple[str, ...]:
    """Ask whether dmeventd monitors the pools: only while it lives, or this starts it.

    Without LVM's lock: a dmeventd that does not answer would make this command hold
    the VG's lock, and keep lvextend waiting for it.
    """
    options = (UNLOCKED, "--select", "segtype=thin-pool")
    return argv_report(lvm, "lvs", MONITOR_FIELDS, *options)


class _Section(msgspec.Struct):
    """One section of a report; which list it has depends on the command."""

    lv: list[dict[str, str]] = []
    seg: list[dict[str, str]] = []
    vg: list[dict[str, str]] = []
    pv: list[dict[str, str]] = []


class _Report(msgspec.Struct):
    """What LVM prints; later versions add a `log` beside it."""

    report: list[_Section]


def parse_report(
    text: str, fields: Mapping[str, Callable[[str], object]], *, source: str
) -> tuple[list[Row], list[Problem]]:
    """Read a JSON report into rows by field name.

    Shape: `{"report": [{"lv"|"seg"|"vg"|"pv": [{field: text, …}, …]}]}`.
    A row that cannot be read becomes a Problem; a report that is none raises ParseError.
    Source: lvmreport(7), "json".
    """
    try:
        report = msgspec.json.decode(text, type=_Report, strict=True)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ParseError(source, text, quote(str(error))) from error
    rows: list[Row] = []
    problems: list[Problem] = []
    for section in report.report:
        for row in (*section.lv, *section.seg, *section.vg, *section.pv):
            try:
                rows.append({name: convert(row[name]) for name, convert in fields.items()})
            except (KeyError, ValueError) as error:
                if len(problems) < MAX_PROBLEMS:
                    problems.append(_problem(source, row, error))
    return rows, problems


def _problem(source: str, row: Mapping[str, str], error: Exception) -> Problem:
    label = quote(f"{row.get('vg_name', '')}/{row.get('lv_name', '')}")
    message = f"not understood: {quote(str(error))}"
    return Problem(subject=f"{source} {label}", message=message)


def read_layout(run: Run, lvm: str, vg_names: Iterable[str] = ()) -> LvmLayout:
    """Read VGs, PVs and thin pools, of these VGs alone if any is named. Raises HostError."""
    problems: list[Problem] = []

    def report(argv: Sequence[str], fields: Mapping[str, Callable[[str], object]]) -> list[Row]:
        text = _run_partial(run, argv, problems)
        rows, unreadable = parse_report(text, fields, source=argv[1])
        problems.extend(unreadable)
        return rows

    names = tuple(vg_names)
    lvs = report(argv_lvs(lvm, names), LV_FIELDS)
    vgs = report(argv_vgs(lvm, names), VG_FIELDS)
    # Of one VG alone is asked so that no other one's lock is waited for.
    pvs = report(argv_pvs(lvm, *((UNLOCKED,) if names else ())), PV_FIELDS)
    layout = make_layout(lvs, vgs, pvs, problems)
    if not any(group.system_id for group in layout.volume_groups):
        return layout
    return _with_foreign_marked(run, lvm, layout)


def _with_foreign_marked(run: Run, lvm: str, layout: LvmLayout) -> LvmLayout:
    """Mark the VGs of other hosts; where LVM does not tell, it will refuse by itself."""
    try:
        own = system_id.read(run, lvm)
    except HostError as error:
        problem = Problem(subject="systemid", message=str(error))
        return structs.replace(layout, problems=(*layout.problems, problem))
    groups = tuple(
        structs.replace(group, is_foreign=bool(group.system_id) and group.system_id not in own)
        for group in layout.volume_groups
    )
    return structs.replace(layout, volume_groups=groups)


def _run_partial(run: Run, argv: Sequence[str], problems: list[Problem]) -> str:
    """Run a reporter; one bad VG makes it exit with 5, but the others are in its report.

    One that does not end waits for the lock of a VG, as a rule: then it is run without
    locks, since what lies in one VG must not hide all the others.
    """
    try:
        return run(argv).stdout
    except CommandStuckError as error:
        if UNLOCKED in argv:
            raise
        text = _run_partial(run, (*argv[:2], UNLOCKED, *argv[2:]), problems)
        problems.append(Problem(subject=argv[1], message=str(error)))
        return text
    except CommandFailedError as error:
        if error.status != LVM_FAILED or not error.stdout.strip():
            raise
        problems.append(Problem(subject=argv[1], message=str(error)))
        return error.stdout


def read_monitoring(
    run: Run, lvm: str, dmeventd: Dmeventd
) -> tuple[dict[str, str], list[Problem]]:
    """Read seg_monitor by `vg/pool`, if dmeventd may be asked; a failure is a Problem."""
    if not dmeventd.is_answering:
        return {}, []
    argv = argv_monitoring(lvm)
    try:
        rows, problems = parse_report(run(argv).stdout, MONITOR_FIELDS, source="seg_monitor")
    except HostError as error:
        return {}, [Problem(subject="seg_monitor", message=str(error))]
    return {f"{row['vg_name']}/{row['lv_name']}": row["seg_monitor"] for row in rows}, problems
