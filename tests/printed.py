"""Sizes and shares as lvs prints them at any --units, and how exact they are."""

from __future__ import annotations

import re
from fractions import Fraction

UNITS = "bBsSkKmMgGtTpPeEhHrR"
POWERS = {letter: power for power, letter in enumerate("bkmgtpe")}
SECTOR_BYTES = 512
DIGITS = 2
SIZE = re.compile(r"(<?)([0-9]+)(?:[.,]([0-9]+))?([a-zA-Z]?)")


class Printed:
    """A printed figure in bytes (or percent), and how far the true one may be from it."""

    def __init__(self, value: Fraction, bound: Fraction) -> None:
        self.value, self.bound = value, bound

    def allows(self, exact: Fraction | float) -> bool:
        """Whether this figure may have been printed for the exact one."""
        return abs(Fraction(exact) - self.value) <= self.bound


def factor(unit: str) -> int:
    """Tell the bytes of one unit: small letters count in 1024, large ones in 1000.

    Source: lvm2 lib/commands/toolcontext.c, lib/display/display.c, _display_size.
    """
    if unit in "sS":
        return SECTOR_BYTES
    base = 1024 if unit.islower() else 1000
    return int(base ** POWERS[unit.lower()])


def read_size(text: str, unit: str) -> Printed:
    """Read a size that lvs has printed with `--units UNIT`, with a suffix or without.

    Half of the last digit is what rounding costs; `<` says that it went up.
    """
    match = SIZE.fullmatch(text)
    assert match, text
    _, whole, decimals, suffix = match.groups()
    one = Fraction(factor(suffix or unit))
    value = Fraction(f"{whole}.{decimals or 0}") * one
    return Printed(value, one / 10 ** len(decimals) / 2 if decimals else Fraction(0))


def print_size(size_bytes: int, unit: str, *, has_suffix: bool = True, comma: str = ".") -> str:
    """Print a size as lvs does; h and r choose the unit, r marks what was rounded up."""
    is_rounded_marked = unit in "rR"
    if unit in "hHrR":
        letters = [letter if unit.islower() else letter.upper() for letter in POWERS]
        fitting = [letter for letter in letters if size_bytes >= factor(letter)]
        unit = fitting[-1] if fitting else letters[0]
    suffix = unit if has_suffix else ""
    if unit in "bBsS":
        return f"{size_bytes // factor(unit)}{suffix if unit not in 'bBsS' else suffix.upper()}"
    shown = f"{size_bytes / factor(unit):.{DIGITS}f}"
    mark = "<" * (is_rounded_marked and Fraction(shown) * factor(unit) > size_bytes)
    return f"{mark}{shown.replace('.', comma)}{suffix}"


DOCKER_SIZE = re.compile(r"([0-9.]+) ?([A-Za-z]+)")
DOCKER_DIGITS = 4


def read_docker_size(text: str) -> Printed:
    """Read a size that `docker info` has printed.

    Four digits since 1.3 (go-units HumanSize, %.4g), of which trailing zeros are left out;
    before, a tenth of a MiB (%.1f Mb), and the size of a chunk in whole KiB.
    """
    match = DOCKER_SIZE.fullmatch(text)
    assert match, text
    number, unit = match.groups()
    is_binary = unit.endswith("b") and len(unit) == len("Mb")
    one = Fraction((1024 if is_binary else 1000) ** POWERS[unit[0].lower()])
    value = Fraction(number) * one
    if is_binary:
        return Printed(value, one / 20 if "." in number else Fraction(0))
    if not value or one == 1:
        return Printed(value, Fraction(0))
    last = Fraction(10) ** (len(number.partition(".")[0]) - DOCKER_DIGITS)
    return Printed(value, one * last / 2)


def cut_columns(text: str) -> list[dict[str, str]]:
    """Cut columns for people into rows by heading: what stands under a heading is its value."""
    head, *lines = text.splitlines()
    places = {title: (head.index(title), len(title)) for title in head.split()}
    return [
        {title: _under(line, start, start + width) for title, (start, width) in places.items()}
        for line in lines
    ]


def _under(line: str, start: int, end: int) -> str:
    while start > 0 and line[start - 1 : start].strip():
        start -= 1
    while line[end : end + 1].strip():
        end += 1
    return line[start:end].strip()
