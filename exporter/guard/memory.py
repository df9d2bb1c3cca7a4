"""What a guard keeps through a restart: latches, how long pools suffer, what it did last.

A restart that forgot them would repeat at once what has just failed, and wait once more
for a dmeventd that does nothing. The file lies in /run, and names the boot that its times
belong to: a reboot forgets it, in both ways.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from exporter.errors import ExporterError
from exporter.guard.latch import Latch
from exporter.guard.ledger import PoolRecord
from exporter.model import PastExtension
from exporter.textfile import write_state_file

FILE_NAME = "guard-memory.json"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MODE = 0o600  # no other process reads it
MAX_BYTES = 4 * 1024 * 1024


class Remembered(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One pool's part; times are monotonic seconds since the boot."""

    lv_uuid: str = ""  # of the pool; "" if it was not known
    latch: Latch | None = None
    was_outdated: bool = False
    above_since: float | None = None
    above_seen_at: float | None = None
    full_since: float | None = None
    is_taken_over: bool = False
    taken_over_from: int | None = None
    last_extensions: tuple[PastExtension, ...] = ()


class Memory(Struct, frozen=True, kw_only=True):
    """The file; `pools` by label, those alone of which there is something to remember."""

    boot_id: str
    pools: dict[str, Remembered]


class MemoryFile:
    """Keeps the memory in a file that is replaced whole; safe in any thread."""

    def __init__(self, directory: Path, *, boot_id_file: Path = BOOT_ID) -> None:
        self._path = directory / FILE_NAME
        self._boot_id = _read_text(boot_id_file)
        self._saved = b""
        self._lock = threading.Lock()

    def load(self) -> dict[str, PoolRecord]:
        """Read what the last guard of this boot has left; nothing if that makes no sense."""
        try:
            with self._path.open("rb") as file:
                memory = msgspec.json.decode(file.read(MAX_BYTES), type=Memory)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        if not self._boot_id or memory.boot_id != self._boot_id:
            return {}
        return {label: _record(pool) for label, pool in memory.pools.items()}

    def save(self, records: Mapping[str, PoolRecord]) -> None:
        """Write it if it differs from what was written last; a full /run is passed over."""
        with self._lock:
            raw = self._encode(records)
            if raw == self._saved:
                return
            with contextlib.suppress(ExporterError):
                write_state_file(self._path, raw, mode=MODE)
                self._saved = raw

    def _encode(self, records: Mapping[str, PoolRecord]) -> bytes:
        pools = {label: _remembered(record) for label, record in [*records.items()]}
        worth = {label: pool for label, pool in pools.items() if _is_worth(pool)}
        return msgspec.json.encode(Memory(boot_id=self._boot_id, pools=worth))


def _remembered(record: PoolRecord) -> Remembered:
    return Remembered(**{name: getattr(record, name) for name in Remembered.__struct_fields__})


def _is_worth(pool: Remembered) -> bool:
    return pool != Remembered(lv_uuid=pool.lv_uuid)


def _record(remembered: Remembered) -> PoolRecord:
    return PoolRecord(**msgspec.structs.asdict(remembered))


def _read_text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
