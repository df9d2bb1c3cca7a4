"""Figures as the real tools print them: LVM's percents and sizes, Docker's sizes."""

from __future__ import annotations

import hashlib
import struct

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

# LVM counts percents in millionths: DM_PERCENT_1 of device_mapper/all.h.
PERCENT_1 = 1_000_000
PERCENT_100 = 100 * PERCENT_1
SMALLEST_SHOWN = PERCENT_1 // 100

LVM_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
DOCKER_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
UUID_CHARACTERS = 32
UUID_GROUPS = (6, 4, 4, 4, 4, 4, 6)
UUID_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def make_percent(part: int, whole: int) -> int:
    """Divide as LVM does: full and empty only where it is exactly so."""
    if not whole or part == whole:
        return PERCENT_100
    if not part:
        return 0
    percent = int(PERCENT_100 * (part / whole))
    if percent == PERCENT_100:
        return PERCENT_100 - 1
    return percent or 1


def percent_text(percent: int) -> str:
    """Print a percent with two digits, 0.00 only if empty and 100.00 only if full."""
    if 0 < percent < SMALLEST_SHOWN:
        return "0.01"
    if PERCENT_100 - SMALLEST_SHOWN < percent < PERCENT_100:
        return "99.99"
    # LVM calculates in C floats, which shows where the third digit is a 5.
    return f"{_float32(_float32(percent) / PERCENT_1):.2f}"


def _float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def lvm_size(size_bytes: int) -> str:
    """Print a size as LVM's messages do; `<` says that it was rounded up."""
    unit, divisor = 0, 1
    while unit + 1 < len(LVM_UNITS) and size_bytes >= divisor * KIB:
        unit, divisor = unit + 1, divisor * KIB
    if not unit:
        return f"{size_bytes} B"
    hundredths = 100 * size_bytes / divisor
    is_rounded_up = round(hundredths) > hundredths
    return f"{'<' * is_rounded_up}{size_bytes / divisor:.2f} {LVM_UNITS[unit]}"


def docker_size(size_bytes: float) -> str:
    """Print a size as Docker does since 17.04 (go-units HumanSize without the space)."""
    unit = 0
    while size_bytes >= 1000 and unit + 1 < len(DOCKER_UNITS):  # noqa: PLR2004 - go-units' base
        size_bytes, unit = size_bytes / 1000, unit + 1
    return f"{size_bytes:.4g}{DOCKER_UNITS[unit]}"


def round_up(value: int, step: int) -> int:
    """Count the steps that hold the value."""
    return -(-value // step)


def make_id(seed: str) -> str:
    """Make the 32 characters of an LVM UUID, always the same for the same thing."""
    digest = hashlib.sha256(seed.encode()).digest()
    return "".join(UUID_ALPHABET[byte % len(UUID_ALPHABET)] for byte in digest)


def dashed(identifier: str) -> str:
    """Print a UUID as LVM's reports do."""
    groups, start = [], 0
    for length in UUID_GROUPS:
        groups.append(identifier[start : start + length])
        start += length
    return "-".join(groups)


def dm_name(*parts: str) -> str:
    """Join names as device-mapper needs it: the dashes inside them are doubled."""
    return "-".join(part.replace("-", "--") for part in parts)
