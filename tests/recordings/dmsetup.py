"""What dmsetup prints of a host: an account of its devices besides that of our own ioctl."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from exporter.devmapper import TARGET_KINDS, DmDevice

PROGRAM = "/sbin/dmsetup"
SEPARATOR = "|"
COLUMNS = ("info", "-c", "--noheadings", "--separator", SEPARATOR)
FIELDS = "name,uuid,major,minor,suspended,events"
# By the names of their recordings.
COMMANDS = {
    "dmsetup_info": (PROGRAM, *COLUMNS, "-o", FIELDS, "--manglename", "none"),
    "dmsetup_table": (PROGRAM, "table", "--manglename", "none"),
    "dmsetup_status": (PROGRAM, "status", "--noflush", "--manglename", "none"),
}


class Line(NamedTuple):
    """One target's line of `table` or `status`; its parameters end as the kernel ends them."""

    length_sectors: int
    kind: str
    parameters: str


def lines_by_name(text: str) -> dict[str, Line]:
    """Read `NAME: START LENGTH KIND PARAMETERS…`. Source: dmsetup(8)."""
    found = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(": ")
        if colon:
            _, length, kind, parameters = rest.split(" ", 3)
            found[name] = Line(int(length), kind, parameters)
    return found


def devices(info: str, table: str, status: str) -> Iterator[DmDevice]:
    """Give the thin pools and thin volumes as IoctlKernel.devices gives them."""
    tables, statuses = lines_by_name(table), lines_by_name(status)
    for line in info.splitlines() if SEPARATOR in info else ():
        name, uuid, major, minor, suspended, events = line.split(SEPARATOR)
        if tables[name].kind in TARGET_KINDS:
            yield DmDevice(
                name=name,
                uuid=uuid,
                number=f"{major}:{minor}",
                is_suspended=suspended == "Suspended",
                event_number=int(events),
                kind=tables[name].kind,
                length_sectors=tables[name].length_sectors,
                table=tables[name].parameters,
                status=statuses[name].parameters,
            )
