"""What a caller tells the simulated host: the pools it is to have, and how they fill."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.simulation.figures import GIB, KIB, MIB


@dataclass(frozen=True, kw_only=True)
class Sawtooth:
    """A cleanup: when usage reaches `at_bytes`, it falls to `to_bytes`."""

    at_bytes: int
    to_bytes: int

    @property
    def span_bytes(self) -> int:
        """What one cleanup gives back."""
        return self.at_bytes - self.to_bytes


@dataclass(frozen=True, kw_only=True)
class PoolSpec:
    """A thin pool to make. Sizes of LVM's pools are rounded up to extents."""

    data_bytes: int = 10 * GIB
    metadata_bytes: int = 16 * MIB
    chunk_bytes: int = 64 * KIB
    used_bytes: int = 0
    metadata_used_bytes: int = MIB
    bytes_per_second: float = 0.0
    metadata_bytes_per_second: float = 0.0
    cleanup: Sawtooth | None = None
    metadata_cleanup: Sawtooth | None = None
    profile: str | None = None
    is_zeroing: bool = False
    is_error_when_full: bool = False
    discards: str = "passdown"


@dataclass(frozen=True, kw_only=True)
class LoopPoolSpec:
    """A pool that Docker made over two sparse files, on loop devices 0 and 1.

    `backing_bytes_per_second` is how fast the file system under the files fills; what
    it gives back comes in the same way.
    """

    pool: PoolSpec
    directory: str = "/var/lib/docker/devicemapper/devicemapper"
    backing_bytes: int = 100 * GIB
    backing_used_bytes: int = 0
    backing_bytes_per_second: float = 0.0
    backing_cleanup: Sawtooth | None = None
