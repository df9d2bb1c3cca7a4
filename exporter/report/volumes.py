"""Who fills the pool, in words: the thin volumes that grow fastest, and the largest."""

from __future__ import annotations

from exporter.model import ThinPool, ThinVolume
from exporter.report.text import listed, shown
from exporter.units import format_bytes

NAMED = 3
HASH_LENGTH, SHORT_LENGTH = 64, 12  # as Docker shortens its IDs


def growing(pool: ThinPool) -> str:
    """Name the volumes that grow, the fastest first; "" where none is known to."""
    rates = [(volume.fill_bytes_per_second or 0.0, volume) for volume in pool.volumes]
    rates = sorted(rates, key=lambda pair: -pair[0])
    return listed(
        f"{_named(volume)} gains {format_bytes(rate)}/s"
        for rate, volume in rates[:NAMED]
        if rate
    )


def largest(pool: ThinPool) -> str:
    """Name the volumes that map most; "" where none is active."""
    return listed(_mapped(volume) for volume in pool.volumes[:NAMED])


def _mapped(volume: ThinVolume) -> str:
    mapped, size = format_bytes(volume.mapped_bytes), format_bytes(volume.size_bytes)
    return f"{_named(volume)} maps {mapped} of {size}"


def _named(volume: ThinVolume) -> str:
    """Name it as a person would: by container or image where it is Docker's."""
    image = f"image {shown(volume.image)}" if volume.image else ""
    if volume.container:
        container = f"container {shown(volume.container)}"
        return f"{container} ({image})" if image else container
    return image or _short(volume.name)


def _short(name: str) -> str:
    """Cut the hash that ends the names of Docker's devices."""
    head, dash, tail = shown(name).rpartition("-")
    is_hash = dash and len(tail) == HASH_LENGTH
    return f"{head}-{tail[:SHORT_LENGTH]}..." if is_hash else shown(name)
