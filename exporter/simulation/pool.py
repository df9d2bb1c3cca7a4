"""A thin pool as the kernel runs it: usage over time, modes, events, status and table.

Source: kernel drivers/md/dm-thin.c and admin-guide/device-mapper/thin-provisioning.rst.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.model import METADATA_BLOCK_BYTES, SECTOR_BYTES
from exporter.simulation.flow import Flow
from exporter.simulation.records import PoolSpec
from exporter.simulation.storage import Lv, LvKind, Vg

NO_SPACE_TIMEOUT_SECONDS = 60.0  # dm_thin_pool's parameter no_space_timeout
METADATA_LOW_WATER_BLOCKS = 1024
MAX_METADATA_BLOCKS = 255 * (1 << 14)
LOWEST_THRESHOLD = 50
NEVER = 100
DM_MAJOR = 253
WRITABLE_MODES = frozenset({"rw", "out_of_data_space"})


@dataclass(kw_only=True)
class Pool:
    """One thin-pool target, with the LV that owns it where it is LVM's."""

    spec: PoolSpec
    vg: Vg | None
    name: str
    minor: int
    data: Flow
    metadata: Flow
    data_chunks: int
    metadata_blocks: int
    table_sectors: int
    low_water_chunks: int
    data_device: str
    metadata_device: str
    full_since: float | None = None
    event_number: int = 0
    reported: tuple[str, bool, bool] | None = None
    docker_transactions: int = 0
    is_low_water_reported: bool = False
    has_timed_out: bool = False
    needs_check: bool = False
    has_failed: bool = False
    is_suspended: bool = False
    is_active: bool = True
    is_monitored: bool = False

    @property
    def label(self) -> str:
        """`vg/pool`, or the device-mapper name."""
        return f"{self.vg.name}/{self.name}" if self.vg else self.name

    @property
    def thins(self) -> tuple[Lv, ...]:
        """LVM's own thin volumes in this pool."""
        lvs = self.vg.lvs.values() if self.vg else ()
        return tuple(lv for lv in lvs if lv.kind is LvKind.THIN and lv.pool_name == self.name)

    @property
    def is_layered(self) -> bool:
        """Whether LVM put a -tpool device under the pool's LV: once it has thin LVs."""
        return bool(self.thins)

    @property
    def number(self) -> str:
        """Device number of the thin-pool target."""
        return f"{DM_MAJOR}:{self.minor}"

    @property
    def used_chunks(self) -> int:
        """Data in use."""
        return int(self.data.used_bytes // self.spec.chunk_bytes)

    @property
    def used_metadata_blocks(self) -> int:
        """Metadata in use."""
        return int(self.metadata.used_bytes // METADATA_BLOCK_BYTES)

    @property
    def mode(self) -> str:
        """The kernel's word for the pool's mode; a failed pool has none but Fail."""
        if self.has_failed:
            return "Fail"
        if self.needs_check or self.used_metadata_blocks >= self.metadata_blocks:
            return "ro"
        return "out_of_data_space" if self.used_chunks >= self.data_chunks else "rw"

    @property
    def is_queueing(self) -> bool:
        """Whether writes that need space wait for it."""
        return not (self.spec.is_error_when_full or self.has_timed_out)

    def advance(self, now: float) -> bool:
        """Let the pool fill until `now`; whether the kernel raised an event."""
        full_at = None
        if self.is_active and not self.is_suspended and self.mode in WRITABLE_MODES:
            self.metadata.advance(now, self.metadata_blocks * METADATA_BLOCK_BYTES)
            full_at = self.data.advance(now, self.data_chunks * self.spec.chunk_bytes)
        self.data.hold(now)
        self.metadata.hold(now)
        self._note_full(now, full_at)
        free_chunks = self.data_chunks - self.used_chunks
        self.is_low_water_reported |= free_chunks <= self.low_water_chunks
        return self._note_event()

    def _note_event(self) -> bool:
        """Count an event if anything changed that the kernel reports."""
        before = self.reported
        self.reported = (self.mode, self.has_timed_out, self.is_low_water_reported)
        is_event = before not in {None, self.reported}
        self.event_number += is_event
        return is_event

    def _note_full(self, now: float, full_at: float | None) -> None:
        if self.mode != "out_of_data_space":
            self.full_since, self.has_timed_out = None, False
            return
        if self.full_since is None:
            self.full_since = now if full_at is None else full_at
        self.has_timed_out = now - self.full_since >= NO_SPACE_TIMEOUT_SECONDS

    def reload(self, threshold_percent: int) -> None:
        """Load a new table after LVM changed the LVs; the kernel then sees their sizes.

        With needs_check set, or after a failure, it refuses both, and LVM hears nothing.
        """
        data, metadata = self.lv_sizes_bytes()
        self.table_sectors = data // SECTOR_BYTES
        chunks = data // self.spec.chunk_bytes
        self.low_water_chunks = low_water(chunks, threshold_percent)
        self.is_low_water_reported = False
        self.event_number += 1
        if not (self.needs_check or self.has_failed):
            self.data_chunks = chunks
            self.metadata_blocks = metadata_blocks(metadata)
            self.full_since, self.has_timed_out = None, False

    def lv_sizes_bytes(self) -> tuple[int, int]:
        """Sizes of the data and the metadata LV."""
        if self.vg is None:
            return self.spec.data_bytes, self.spec.metadata_bytes
        data, metadata = self.data_lv, self.metadata_lv
        return data.extents * self.vg.extent_bytes, metadata.extents * self.vg.extent_bytes

    @property
    def data_lv(self) -> Lv:
        """The hidden LV that holds the data."""
        return self._lv(f"{self.name}_tdata")

    @property
    def metadata_lv(self) -> Lv:
        """The hidden LV that holds the metadata."""
        return self._lv(f"{self.name}_tmeta")

    def _lv(self, name: str) -> Lv:
        if self.vg is None:
            raise LookupError(f"{self.name} is not LVM's")
        return self.vg.lvs[name]

    def status_text(self) -> str:
        """Parameters of the status line, with the space that the kernel ends it with."""
        if self.has_failed:
            return "Fail"
        low_water_blocks = min(METADATA_LOW_WATER_BLOCKS, self.metadata_blocks // 4)
        words = (
            self.transaction_id + self.docker_transactions,
            f"{self.used_metadata_blocks}/{self.metadata_blocks}",
            f"{self.used_chunks}/{self.data_chunks}",
            "-",
            self.mode,
            _DISCARD_WORDS[self.spec.discards],
            "queue_if_no_space" if self.is_queueing else "error_if_no_space",
            "needs_check" if self.needs_check else "-",
            low_water_blocks,
        )
        return " ".join(map(str, words)) + " "

    @property
    def transaction_id(self) -> int:
        """LVM's count of its own changes, which stays at 0 where Docker makes the volumes."""
        return len(self.thins)

    def table_text(self) -> str:
        """Parameters of the table, with the space that the kernel ends it with."""
        features = _features(self.spec)
        words = (
            self.metadata_device,
            self.data_device,
            self.spec.chunk_bytes // SECTOR_BYTES,
            self.low_water_chunks,
            len(features),
            *features,
        )
        return " ".join(map(str, words)) + " "


_DISCARD_WORDS = {
    "passdown": "discard_passdown",
    "nopassdown": "no_discard_passdown",
    "ignore": "ignore_discard",
}


def _features(spec: PoolSpec) -> list[str]:
    discard = _DISCARD_WORDS[spec.discards]
    wanted = {
        "skip_block_zeroing": not spec.is_zeroing,
        discard: discard != "discard_passdown",
        "error_if_no_space": spec.is_error_when_full,
    }
    return [word for word, is_set in wanted.items() if is_set]


def low_water(chunks: int, threshold_percent: int) -> int:
    """Count the free chunks at which the kernel reports; LVM derives them on loading."""
    if threshold_percent >= NEVER:
        return 0
    return chunks * (100 - max(threshold_percent, LOWEST_THRESHOLD)) // 100


def metadata_blocks(size_bytes: int) -> int:
    """Count the blocks of a metadata device that the kernel uses."""
    return min(size_bytes // METADATA_BLOCK_BYTES, MAX_METADATA_BLOCKS)
