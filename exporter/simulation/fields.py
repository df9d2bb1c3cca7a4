"""The fields of lvs, vgs and pvs: a row for each, as LVM's lib/report/columns.h has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from exporter.simulation import rows
from exporter.simulation.figures import dashed
from exporter.simulation.rows import LvRow, PvRow, VgRow
from exporter.simulation.storage import LvKind

Value = str | int | bool | None
RowT = TypeVar("RowT")


@dataclass(frozen=True)
class Field(Generic[RowT]):
    """A field: its name, its value, and the word for "yes" if it is a binary one."""

    name: str
    value: Callable[[RowT], Value]
    yes: str | None = None

    def text(self, row: RowT, *, is_numeric: bool) -> str:
        """Print the value; a binary one as --binary says."""
        value = self.value(row)
        if self.yes is None:
            return "" if value is None else str(value)
        if value is None:
            return "-1" if is_numeric else "unknown"
        if is_numeric:
            return str(int(value))
        return self.yes if value else ""


def _by_name(fields: Iterable[Field[RowT]]) -> dict[str, Field[RowT]]:
    return {field.name: field for field in fields}


def _areas(row: LvRow) -> int:
    return 0 if row.lv.kind is LvKind.THIN else 1


def _when_full(row: LvRow) -> str | None:
    if row.own_pool is None:
        return None
    return "error" if row.own_pool.spec.is_error_when_full else "queue"


def _is_suspended(row: LvRow) -> bool | None:
    if not row.is_active:
        return None
    return row.own_pool.is_suspended if row.own_pool else False


def _hidden_name(row: LvRow, suffix: str) -> str | None:
    return f"[{row.lv.name}{suffix}]" if row.own_pool else None


_SEGMENT_TYPES = {LvKind.POOL: "thin-pool", LvKind.THIN: "thin"}
# Asking for one of these makes lvs print a row for each segment.
SEGMENT_FIELDS: dict[str, Field[LvRow]] = _by_name(
    [
        Field("segtype", lambda row: _SEGMENT_TYPES.get(row.lv.kind, "linear")),
        Field("stripes", _areas),
        Field("data_stripes", _areas),
        Field("data_copies", lambda _: 1),
        Field("stripe_size", lambda _: 0),
        Field("seg_start_pe", lambda row: row.segment.start),
        Field("seg_size_pe", lambda row: row.segment.extents),
        Field("chunk_size", lambda row: row.own_pool.spec.chunk_bytes if row.own_pool else 0),
        Field("thin_count", lambda row: len(row.own_pool.thins) if row.own_pool else None),
        Field("discards", lambda row: row.thin_pool.spec.discards if row.thin_pool else None),
        Field(
            "zero",
            lambda row: row.thin_pool.spec.is_zeroing if row.thin_pool else None,
            yes="zero",
        ),
        Field(
            "transaction_id",
            lambda row: row.thin_pool.transaction_id if row.thin_pool else None,
        ),
        Field("seg_monitor", rows.seg_monitor),
    ]
)

LV_FIELDS: dict[str, Field[LvRow]] = (
    _by_name(
        [
            Field("vg_name", lambda row: row.vg.name),
            Field("vg_uuid", lambda row: dashed(row.vg.uuid)),
            Field("lv_name", lambda row: row.shown_name),
            Field("lv_uuid", lambda row: dashed(row.lv.uuid)),
            Field("lv_attr", rows.lv_attr),
            Field("lv_size", lambda row: row.bytes),
            Field(
                "lv_metadata_size",
                lambda row: row.own_pool.lv_sizes_bytes()[1] if row.own_pool else None,
            ),
            Field(
                "lv_profile", lambda row: row.own_pool.spec.profile if row.own_pool else None
            ),
            Field("lv_layout", lambda row: row.lv.kind.value[0]),
            Field("lv_role", lambda row: row.lv.kind.value[1]),
            Field("lv_permissions", lambda row: "writeable" if row.is_active else "unknown"),
            Field("lv_when_full", _when_full),
            Field("lv_health_status", rows.health),
            Field(
                "lv_check_needed",
                lambda row: (
                    row.own_pool.needs_check if row.own_pool and row.is_active else None
                ),
                yes="check needed",
            ),
            Field("lv_active_locally", lambda row: row.is_active, yes="active locally"),
            Field("lv_suspended", _is_suspended, yes="suspended"),
            Field("lv_allocation_locked", lambda _: False, yes="allocation locked"),
            Field("lv_allocation_policy", lambda _: "inherit"),
            Field("lv_converting", lambda _: False, yes="converting"),
            Field("data_percent", rows.data_percent),
            Field("metadata_percent", rows.metadata_percent),
            Field("pool_lv", lambda row: row.lv.pool_name),
            Field("data_lv", lambda row: _hidden_name(row, "_tdata")),
            Field("metadata_lv", lambda row: _hidden_name(row, "_tmeta")),
        ]
    )
    | SEGMENT_FIELDS
)

VG_FIELDS: dict[str, Field[VgRow]] = _by_name(
    [
        Field("vg_name", lambda row: row.vg.name),
        Field("vg_uuid", lambda row: dashed(row.vg.uuid)),
        Field("vg_size", lambda row: row.vg.extents * row.vg.extent_bytes),
        Field("vg_free", lambda row: row.vg.free_extents * row.vg.extent_bytes),
        Field("vg_extent_size", lambda row: row.vg.extent_bytes),
        Field("vg_extent_count", lambda row: row.vg.extents),
        Field("vg_free_count", lambda row: row.vg.free_extents),
        Field("vg_seqno", lambda row: row.vg.seqno),
        Field("vg_profile", lambda row: row.vg.profile),
        Field("vg_permissions", lambda row: "writeable" if row.vg.is_writable else "read-only"),
        Field("vg_exported", lambda row: row.vg.is_exported, yes="exported"),
        Field("vg_partial", lambda row: bool(row.vg.missing_pvs), yes="partial"),
        Field("vg_missing_pv_count", lambda row: row.vg.missing_pvs),
        Field("vg_systemid", lambda row: row.vg.system_id),
        Field("vg_shared", lambda row: bool(row.vg.lock_type), yes="shared"),
        Field("vg_allocation_policy", lambda _: "normal"),
        Field("vg_clustered", lambda row: row.vg.is_clustered, yes="clustered"),
        Field("vg_lock_type", lambda row: row.vg.lock_type),
        Field("vg_extendable", lambda _: True, yes="extendable"),
        Field("vg_allocation_policy", lambda _: "normal"),
    ]
)

PV_FIELDS: dict[str, Field[PvRow]] = _by_name(
    [
        Field("pv_name", lambda row: "[unknown]" if row.pv.is_missing else row.pv.name),
        Field("pv_uuid", lambda row: dashed(row.pv.uuid)),
        Field("vg_name", lambda row: row.vg.name),
        Field("pv_allocatable", lambda row: row.pv.is_allocatable, yes="allocatable"),
        Field("pv_missing", lambda row: row.pv.is_missing, yes="missing"),
        Field("pv_exported", lambda row: row.vg.is_exported, yes="exported"),
        Field("pv_pe_count", lambda row: row.pv.extents),
        Field("pv_pe_alloc_count", lambda row: row.pv.allocated_extents),
        Field("pv_size", lambda row: row.pv.extents * row.vg.extent_bytes),
        Field(
            "pv_free",
            lambda row: (row.pv.extents - row.pv.allocated_extents) * row.vg.extent_bytes,
        ),
    ]
)
