"""Command lines of LVM's tools: options by a table, as getopt would take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

INVALID_COMMAND_LINE = 3  # tools/errors.h
FAILED = 5


class LvmError(Exception):
    """An LVM command ends with this status; `lines` are its messages."""

    def __init__(self, *lines: str, status: int = FAILED) -> None:
        super().__init__("\n".join(lines))
        self.status = status
        self.lines = lines


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Options by their long name, and what is left."""

    options: dict[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


# Options of every command that change nothing here. True: a value follows.
COMMON = {
    "--config": True,
    "--yes": False,
    "--quiet": False,
    "--verbose": False,
    "--nolocking": False,
    "--noudevsync": False,
}
SHORT = {
    "-a": "--all",
    "-l": "--extents",
    "-o": "--options",
    "-q": "--quiet",
    "-S": "--select",
    "-v": "--verbose",
    "-y": "--yes",
}


def parse(command: str, words: Sequence[str], known: Mapping[str, bool]) -> Arguments:
    """Split a command line. Raises LvmError, as LVM does, on an option it does not know."""
    options: dict[str, str] = {}
    names: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            names.append(word)
            continue
        name, has_value, value = word.partition("=")
        name = SHORT.get(name, name)
        takes_value = {**COMMON, **known}.get(name)
        if takes_value is None:
            raise _unknown(command, word)
        if takes_value and not has_value:
            value = _following(command, word, left)
        options[name] = value
    return Arguments(options=options, names=tuple(names))


def _following(command: str, word: str, left: list[str]) -> str:
    if not left:
        raise _invalid(f"{command}: option requires an argument -- '{word.lstrip('-')}'")
    return left.pop(0)


def _unknown(command: str, word: str) -> LvmError:
    if word.startswith("--"):
        return _invalid(f"{command}: unrecognized option '{word}'")
    return _invalid(f"{command}: invalid option -- '{word[1:2]}'")


def _invalid(line: str) -> LvmError:
    message = "  Error during parsing of command line."
    return LvmError(line, message, status=INVALID_COMMAND_LINE)
