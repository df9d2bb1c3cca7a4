"""What this host's LVM understands, found by asking it once it has refused a question.

An LVM that understands everything is never asked; of the others distributions have changed
many, so that their versions would not tell.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from exporter.command import Output
from exporter.errors import CommandFailedError, HostError
from exporter.sources.lvm_hints import Doubts
from exporter.sources.lvm_output import HINTS, config_option, unknown_settings
from exporter.sources.lvm_report import is_report, names_in_help

Run = Callable[[Sequence[str]], Output]

REPORTERS = ("lvs", "vgs", "pvs")
# After this long, what LVM understands may have changed.
ASK_AGAIN_SECONDS = 300.0
INVALID_COMMAND_LINE = 3  # tools/errors.h
LVM_FAILED = 5  # tools/errors.h: ECMD_FAILED

JSON = ("--reportformat", "json")
BINARY = ("--binary",)
THIN_POOLS = ("--select", "segtype=thin-pool")


class Dialect(Struct, frozen=True, kw_only=True):
    """What LVM understands.

    `fields`: what the reporters know, by command; empty means all that we ask for.
    `unknown_settings`: what it knows nothing of, of all that it is told by --config.
    `has_binary`: prints flags as 1, 0 and -1.
    """

    fields: Mapping[str, frozenset[str]] = {}
    unknown_settings: frozenset[str] = frozenset()
    has_json: bool = True
    has_binary: bool = True
    has_selection: bool = True

    @property
    def is_full(self) -> bool:
        """Whether everything can be asked for, as of 2.02.179 and later."""
        return self == FULL

    @property
    def has_hints(self) -> bool:
        """Whether it goes by hints, unless told not to (since 2.03.03)."""
        return HINTS not in self.unknown_settings

    def config(self, *, is_hinted: bool = True) -> tuple[str, ...]:
        """Give the option that pins the form of what it prints."""
        return config_option(self.unknown_settings, is_hinted=is_hinted)

    def knows(self, command: str, field: str) -> bool:
        """Whether a reporter has this field."""
        return command not in self.fields or field in self.fields[command]


FULL = Dialect()


class Dialects:
    """The dialect in force; a refusal has LVM asked again, though not each time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self.current = FULL
        self.doubts = Doubts(clock)

    def has_hints(self) -> bool:
        """Whether LVM goes by hints, so far as is known now."""
        return self.current.has_hints

    def forget(self) -> None:
        """Take for granted again that LVM understands everything: it has been exchanged."""
        with self._lock:
            self._asked_at = float("-inf")
            self.current = FULL

    def note(self, output: Output) -> None:
        """Ask no more for what an answer warns of."""
        with self._lock:
            known = self.current.unknown_settings
            if found := unknown_settings(output.stderr) - known:
                self.current = structs.replace(self.current, unknown_settings=known | found)

    def revise(
        self, run: Run, lvm: str, refused: Dialect, wanted: Mapping[str, Sequence[str]]
    ) -> bool:
        """Find out after a refusal what LVM understands; true where that is something else.

        `wanted` are the fields that are asked for, by command.
        """
        with self._lock:
            if self.current != refused:
                return True  # another thread has found out meanwhile
            if self._clock() < self._asked_at + ASK_AGAIN_SECONDS:
                return False
            self._asked_at = self._clock()
            try:
                self.current = ask(run, lvm, wanted)
            except HostError:
                return False
            return self.current != refused


def is_refusal(error: CommandFailedError) -> bool:
    """Whether LVM may not have understood: an unknown option, or an unknown field."""
    if error.status == INVALID_COMMAND_LINE:
        return True
    return error.status == LVM_FAILED and not is_report(error.stdout)


def argv_help(lvm: str, command: str, unknown: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Ask a reporter for its fields; it looks at no device for that."""
    return (lvm, command, *config_option(unknown), "-o", "help")


def argv_trial(lvm: str, options: Sequence[str]) -> tuple[str, ...]:
    """Try options on a command that then only tells its version."""
    return (lvm, "lvs", *options, "--version")


def ask(run: Run, lvm: str, wanted: Mapping[str, Sequence[str]]) -> Dialect:
    """Ask LVM for its fields, and try the options. Raises HostError."""
    trial = argv_trial(lvm, config_option(is_hinted=False))
    unknown = unknown_settings(_all_output(run, trial))
    fields = {
        command: names_in_help(_all_output(run, argv_help(lvm, command, unknown)))
        for command in REPORTERS
    }
    if not all(fields.values()):
        raise HostError(f"{lvm} does not list its fields")
    has_all = all(set(wanted[command]) <= fields[command] for command in REPORTERS)
    return Dialect(
        fields={} if has_all else fields,
        unknown_settings=unknown,
        has_json=_takes(run, lvm, JSON),
        has_binary=_takes(run, lvm, BINARY),
        has_selection=_takes(run, lvm, THIN_POOLS),
    )


def _all_output(run: Run, argv: Sequence[str]) -> str:
    """Give both streams: the list goes to the one or the other, and may end with a failure."""
    try:
        output = run(argv)
    except CommandFailedError as error:
        return f"{error.stdout}\n{error.stderr}"
    return f"{output.stdout}\n{output.stderr}"


def _takes(run: Run, lvm: str, options: Sequence[str]) -> bool:
    try:
        run(argv_trial(lvm, options))
    except CommandFailedError as error:
        if error.status != INVALID_COMMAND_LINE:
            raise
        return False
    return True
