"""Foreign text made safe to show, and words made safe to type. Pure.

The report is plain ASCII without pipes: it is read over serial lines and pagers, and
after a pipe a monitoring system expects figures.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from exporter.autoextend import PERCENT_1, PERCENT_100, usage_percent
from exporter.errors import quote
from exporter.model import Usage
from exporter.units import format_bytes, format_duration

PIPE = "|"
BYTE_SIGNS, SHORT_SIGNS = 0x100, 0x10000
HUNDREDTH_PERCENT = PERCENT_1 // 100
SIZE_UNITS = ((1024**2, "m"), (1024, "k"), (1, "b"))


def is_plain(text: str) -> bool:
    """Whether all of a text can be shown as it is."""
    return text.isascii() and text.isprintable() and PIPE not in text


def shown(text: str) -> str:
    """Show foreign text on one line, with everything unusual escaped."""
    if is_plain(text):
        return text
    return "".join(
        sign if is_plain(sign) else _escaped(sign) for sign in text.replace("…", "...")
    )


def _escaped(sign: str) -> str:
    number = ord(sign)
    if number < BYTE_SIGNS:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < SHORT_SIGNS else f"\\U{number:08x}"


def command(*words: str) -> str:
    """Write a command that can be pasted into a shell."""
    return " ".join(quoted(word) for word in words)


def quoted(word: str) -> str:
    """Quote one word for a shell; what cannot be shown becomes bash's $'...'."""
    if is_plain(word):
        return shlex.quote(word)
    signs = (chr(byte) for byte in _raw(word))
    return "$'" + "".join(_ansi_c(sign) for sign in signs) + "'"


def _raw(word: str) -> bytes:
    """Give back the bytes that a program printed."""
    try:
        return word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return word.encode("utf-8", "surrogatepass")


def _ansi_c(sign: str) -> str:
    return sign if is_plain(sign) and sign not in "'\\" else f"\\x{ord(sign):02x}"


def operand(name: str) -> tuple[str, ...]:
    """Keep a name from being taken for an option; LVM forbids such names, others do not."""
    return ("--", name) if name.startswith("-") else (name,)


def percent(usage: Usage) -> str:
    """Write usage with two decimals, never 0.00 or 100.00 unless exactly so."""
    exact = usage_percent(usage.used_blocks, usage.total_blocks)
    rounded = round(exact / HUNDREDTH_PERCENT)
    if 0 < exact < PERCENT_100:
        rounded = min(max(rounded, 1), 9999)
    return f"{rounded / 100:.2f} %"


def whole_percent(usage: Usage) -> int:
    """Round usage down, so that only what is full is called full."""
    return usage_percent(usage.used_blocks, usage.total_blocks) // PERCENT_1


def short_bytes(size_bytes: int) -> str:
    """Write a size without empty decimals: `4 MiB`."""
    return format_bytes(size_bytes).replace(".00 ", " ")


def size_argument(size_bytes: int) -> str:
    """Write a size exactly, as LVM's commands take it (its units are powers of 1024)."""
    unit, letter = next((unit, letter) for unit, letter in SIZE_UNITS if size_bytes % unit == 0)
    return f"{size_bytes // unit}{letter}"


def no_look_words(seconds: float) -> str:
    """Say for how long the guard has completed no cycle."""
    return f"has looked at no pool for {format_duration(int(seconds))}"


def error_words(error: Exception | None) -> str:
    """Name what kept something from being shown."""
    return f"could not be rendered: {shown(quote(f'{type(error).__name__}: {error}'))}"


def listed(parts: Iterable[str]) -> str:
    """Join the parts that are not empty."""
    return "; ".join(part for part in parts if part)
