"""Extents and sizes of LVM's command lines."""

from __future__ import annotations

from exporter.model import SECTOR_BYTES
from exporter.simulation.arguments import INVALID_COMMAND_LINE, LvmError
from exporter.simulation.figures import GIB, KIB, MIB

SIZE_UNITS = {"b": 1, "s": SECTOR_BYTES, "k": KIB, "m": MIB, "g": GIB, "t": KIB * GIB}


def parse_extents(text: str) -> int:
    """Read the number of -l, with or without its sign. Raises LvmError."""
    try:
        return int(text)
    except ValueError:
        raise _invalid("--extents", text) from None


def parse_bytes(text: str) -> int:
    """Read a size; LVM counts in 1024s whatever the unit's case. Raises LvmError."""
    has_unit = text[-1:].lower() in SIZE_UNITS
    unit = SIZE_UNITS[text[-1].lower() if has_unit else "m"]
    try:
        size = int(float(text[:-1] if has_unit else text) * unit)
    except ValueError:
        raise _invalid("--poolmetadatasize", text) from None
    below = size // SECTOR_BYTES * SECTOR_BYTES
    if below != size:
        hint = f"  Size is not a multiple of 512. Try using {below} or {below + SECTOR_BYTES}."
        raise _invalid("--poolmetadatasize", text, hint)
    return size


def _invalid(option: str, text: str, *hints: str) -> LvmError:
    return LvmError(
        *hints,
        f"  Invalid argument for {option}: {text}",
        "  Error during parsing of command line.",
        status=INVALID_COMMAND_LINE,
    )
