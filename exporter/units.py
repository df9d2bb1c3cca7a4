"""Durations, sizes and words as people write and read them; numbers inside.

Written forms are those of Prometheus' configuration; counts are those that programs print.
Pure: nothing is read or kept.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal

SECOND_MILLISECONDS = 1000
DAY_MILLISECONDS = 24 * 3600 * SECOND_MILLISECONDS
# Largest first, as they must be written (prometheus/common model/time.go).
UNIT_MILLISECONDS = {
    "y": 365 * DAY_MILLISECONDS,
    "w": 7 * DAY_MILLISECONDS,
    "d": DAY_MILLISECONDS,
    "h": 3600 * SECOND_MILLISECONDS,
    "m": 60 * SECOND_MILLISECONDS,
    "s": SECOND_MILLISECONDS,
    "ms": 1,
}
# The digits are bounded: no number that means anything here has more.
DURATION = re.compile("".join(f"(?:([0-9]{{1,15}}){unit})?" for unit in UNIT_MILLISECONDS))
MAX_DURATION_SECONDS = 100 * 365 * 24 * 3600

SIZE_LETTERS = "KMGTPE"
SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)(?:B|([KMGTPE])i?B)?")
MAX_SIZE_BYTES = 2**63 - 1  # what Prometheus, the kernel and a file can count
COUNT = re.compile(r"[0-9]{1,19}")
MAX_COUNT = MAX_SIZE_BYTES
KIB = 1024
MAX_SHOWN = 60


def parse_count(text: str) -> int:
    """Read a whole number as programs print it: digits and nothing else, below 2^63.

    int() also takes 1_000, +1, digits of every script, and thousands of them, which no
    float holds and no Snapshot file. Raises ValueError.
    """
    if not COUNT.fullmatch(text) or int(text) > MAX_COUNT:
        raise ValueError(f"{quoted(text)} is no count")
    return int(text)


def parse_duration_seconds(text: str) -> float:
    """Read a duration.

    Shape: numbers with the units y w d h m s ms, largest first: `30s`, `1h30m`; or `0`.
    Raises ValueError with a sentence for the person who wrote it.
    Source: prometheus/common model/time.go, ParseDuration.
    """
    if text == "0":
        return 0.0
    match = DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{quoted(text)} is not a duration such as 30s, 1h30m or 500ms")
    counts = (int(count or 0) for count in match.groups())
    milliseconds = sum(
        count * unit for count, unit in zip(counts, UNIT_MILLISECONDS.values(), strict=True)
    )
    if milliseconds > MAX_DURATION_SECONDS * SECOND_MILLISECONDS:
        raise ValueError(f"{quoted(text)} is more than 100 years")
    return milliseconds / SECOND_MILLISECONDS


def parse_size_bytes(value: str | int) -> int:
    """Read a size.

    Shape: a number and a unit, `500GiB`, `1.5TB`; or bytes without a unit.
    Units: powers of 1024 with and without the i, as Prometheus reads them.
    Raises ValueError with a sentence for the person who wrote it.
    Source: alecthomas/units bytes.go, Base2Bytes.
    """
    text = str(value)
    match = SIZE.fullmatch(text)
    if match is None or ("." in text and not text.endswith("B")):
        raise ValueError(f"{quoted(text)} is not a size such as 500GiB or 64MiB")
    power = SIZE_LETTERS.index(match[2]) + 1 if match[2] else 0
    size_bytes = int(Decimal(match[1]) * KIB**power)
    if size_bytes > MAX_SIZE_BYTES:
        raise ValueError(f"{quoted(text)} is more than 8 EiB")
    return size_bytes


def format_bytes(size_bytes: float) -> str:
    """Write a size for a person: `512 B`, `1.50 GiB`; three digits at least."""
    size = float(size_bytes)
    if abs(size) < KIB:
        return f"{size:.0f} B"
    for letter in SIZE_LETTERS:
        size /= KIB
        # 1023.996 would be printed as 1024.00
        if abs(round(size, 2)) < KIB or letter == SIZE_LETTERS[-1]:
            break
    return f"{size:.2f} {letter}iB"


def format_duration(seconds: float) -> str:
    """Write a duration for a person, in its two largest units: `250ms`, `1h 5m`, `3d`."""
    milliseconds = round(abs(seconds) * SECOND_MILLISECONDS)
    if milliseconds >= UNIT_MILLISECONDS["m"]:
        milliseconds = round(milliseconds, -3)
    sign = "-" if seconds < 0 and milliseconds else ""
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, milliseconds = divmod(milliseconds, UNIT_MILLISECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break  # "1d 5s" would claim an exactness that nobody asked for
    return sign + " ".join(parts[:2] or ["0s"])


def quoted(text: str) -> str:
    """Show a written value inside a message: short, on one line, nothing invisible."""
    shown = text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
    written = json.dumps(shown, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in written)
