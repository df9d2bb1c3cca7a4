"""Refuses rows of LVM's reports with figures that cannot be.

The policy divides by some of these figures and multiplies by others. A row that is refused
becomes a Problem, as one that cannot be read at all.
"""

from __future__ import annotations

import re

from exporter.model import SECTOR_BYTES
from exporter.sources.lvm_report import Row
from exporter.units import parse_count

THIN_POOL = "thin-pool"
POOL_SIZES = ("lv_size", "lv_metadata_size")
# Segments that lie on PVs or other LVs. Thin volumes and "error" have no areas.
LAID_OUT = re.compile(r"(?:linear|striped|raid|mirror|cache|writecache|vdo)", re.ASCII)


def whole_sectors(value: str) -> int:
    """Read the size of an extent: LVM counts it in sectors."""
    size_bytes = parse_count(value)
    if not is_whole_sectors(size_bytes):
        raise ValueError(f"{size_bytes} bytes are not one or more sectors")
    return size_bytes


def is_whole_sectors(size_bytes: int) -> bool:
    """Whether it is one sector or several."""
    return size_bytes > 0 and size_bytes % SECTOR_BYTES == 0


def check_lv(row: Row) -> None:
    """Refuse a pool without a size or chunks, and a segment without areas.

    Other rows have 0 or nothing in these fields. Raises ValueError.
    """
    kind = str(row["segtype"])
    if kind == THIN_POOL:
        for field in POOL_SIZES:
            if not row[field]:
                raise ValueError(f"the {field} of a pool is 0")
        chunk_bytes = row["chunk_size"]
        if not isinstance(chunk_bytes, int) or not is_whole_sectors(chunk_bytes):
            raise ValueError(f"the chunk_size of a pool is {chunk_bytes}")
    elif LAID_OUT.match(kind) and not row["stripes"]:
        raise ValueError(f"a {kind} segment has no stripes")
