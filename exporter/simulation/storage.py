"""VGs, PVs and LVs, and how extents are given out: in order, and never given back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from exporter.simulation.figures import MIB, make_id, round_up


class LvKind(Enum):
    """What an LV is, by LVM's words for its layout and role."""

    POOL = ("thin,pool", "private")
    DATA = ("linear", "private,thin,pool,data")
    METADATA = ("linear", "private,thin,pool,metadata")
    SPARE = ("linear", "private,pool,spare")
    THIN = ("thin,sparse", "public")
    LINEAR = ("linear", "public")

    @property
    def is_hidden(self) -> bool:
        """Whether lvs shows it only with -a, in brackets."""
        return self in {LvKind.DATA, LvKind.METADATA, LvKind.SPARE}


class NoSpaceError(Exception):
    """The VG cannot give so many extents; the text is LVM's."""


@dataclass(kw_only=True)
class Pv:
    """A PV; its extents are given out from the first to the last."""

    name: str
    uuid: str
    extents: int
    allocated_extents: int = 0
    is_allocatable: bool = True
    is_missing: bool = False

    @property
    def usable_extents(self) -> int:
        """Extents that an allocation may take."""
        is_usable = self.is_allocatable and not self.is_missing
        return self.extents - self.allocated_extents if is_usable else 0


@dataclass(kw_only=True)
class Segment:
    """Extents of an LV that lie side by side; without a PV for thin pools and volumes."""

    pv: Pv | None
    pv_start: int
    start: int
    extents: int


@dataclass(kw_only=True)
class Lv:
    """An LV. A thin LV names its pool, a thin pool its two hidden LVs by suffix."""

    name: str
    uuid: str
    kind: LvKind
    pool_name: str = ""
    share: float = 0.0  # a thin LV's part of what its pool has in use
    segments: list[Segment] = field(default_factory=list)

    @property
    def extents(self) -> int:
        """Size of the LV."""
        return sum(segment.extents for segment in self.segments)


@dataclass(kw_only=True)
class Vg:
    """A VG; a test may set its flags."""

    name: str
    uuid: str
    extent_bytes: int = 4 * MIB
    profile: str | None = None
    seqno: int = 0
    pvs: list[Pv] = field(default_factory=list)
    lvs: dict[str, Lv] = field(default_factory=dict)
    is_writable: bool = True
    is_exported: bool = False
    is_clustered: bool = False
    system_id: str = ""
    lock_type: str = ""

    @property
    def extents(self) -> int:
        """All extents of the VG."""
        return sum(pv.extents for pv in self.pvs)

    @property
    def free_extents(self) -> int:
        """What vg_free_count shows: it counts PVs that cannot be used, too."""
        return sum(pv.extents - pv.allocated_extents for pv in self.pvs)

    @property
    def missing_pvs(self) -> int:
        """PVs that are not there."""
        return sum(pv.is_missing for pv in self.pvs)

    def to_extents(self, size_bytes: int) -> int:
        """Count the extents that hold a size."""
        return round_up(size_bytes, self.extent_bytes)

    def add_pv(self, name: str, extents: int) -> Pv:
        """Take another disk into the VG."""
        pv = Pv(name=name, uuid=make_id(f"{self.name} {name}"), extents=extents)
        self.pvs.append(pv)
        self.seqno += 1
        return pv

    def add_lv(self, name: str, kind: LvKind, extents: int = 0) -> Lv:
        """Make an LV, with extents from the VG unless it is of a virtual kind."""
        lv = Lv(name=name, uuid=make_id(f"{self.name}/{name}"), kind=kind)
        if kind in {LvKind.POOL, LvKind.THIN}:
            lv.segments.append(Segment(pv=None, pv_start=0, start=0, extents=extents))
        elif extents:
            self.extend(lv, extents)
        self.lvs[name] = lv
        return lv

    def extend(self, lv: Lv, extents: int) -> None:
        """Give an LV more extents, all or none. Raises NoSpaceError."""
        usable = sum(pv.usable_extents for pv in self.pvs)
        if extents > usable:
            needed = f"{extents} extents needed, but only {usable} available"
            raise NoSpaceError(f"Insufficient free space: {needed}")
        for pv in self.pvs:
            taken = min(extents, pv.usable_extents)
            if taken:
                _append(lv, pv, taken)
                extents -= taken


def _append(lv: Lv, pv: Pv, extents: int) -> None:
    start = pv.allocated_extents
    pv.allocated_extents += extents
    last = lv.segments[-1] if lv.segments else None
    if last and last.pv is pv and last.pv_start + last.extents == start:
        last.extents += extents
        return
    lv.segments.append(Segment(pv=pv, pv_start=start, start=lv.extents, extents=extents))
