"""The rows of lvs, vgs and pvs: which LVs and segments a report shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.simulation.figures import make_percent, percent_text
from exporter.simulation.pool import Pool
from exporter.simulation.state import HostState
from exporter.simulation.storage import Lv, LvKind, Pv, Segment, Vg


@dataclass(frozen=True, kw_only=True)
class LvRow:
    """An LV, or one of its segments; `pool` is the thin pool that it is, or belongs to."""

    state: HostState
    vg: Vg
    lv: Lv
    segment: Segment
    pool: Pool | None

    @property
    def own_pool(self) -> Pool | None:
        """The pool, if this LV is one."""
        return self.pool if self.lv.kind is LvKind.POOL else None

    @property
    def thin_pool(self) -> Pool | None:
        """The pool that gives its properties to a pool and to a thin LV alike."""
        return self.pool if self.lv.kind in {LvKind.POOL, LvKind.THIN} else None

    @property
    def live_pool(self) -> Pool | None:
        """The pool, if this LV is one and the kernel answers for it."""
        pool = self.own_pool
        return pool if pool and pool.is_active and not pool.has_failed else None

    @property
    def is_active(self) -> bool:
        """Whether device-mapper knows this LV."""
        if self.lv.kind is LvKind.SPARE:
            return False
        return self.pool is None or self.pool.is_active

    @property
    def bytes(self) -> int:
        """Size of the LV."""
        return self.lv.extents * self.vg.extent_bytes

    @property
    def shown_name(self) -> str:
        """Name, in brackets if hidden."""
        return f"[{self.lv.name}]" if self.lv.kind.is_hidden else self.lv.name


@dataclass(frozen=True, kw_only=True)
class VgRow:
    """A VG."""

    vg: Vg


@dataclass(frozen=True, kw_only=True)
class PvRow:
    """A PV of a VG."""

    vg: Vg
    pv: Pv


def lv_rows(state: HostState, *, is_all: bool, is_by_segment: bool) -> Iterator[LvRow]:
    """Every LV in LVM's order; hidden ones on request, and segments where one is asked for.

    LVM says nothing of the LVs of an exported VG.
    """
    for _, vg in sorted(state.vgs.items()):
        if vg.is_exported:
            continue
        for _, lv in sorted(vg.lvs.items()):
            if lv.kind.is_hidden and not is_all:
                continue
            pool = _pool_of(state, vg, lv)
            for segment in lv.segments if is_by_segment else lv.segments[:1]:
                yield LvRow(state=state, vg=vg, lv=lv, segment=segment, pool=pool)


def _pool_of(state: HostState, vg: Vg, lv: Lv) -> Pool | None:
    name = lv.pool_name or lv.name.removesuffix("_tdata").removesuffix("_tmeta")
    return state.pools.get(f"{vg.name}/{name}")


def lv_attr(row: LvRow) -> str:
    """Compose the ten letters of lv_attr. Source: lib/metadata/lv.c."""
    zero = "z" if row.thin_pool and row.thin_pool.spec.is_zeroing else "-"
    kind = "t" if row.thin_pool else "-"
    return f"{_TYPE_LETTERS[row.lv.kind]}wi-{_state(row)}{kind}{zero}{_health_letter(row)}-"


_TYPE_LETTERS = {
    LvKind.POOL: "t",
    LvKind.DATA: "T",
    LvKind.METADATA: "e",
    LvKind.SPARE: "e",
    LvKind.THIN: "V",
    LvKind.LINEAR: "-",
}


def _state(row: LvRow) -> str:
    """State and open letter."""
    if not row.is_active:
        return "--"
    pool = row.own_pool
    if pool is None:
        return "ao"
    letter = "s" if pool.is_suspended else "a"
    if pool.needs_check:
        letter = "C" if pool.is_suspended else "c"
    is_open = pool.thins or any(thin.pool is pool for thin in row.state.docker_thins)
    return letter + ("o" if is_open else "-")


_HEALTH = {
    "Fail": ("failed", "F"),
    "out_of_data_space": ("out_of_data", "D"),
    "ro": ("metadata_read_only", "M"),
}


def is_partial(row: LvRow) -> bool:
    """Whether a part of the LV, or of what is under it, was on a disk that is gone."""
    pool = row.own_pool
    lvs = (row.lv, pool.data_lv, pool.metadata_lv) if pool else (row.lv,)
    return any(s.pv is not None and s.pv.is_missing for lv in lvs for s in lv.segments)


def health(row: LvRow) -> str:
    """Name what is wrong with a pool, in LVM's words; with other LVs only a disk can be."""
    if is_partial(row):
        return "partial"
    pool = row.own_pool
    return _HEALTH.get(pool.mode, ("", ""))[0] if pool and pool.is_active else ""


def _health_letter(row: LvRow) -> str:
    pool = row.thin_pool
    if pool is None or not pool.is_active:
        return "-"
    if row.lv.kind is LvKind.THIN:
        return "F" if pool.has_failed else "-"
    return _HEALTH.get(pool.mode, ("", "-"))[1]


def data_percent(row: LvRow) -> str:
    """Part of a pool or of a thin LV that is in use; blank where the kernel cannot tell."""
    pool = row.live_pool
    if pool:
        return percent_text(make_percent(pool.used_chunks, pool.data_chunks))
    pool = row.thin_pool
    if pool is None or not pool.is_active or pool.has_failed:
        return ""
    mapped = min(int(pool.data.used_bytes * row.lv.share), row.bytes)
    return percent_text(make_percent(mapped, row.bytes))


def metadata_percent(row: LvRow) -> str:
    """Part of a pool's metadata that is in use."""
    pool = row.live_pool
    if pool is None:
        return ""
    return percent_text(make_percent(pool.used_metadata_blocks, pool.metadata_blocks))


def seg_monitor(row: LvRow) -> str:
    """Tell whether dmeventd monitors a pool; blank for everything else."""
    pool = row.own_pool
    if pool is None or not row.state.config.values["activation/monitoring"]:
        return ""
    if not pool.is_active:
        return ""
    is_monitored = pool.is_monitored and row.state.dmeventd.is_answering
    return "monitored" if is_monitored else "not monitored"
