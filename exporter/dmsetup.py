"""Device-mapper through dmsetup, for hosts where our own ioctl is of no use.

A process for each question instead of microseconds, and no events: a fallback only.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from msgspec import Struct

from exporter.command import Runner
from exporter.devmapper import TARGET_KINDS, DmDevice, DmStatus, Kernel, status_of
from exporter.errors import CommandFailedError, HostError, KernelError, ParseError
from exporter.units import COUNT, parse_count

DEADLINE_SECONDS = 5.0
SEPARATOR = "|"
INFO_FIELDS = ("name", "uuid", "major", "minor", "suspended", "events")
TARGET_WORDS = 3  # START LENGTH KIND


def argv_info(dmsetup: str, *names: str) -> tuple[str, ...]:
    """Ask for names, UUIDs, numbers and states."""
    columns = ("info", "-c", "--noheadings", "--separator", SEPARATOR)
    return (dmsetup, *columns, "-o", ",".join(INFO_FIELDS), "--manglename", "none", *names)


def argv_table(dmsetup: str, *names: str) -> tuple[str, ...]:
    """Ask for tables."""
    return (dmsetup, "table", "--manglename", "none", *names)


def argv_status(dmsetup: str, *names: str) -> tuple[str, ...]:
    """Ask for statuses, without the flush that can block."""
    return (dmsetup, "status", "--noflush", "--manglename", "none", *names)


class _Target(Struct, frozen=True):
    length_sectors: int
    kind: str
    parameters: str


def parse_targets(text: str, *, only_name: str = "") -> dict[str, _Target]:
    """Read `NAME: START LENGTH KIND PARAMETERS…` lines by name.

    With `only_name` the command was asked for that one device, and prints no name.
    Lines without a target (`No devices found`) give nothing. Source: dmsetup(8).
    """
    targets = {}
    for line in text.splitlines():
        name, _, rest = (only_name, "", line) if only_name else line.partition(": ")
        words = rest.split(maxsplit=TARGET_WORDS)
        if len(words) < TARGET_WORDS or not COUNT.fullmatch(words[1]):
            continue
        parameters = words[TARGET_WORDS] if len(words) > TARGET_WORDS else ""
        targets[name] = _Target(int(words[1]), words[2], parameters)
    return targets


class DmsetupKernel:
    """Asks dmsetup; its devices are those of the ioctl."""

    def __init__(self, runner: Runner, dmsetup: str) -> None:
        self._runner = runner
        self._dmsetup = dmsetup
        self._is_woken = threading.Event()

    def names(self) -> Mapping[str, str]:
        """See Kernel.names; here those of thin pools and thin volumes alone."""
        return {device.name: device.number for device in self.devices()}

    def status(self, name: str) -> DmStatus | None:
        """See Kernel.status."""
        device = self.device(name)
        return status_of(device) if device else None

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices."""
        return self._read("")

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        try:
            return next(iter(self._read(name)), None)
        except CommandFailedError:
            return None  # dmsetup fails on a name that is gone

    def arm(self) -> None:
        """Do nothing: there are no events here."""

    def wait(self, timeout_seconds: float) -> bool:
        """Sleep; no event ends it early, but `wake` does."""
        self._is_woken.wait(max(0.0, timeout_seconds))
        self._is_woken.clear()
        return False

    def wake(self) -> None:
        """See Kernel.wake."""
        self._is_woken.set()

    def _read(self, name: str) -> tuple[DmDevice, ...]:
        names = (name,) if name else ()
        tables = parse_targets(self._run(argv_table(self._dmsetup, *names)), only_name=name)
        statuses = parse_targets(self._run(argv_status(self._dmsetup, *names)), only_name=name)
        found = []
        for line in self._run(argv_info(self._dmsetup, *names)).splitlines():
            fields = line.strip().split(SEPARATOR)
            table = tables.get(fields[0])
            if table and table.kind in TARGET_KINDS:
                found.append(_device(fields, table, statuses.get(fields[0])))
        return tuple(found)

    def _run(self, argv: Sequence[str]) -> str:
        return self._runner.run(argv, deadline_seconds=DEADLINE_SECONDS).stdout


def _device(fields: Sequence[str], table: _Target, status: _Target | None) -> DmDevice:
    try:
        name, uuid, major, minor, suspended, events = fields
        return DmDevice(
            name=name,
            uuid=uuid,
            number=f"{parse_count(major)}:{parse_count(minor)}",
            is_suspended=suspended == "Suspended",
            event_number=parse_count(events),
            kind=table.kind,
            length_sectors=table.length_sectors,
            table=table.parameters,
            status=status.parameters if status else None,
        )
    except ValueError as error:
        raise ParseError("dmsetup info", SEPARATOR.join(fields)) from error


class FallbackKernel:
    """The ioctl, and dmsetup from the moment that the ioctl turns out to be of no use.

    Not for a kernel without device-mapper: dmsetup could do nothing there either.
    """

    def __init__(self, ioctl: Kernel, dmsetup: Kernel) -> None:
        self._kernel, self._other = ioctl, dmsetup
        self._has_answered = False

    def names(self) -> Mapping[str, str]:
        """See Kernel.names."""
        return self._kernel.names()

    def status(self, name: str) -> DmStatus | None:
        """See Kernel.status."""
        return self._kernel.status(name)

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices."""
        try:
            devices = self._kernel.devices()
        except KernelError as error:
            if self._has_answered:
                raise
            devices = self._with_other(error)
            self._kernel = self._other
        self._has_answered = True
        return devices

    def _with_other(self, error: KernelError) -> tuple[DmDevice, ...]:
        try:
            return self._other.devices()
        except HostError:
            raise error from None  # what the ioctl met says more than dmsetup's failure

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        return self._kernel.device(name)

    def arm(self) -> None:
        """See Kernel.arm."""
        self._kernel.arm()

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait."""
        return self._kernel.wait(timeout_seconds)

    def wake(self) -> None:
        """See Kernel.wake."""
        self._kernel.wake()
