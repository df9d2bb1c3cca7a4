"""VGs, PVs and thin pools as LVM describes them: lvs, vgs and pvs.

One row per field makes both the command line and the reader, so they cannot disagree. What
an older LVM does not understand is left out or asked in another way (lvm_dialect.py).
Nothing is taken from a column's position, and nothing here starts dmeventd.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from msgspec import Struct, structs

from exporter.command import Output
from exporter.errors import (
    CommandFailedError,
    CommandStuckError,
    HostError,
    ParseError,
    quote,
)
from exporter.model import Dmeventd, LvmLayout, Problem
from exporter.sources import lvm_attr, system_id
from exporter.sources.lvm_checks import check_lv, whole_sectors
from exporter.sources.lvm_dialect import (
    BINARY,
    FULL,
    JSON,
    LVM_FAILED,
    THIN_POOLS,
    Dialect,
    Dialects,
    is_refusal,
)
from exporter.sources.lvm_layout import make_layout, merge
from exporter.sources.lvm_output import unknown_settings
from exporter.sources.lvm_report import (
    SEPARATOR,
    Check,
    Converters,
    RawRow,
    Row,
    accept,
    convert,
    is_report,
    parse_json,
    parse_named,
)
from exporter.units import parse_count, quoted

Run = Callable[[Sequence[str]], Output]

UNLOCKED = "--nolocking"
MAX_LINES = 20  # of one command
# "PV UUID prefers device DEVICE because …", before 2.02.155 "duplicate PV UUID: using DEVICE
# not …". Source: lvm2 lib/cache/lvmcache.c.
DUPLICATE = re.compile(
    r"PV \S+ prefers device (\S+) because|duplicate PV \S+: using (\S+) not", re.IGNORECASE
)
CHATTER = "Logging initialised"  # where lvm.conf asks for it, until LVM has read --config
# lvm(8), "Valid names". These become arguments of commands: none begins with a hyphen.
NAME = re.compile(r"[\w+.][\w+.-]{0,127}", re.ASCII)
FLAGS = {"1": True, "0": False, "-1": None, "": None}
PERCENT = re.compile(r"100(?:\.0{1,6})?|[0-9]{1,2}(?:\.[0-9]{1,6})?")


def _given(value: str) -> str:
    if not value:
        raise ValueError("it is blank")
    return value


def _text(value: str) -> str | None:
    return value or None


def _name(value: str) -> str:
    """Take off the brackets that `lvs -a` puts around hidden LVs; "" where there is none."""
    name = value.strip("[]")
    if name and not NAME.fullmatch(name):
        raise ValueError(f"{quoted(value)} is no name")
    return name


def _given_name(value: str) -> str:
    return _name(_given(value))


def _percent(value: str) -> float | None:
    if value and not PERCENT.fullmatch(value):
        raise ValueError(f"{quoted(value)} is no percentage")
    return float(value) if value else None


def _flag(value: str) -> bool | None:
    """Read a --binary field: 1, 0, or -1 for unknown; blank where it does not apply."""
    if value not in FLAGS:
        raise ValueError(f"{quoted(value)} is no flag")
    return FLAGS[value]


def _count(value: str) -> int:
    return parse_count(value) if value else 0


def _words(value: str) -> frozenset[str]:
    return frozenset(value.split(","))


# field: how to read it
LV_FIELDS: dict[str, Callable[[str], object]] = {
    "vg_name": _given_name,
    "vg_uuid": _given,
    "lv_name": _given_name,
    "lv_uuid": _given,
    "lv_role": _words,
    "lv_size": parse_count,
    "lv_metadata_size": _count,
    "lv_profile": _text,
    "lv_permissions": _text,
    "lv_active_locally": _flag,
    "lv_suspended": _flag,
    "lv_allocation_locked": _flag,
    "lv_allocation_policy": _text,
    "lv_converting": _flag,
    "lv_check_needed": _flag,
    "lv_health_status": _text,
    "lv_when_full": _text,
    "data_percent": _percent,
    "metadata_percent": _percent,
    "pool_lv": _name,
    "data_lv": _name,
    "metadata_lv": _name,
    "segtype": _given,
    "seg_start_pe": parse_count,
    "stripes": _count,
    "stripe_size": _count,
    "data_copies": _count,
    "chunk_size": _count,
    "discards": _text,
}
VG_FIELDS: dict[str, Callable[[str], object]] = {
    "vg_name": _given_name,
    "vg_uuid": _given,
    "vg_size": parse_count,
    "vg_free": parse_count,
    "vg_extent_size": whole_sectors,
    "vg_seqno": parse_count,
    "vg_profile": _text,
    "vg_allocation_policy": _text,
    "vg_permissions": _text,
    "vg_exported": _flag,
    "vg_partial": _flag,
    "vg_shared": _flag,
    "vg_clustered": _flag,
    "vg_systemid": _text,
}
PV_FIELDS: dict[str, Callable[[str], object]] = {
    "pv_name": _given,
    "vg_name": _name,
    "pv_allocatable": _flag,
    "pv_missing": _flag,
    "pv_pe_count": parse_count,
    "pv_pe_alloc_count": parse_count,
}
MONITOR_FIELDS: dict[str, Callable[[str], object]] = {
    "vg_name": _given_name,
    "lv_name": _given_name,
    "seg_monitor": str,
}

SIZES = ("--units", "b", "--nosuffix")
NAMED = ("--noheadings", "--nameprefixes", "--separator", SEPARATOR)


class Report(Struct, frozen=True, kw_only=True):
    """One of the reporters: its fields, and what stands for those that it lacks.

    `check` raises ValueError for a row whose fields make no sense together.
    """

    command: str
    fields: Converters
    attributes: str
    complete: Callable[[Sequence[RawRow]], Sequence[RawRow]]
    check: Check = accept

    def asked(self, dialect: Dialect) -> list[str]:
        """Name the fields to ask for; without --binary, flags are read from letters too."""
        known = [
            name
            for name, into in self.fields.items()
            if dialect.knows(self.command, name) and (dialect.has_binary or into is not _flag)
        ]
        return known if len(known) == len(self.fields) else [*known, self.attributes]


LVS = Report(
    command="lvs",
    fields=LV_FIELDS,
    attributes=lvm_attr.LV_ATTR,
    complete=lvm_attr.complete_lvs,
    check=check_lv,
)
VGS = Report(
    command="vgs",
    fields=VG_FIELDS,
    attributes=lvm_attr.VG_ATTR,
    complete=lvm_attr.complete_vgs,
)
PVS = Report(
    command="pvs",
    fields=PV_FIELDS,
    attributes=lvm_attr.PV_ATTR,
    complete=lvm_attr.complete_pvs,
)
WANTED = {report.command: tuple(report.fields) for report in (LVS, VGS, PVS)}


def argv_report(
    lvm: str,
    command: str,
    fields: Iterable[str],
    *options: str,
    dialect: Dialect = FULL,
    is_hinted: bool = True,
) -> tuple[str, ...]:
    """Ask one of LVM's reporters for these fields, in a form that no lvm.conf changes."""
    return (
        *(lvm, command),
        *dialect.config(is_hinted=is_hinted),
        *(JSON if dialect.has_json else NAMED),
        *SIZES,
        *(BINARY if dialect.has_binary else ()),
        *options,
        *("-o", ",".join(fields)),
    )


def argv_lvs(
    lvm: str,
    vg_names: Iterable[str] = (),
    *,
    dialect: Dialect = FULL,
    is_hinted: bool = True,
) -> tuple[str, ...]:
    """Ask for every LV, hidden ones too, of these VGs (of all when none is named)."""
    fields = LVS.asked(dialect)
    argv = argv_report(lvm, "lvs", fields, "-a", dialect=dialect, is_hinted=is_hinted)
    return (*argv, *vg_names)


def argv_vgs(
    lvm: str,
    vg_names: Iterable[str] = (),
    *,
    dialect: Dialect = FULL,
    is_hinted: bool = True,
) -> tuple[str, ...]:
    """Ask for these VGs."""
    fields = VGS.asked(dialect)
    return (*argv_report(lvm, "vgs", fields, dialect=dialect, is_hinted=is_hinted), *vg_names)


def argv_pvs(
    lvm: str, *options: str, dialect: Dialect = FULL, is_hinted: bool = True
) -> tuple[str, ...]:
    """Ask for every PV (pvs takes no VG name)."""
    fields = PVS.asked(dialect)
    return argv_report(lvm, "pvs", fields, *options, dialect=dialect, is_hinted=is_hinted)


def argv_monitoring(lvm: str, *, dialect: Dialect = FULL) -> tuple[str, ...]:
    """Ask whether dmeventd monitors the pools: only while it lives, or this starts it.

    Without LVM's lock: a dmeventd that does not answer would make this command hold
    the VG's lock, and keep lvextend waiting for it.
    """
    selection = THIN_POOLS if dialect.has_selection else ()
    return argv_report(lvm, "lvs", MONITOR_FIELDS, UNLOCKED, *selection, dialect=dialect)


def parse_rows(text: str, report: Report, dialect: Dialect) -> tuple[list[Row], list[Problem]]:
    """Read what a reporter has printed in this dialect. Raises ParseError."""
    asked = report.asked(dialect)
    raw, problems = _raw_rows(text, asked, dialect, source=report.command)
    if report.attributes in asked:
        raw = report.complete(raw)
    rows, unreadable = convert(raw, report.fields, source=report.command, check=report.check)
    return rows, [*problems, *unreadable]


def _raw_rows(
    text: str, asked: Sequence[str], dialect: Dialect, *, source: str
) -> tuple[Sequence[RawRow], list[Problem]]:
    if dialect.has_json:
        return parse_json(text, source=source), []
    return parse_named(text, asked, source=source)


def read_layout(
    run: Run, lvm: str, vg_names: Iterable[str] = (), *, dialects: Dialects | None = None
) -> LvmLayout:
    """Read VGs, PVs and thin pools, of these VGs alone if any is named. Raises HostError."""
    known = dialects or Dialects()
    layout = _read(run, lvm, tuple(vg_names), known)
    layout = _with_doubted_read_again(run, lvm, layout, known)
    if not any(group.system_id for group in layout.volume_groups):
        return layout
    return _with_foreign_marked(run, lvm, layout, known.current)


def _with_doubted_read_again(
    run: Run, lvm: str, layout: LvmLayout, dialects: Dialects
) -> LvmLayout:
    """Read partial VGs without LVM's hints: these may be all that makes them so."""
    names = dialects.doubts.doubted(layout.volume_groups)
    if not names or not dialects.has_hints():
        return layout

    try:
        again = _read(run, lvm, names, dialects, is_hinted=False)
    except HostError:
        return layout  # a device that holds up whoever reads it; the hints left it out
    if not dialects.has_hints():
        return layout  # as its answer has just shown
    dialects.doubts.note(again.volume_groups)
    groups = tuple(
        structs.replace(group, has_stale_hints=not group.is_partial)
        for group in again.volume_groups
    )
    again = structs.replace(again, volume_groups=groups, problems=layout.problems)
    return merge(layout, again, keep=lambda name: name not in names)


def _read(
    run: Run, lvm: str, names: Sequence[str], known: Dialects, *, is_hinted: bool = True
) -> LvmLayout:
    problems: list[Problem] = []

    def read(report: Report, argv_of: Callable[[Dialect], Sequence[str]]) -> list[Row]:
        dialect, text = _ask(run, lvm, known, argv_of, problems)
        rows, unreadable = parse_rows(text, report, dialect)
        if unreadable and not rows:
            raise ParseError(report.command, text, unreadable[0].message)
        problems.extend(unreadable)
        return rows

    hinted = {"is_hinted": is_hinted}
    lvs = read(LVS, lambda dialect: argv_lvs(lvm, names, dialect=dialect, **hinted))
    vgs = read(VGS, lambda dialect: argv_vgs(lvm, names, dialect=dialect, **hinted))
    # Of one VG alone is asked so that no other one's lock is waited for.
    unlocked = (UNLOCKED,) if names else ()
    pvs = read(PVS, lambda dialect: argv_pvs(lvm, *unlocked, dialect=dialect, **hinted))
    return _with_duplicates_marked(make_layout(lvs, vgs, pvs, [*dict.fromkeys(problems)]))


def _with_duplicates_marked(layout: LvmLayout) -> LvmLayout:
    """Mark the VGs that LVM refuses to change; no field tells, but its warnings do."""
    said = "\n".join(problem.message for problem in layout.problems)
    devices = {device for pair in DUPLICATE.findall(said) for device in pair if device}
    groups = tuple(
        structs.replace(group, has_duplicate_pvs=True)
        if any(volume.name in devices for volume in group.physical_volumes)
        else group
        for group in layout.volume_groups
    )
    return structs.replace(layout, volume_groups=groups)


def _ask(
    run: Run,
    lvm: str,
    dialects: Dialects,
    argv_of: Callable[[Dialect], Sequence[str]],
    problems: list[Problem],
) -> tuple[Dialect, str]:
    """Run a reporter in LVM's dialect, which its refusal may be the first to show."""
    dialect = dialects.current

    def noting(argv: Sequence[str]) -> Output:
        output = run(argv)
        dialects.note(output)
        problems.extend(_warnings(output))
        return output

    try:
        return dialect, _run_partial(noting, argv_of(dialect), problems)
    except CommandFailedError as error:
        if not (is_refusal(error) and dialects.revise(run, lvm, dialect, WANTED)):
            raise
    dialect = dialects.current
    return dialect, _run_partial(noting, argv_of(dialect), problems)


def _warnings(output: Output) -> Iterator[Problem]:
    """Tell what LVM says beside its report: a duplicate PV shows nowhere else."""
    lines = (line.strip() for line in output.stderr.splitlines())
    said = (line for line in lines if line and not unknown_settings(line))
    if CHATTER in output.stderr:
        said = (line for line in said if "WARNING" in line)
    return (
        Problem(subject="LVM", message=quote(line), is_warning=True)
        for line in islice(said, MAX_LINES)
    )


def _with_foreign_marked(run: Run, lvm: str, layout: LvmLayout, dialect: Dialect) -> LvmLayout:
    """Mark the VGs of other hosts; where LVM does not tell, it will refuse by itself."""
    try:
        own = system_id.read(run, lvm, dialect=dialect)
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
        if error.status != LVM_FAILED or not is_report(error.stdout):
            raise
        problems.append(Problem(subject=argv[1], message=str(error)))
        return error.stdout


def read_monitoring(
    run: Run, lvm: str, dmeventd: Dmeventd, *, dialect: Dialect = FULL
) -> tuple[dict[str, str], list[Problem]]:
    """Read seg_monitor by `vg/pool`, if dmeventd may be asked; a failure is a Problem."""
    if not dmeventd.is_answering or not dialect.knows("lvs", "seg_monitor"):
        return {}, []
    try:
        text = run(argv_monitoring(lvm, dialect=dialect)).stdout
        raw, unclear = _raw_rows(text, tuple(MONITOR_FIELDS), dialect, source="seg_monitor")
        rows, problems = convert(raw, MONITOR_FIELDS, source="seg_monitor")
    except HostError as error:
        return {}, [Problem(subject="seg_monitor", message=str(error))]
    words = {f"{row['vg_name']}/{row['lv_name']}": str(row["seg_monitor"]) for row in rows}
    return words, [*unclear, *problems]
