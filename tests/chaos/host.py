"""The simulated host with what chaos needs: pools that come and go, and the truth of each.

Every growth is recorded under the host's lock, with the sizes before and after.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from exporter.command import Output
from exporter.simulation import PoolSpec, SimulatedHost
from exporter.simulation.extend_policy import policy_percents
from exporter.simulation.figures import MIB, make_id, round_up
from exporter.simulation.kernel import device_name
from exporter.simulation.lvm_config import STEP, THRESHOLD
from exporter.simulation.pool import NEVER, Pool
from exporter.simulation.state import HostState
from exporter.simulation.storage import LvKind, Vg

# Larger than anything that happens in one example.
GROWTHS_KEPT = 10_000
METADATA_BYTES_PER_CHUNK = 64


@dataclass(frozen=True, kw_only=True)
class Truth:
    """One pool as it really is; extents are those of LVM's LVs."""

    label: str
    device: str
    vg: str  # "" where the pool is not LVM's
    used: int
    total: int
    chunk_bytes: int
    metadata_used: int
    metadata_total: int
    data_extents: int
    metadata_extents: int
    extent_bytes: int
    free_extents: int  # of the VG
    wanted_data_extents: int  # by LVM's policy, as of now; 0 below the threshold
    wanted_metadata_extents: int
    is_monitored: bool

    @property
    def is_above(self) -> bool:
        """Whether LVM's policy would extend it now."""
        return bool(self.wanted_data_extents or self.wanted_metadata_extents)

    @property
    def follow_extents(self) -> int:
        """Extents of metadata that LVM gives to data of the size that the policy wants."""
        size = (self.data_extents + self.wanted_data_extents) * self.extent_bytes
        return round_up(size // self.chunk_bytes * METADATA_BYTES_PER_CHUNK, self.extent_bytes)


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One lvextend of the guard's or dmeventd's, at its end."""

    at: float
    argv: tuple[str, ...]
    status: int
    before: Truth
    after: Truth
    is_dmeventds: bool = False

    @property
    def data_extents(self) -> int:
        """Extents that the data LV gained."""
        return self.after.data_extents - self.before.data_extents

    @property
    def metadata_extents(self) -> int:
        """Extents that the metadata LV gained."""
        return self.after.metadata_extents - self.before.metadata_extents


class ChaosHost(SimulatedHost):
    """A simulated host whose pools can be renamed, removed and made again."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, extend_seconds: float = 0.02
    ) -> None:
        super().__init__(clock, extend_seconds=extend_seconds)
        self.growths: deque[Growth] = deque(maxlen=GROWTHS_KEPT)
        self._made = itertools.count(1)

    def make_pool(
        self, label: str, *, data_mib: int = 500, profile: str | None = "p", used: float = 0.0
    ) -> None:
        """Make a pool (64 KiB chunks, 8 MiB of metadata) with UUIDs that nothing had before."""
        size = data_mib * MIB
        spec = PoolSpec(
            data_bytes=size,
            metadata_bytes=8 * MIB,
            chunk_bytes=65536,
            profile=profile,
            used_bytes=int(size * used),
        )
        with self._present() as state:
            self.add_pool(label, spec)
            vg_name, _, name = label.partition("/")
            number = next(self._made)
            for suffix in ("", "_tdata", "_tmeta"):
                lv = state.vgs[vg_name].lvs[name + suffix]
                lv.uuid = make_id(f"{label}{suffix} {number}")
            self.raise_event()

    def rename_pool(self, label: str, name: str) -> str:
        """Do what `lvrename` does; returns the new label."""
        with self._present() as state:
            pool = state.pools.pop(label)
            group = _group(pool)
            for suffix in ("", "_tdata", "_tmeta"):
                lv = group.lvs.pop(pool.name + suffix)
                lv.name = name + suffix
                group.lvs[lv.name] = lv
            pool.name = name
            group.seqno += 1
            state.pools[pool.label] = pool
            self.raise_event()
            return pool.label

    def remove_pool(self, label: str) -> None:
        """Do what `lvremove` does; the simulated VG keeps its extents taken."""
        with self._present() as state:
            pool = state.pools.pop(label)
            group = _group(pool)
            for suffix in ("", "_tdata", "_tmeta"):
                del group.lvs[pool.name + suffix]
            group.seqno += 1
            self.raise_event()

    def commit_unseen(self, label: str, extents: int) -> None:
        """Grow a pool for LVM alone: committed, but its table was never loaded again."""
        with self._present() as state:
            pool = state.pools[label]
            group = _group(pool)
            group.extend(pool.data_lv, extents)
            group.lvs[pool.name].segments[0].extents += extents
            group.seqno += 1

    def take_space(self, vg: str, *, leave_extents: int) -> None:
        """Make an ordinary LV that leaves so many extents free."""
        with self._present() as state:
            group = state.vgs[vg]
            name = f"rest{next(self._made)}"
            group.add_lv(name, LvKind.LINEAR, max(0, group.free_extents - leave_extents))
            group.seqno += 1

    def extend_as_dmeventd(self, label: str) -> None:
        """Run the policy's own lvextend, as dmeventd does."""
        argv = ("/sbin/lvm", "lvextend", "--use-policies", label)
        with self._present() as state:
            before = _truth(state, state.pools[label])
            output = self._answer(argv, "lvextend", argv[2:])
            self._note(argv, output, before, is_dmeventds=True)
            self.raise_event()

    def fill_to(self, label: str, ratio: float) -> None:
        """Fill a pool's data to this part of its size, at once."""
        self.fill(label, round(self.truth(label).total * ratio))

    def fill_metadata_to(self, label: str, ratio: float) -> None:
        """Fill a pool's metadata to this part of its size, at once."""
        self.fill_metadata(label, round(self.truth(label).metadata_total * ratio))

    @contextmanager
    def still(self) -> Iterator[None]:
        """Let nobody else look at the host, or change it, until the end of the block."""
        with self._present():
            yield

    def raise_event(self) -> None:
        """Let device-mapper tell of a change, if only of another device."""
        self._events.note()

    def truth(self, label: str) -> Truth:
        """Tell how a pool really is."""
        with self._present() as state:
            return _truth(state, state.pools[label])

    def truths(self) -> dict[str, Truth]:
        """Tell how every active pool really is, by label."""
        with self._present() as state:
            pools = [pool for pool in state.pools.values() if pool.is_active]
            return {pool.label: _truth(state, pool) for pool in pools}

    def look(self) -> tuple[dict[str, Truth], list[Growth]]:
        """Tell how every active pool is, and all that has grown until then."""
        with self._present():
            return self.truths(), list(self.growths)

    def free_extents(self, vg: str) -> int:
        """Count the extents of a VG that belong to nobody."""
        with self._present() as state:
            return state.vgs[vg].free_extents

    def _end(self, argv: Sequence[str], command: str, words: Sequence[str]) -> Output:
        """Carry a command out, and record what grew; the lock is held."""
        pool = self._state.pools.get(argv[-1])
        before = _truth(self._state, pool) if pool and command == "lvextend" else None
        output = super()._end(argv, command, words)
        if before:
            self._note(tuple(argv), output, before)
        return output

    def _note(
        self,
        argv: tuple[str, ...],
        output: Output,
        before: Truth,
        *,
        is_dmeventds: bool = False,
    ) -> None:
        after = _truth(self._state, self._state.pools[before.label])
        self.growths.append(
            Growth(
                at=time.monotonic(),
                argv=argv,
                status=output.status,
                before=before,
                after=after,
                is_dmeventds=is_dmeventds,
            )
        )


def _group(pool: Pool) -> Vg:
    if pool.vg is None:
        raise LookupError(f"{pool.name} is not LVM's")
    return pool.vg


def _truth(state: HostState, pool: Pool) -> Truth:
    data = metadata = free = 0
    extent_bytes = 4 * MIB
    if pool.vg is not None:
        data, metadata = pool.data_lv.extents, pool.metadata_lv.extents
        free, extent_bytes = pool.vg.free_extents, pool.vg.extent_bytes
    wanted_data, wanted_metadata = _wanted(state, pool, data, metadata)
    return Truth(
        label=pool.label,
        device=device_name(pool),
        vg=pool.vg.name if pool.vg else "",
        used=pool.used_chunks,
        total=pool.data_chunks,
        chunk_bytes=pool.spec.chunk_bytes,
        metadata_used=pool.used_metadata_blocks,
        metadata_total=pool.metadata_blocks,
        data_extents=data,
        metadata_extents=metadata,
        extent_bytes=extent_bytes,
        free_extents=free,
        wanted_data_extents=wanted_data,
        wanted_metadata_extents=wanted_metadata,
        is_monitored=pool.is_monitored,
    )


def _wanted(state: HostState, pool: Pool, data: int, metadata: int) -> tuple[int, int]:
    """Ask the simulated LVM, whose arithmetic is not the guard's, what its policy wants.

    This version of LVM adds N extents for N % of metadata (autoextend.rules_of): either is
    right.
    """
    threshold = state.setting(THRESHOLD, pool)
    if pool.vg is None or threshold >= NEVER:
        return 0, 0
    data_percent, metadata_percent = policy_percents(pool, threshold, state.setting(STEP, pool))
    return (
        round_up(data_percent * data, 100),
        max(round_up(metadata_percent * metadata, 100), metadata_percent),
    )
