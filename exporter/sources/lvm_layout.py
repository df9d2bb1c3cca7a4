"""Rows of LVM's reports into VGs, PVs, thin pools and thin volumes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import structs

from exporter.model import (
    LvmLayout,
    LvmPool,
    LvmThin,
    PhysicalVolume,
    Problem,
    VolumeGroup,
)

T = TypeVar("T")
Row = Mapping[str, Any]
Segments = Mapping[tuple[str, str], Row]

# What a cached LV lies on, by how LVM names it: an extension goes there.
# Source: lvm2 lib/metadata/lv_manip.c, _get_resizable_layer_lv (since 2.03.12).
UNDER_CACHE = {"cache": "_corig", "writecache": "_wcorig"}
VDO = "vdo"  # lvm2 lib/vdo/vdo.c: a virtual segment, as large as one likes
# Segment types whose areas do not all add to the size: how many are parity.
PARITY_AREAS = {"raid4": 1, "raid5": 1, "raid6": 2}


def make_layout(
    lvs: Sequence[Row], vgs: Iterable[Row], pvs: Iterable[Row], problems: Iterable[Problem]
) -> LvmLayout:
    """Join the three reports; `lvs` has a row for each segment, hidden LVs included.

    VGs that share a name are kept apart: LVM changes none of them by that name.
    """
    vgs = _unrepeated(vgs, "vg_uuid")
    shared = _shared_names(vgs)
    last = _last_segments(lvs)
    metadata = _metadata_sizes(lvs)
    volumes = defaultdict(list)
    for row in pvs:
        if row["vg_name"] not in shared:  # else it may be of any of them
            volumes[row["vg_name"]].append(_physical_volume(row))
    groups = [
        _volume_group(row, volumes[row["vg_name"]], metadata[row["vg_name"]]) for row in vgs
    ]
    return LvmLayout(
        pools=tuple(_pool(row, last) for row in _of_type(lvs, "thin-pool")),
        thins=tuple(_thin(row) for row in _of_type(lvs, "thin")),
        volume_groups=tuple(group for group in groups if group.name not in shared),
        same_named_groups=tuple(group for group in groups if group.name in shared),
        problems=(*problems, *(_ambiguous(name, uuids) for name, uuids in shared.items())),
    )


def _shared_names(vgs: Iterable[Row]) -> Mapping[str, Sequence[str]]:
    """Find the names that several VGs have, with their UUIDs."""
    uuids = defaultdict(list)
    for row in vgs:
        uuids[row["vg_name"]].append(row["vg_uuid"])
    return {name: found for name, found in uuids.items() if len(found) > 1}


def _ambiguous(name: str, uuids: Sequence[str]) -> Problem:
    return Problem(
        subject=f"VG {name}",
        message=f"{len(uuids)} VGs have this name, so LVM changes none of them: vgrename one "
        f"by its UUID ({', '.join(uuids)})",
    )


def _of_type(lvs: Iterable[Row], segment_type: str) -> list[Row]:
    rows = (row for row in lvs if row["segtype"] == segment_type)
    return _unrepeated(rows, "vg_uuid", "lv_name")


def _unrepeated(rows: Iterable[Row], *key: str) -> list[Row]:
    """Take the first of rows that are of the same thing."""
    firsts: dict[tuple[str, ...], Row] = {}
    for row in rows:
        firsts.setdefault(tuple(row[name] for name in key), row)
    return list(firsts.values())


def _last_segments(lvs: Iterable[Row]) -> Segments:
    """Find each LV's last segment: an extension continues it."""
    last: dict[tuple[str, str], Row] = {}
    for row in lvs:
        key = (row["vg_name"], row["lv_name"])
        if key not in last or row["seg_start_pe"] >= last[key]["seg_start_pe"]:
            last[key] = row
    return last


def _pool(row: Row, last: Segments) -> LvmPool:
    data = _under_caches(row["vg_name"], row["data_lv"], last)
    metadata = _under_caches(row["vg_name"], row["metadata_lv"], last)
    return LvmPool(
        vg_name=row["vg_name"],
        vg_uuid=row["vg_uuid"],
        name=row["lv_name"],
        lv_uuid=row["lv_uuid"],
        size_bytes=row["lv_size"],
        metadata_size_bytes=row["lv_metadata_size"],
        chunk_bytes=row["chunk_size"],
        discards=row["discards"],
        profile=row["lv_profile"],
        data_percent=row["data_percent"],
        metadata_percent=row["metadata_percent"],
        when_full=row["lv_when_full"],
        is_active=row["lv_active_locally"],
        is_suspended=row["lv_suspended"],
        # A pvmove locks what lies under the pool: LVM 2.03.16 extends it all the same, 2.03.31
        # refuses, and is asked again.
        is_locked=bool(row["lv_allocation_locked"] or row["lv_converting"]),
        # "unknown" while the LV is down, though the layer under its volumes may be up.
        is_writable=not (row["lv_permissions"] or "").startswith("read-only"),
        needs_check=row["lv_check_needed"],
        health=row["lv_health_status"],
        active_components=_active_components(row, last),
        data_segment_type=data.get("segtype"),
        data_stripes=_stripes(data),
        data_areas=_data_areas(data),
        data_stripe_bytes=data.get("stripe_size", 0),
        metadata_segment_type=metadata.get("segtype"),
        metadata_areas=_areas(metadata),
        data_allocation=_allocation(data),
        metadata_allocation=_allocation(metadata),
    )


def _allocation(segment: Row) -> str | None:
    """Give the policy of a hidden LV by which lvextend looks for room; None: the VG's."""
    policy: str | None = segment.get("lv_allocation_policy")
    return None if policy == "inherit" else policy


def _active_components(row: Row, last: Segments) -> tuple[str, ...]:
    if row["lv_active_locally"] is not False:
        return ()
    names = (row["metadata_lv"], row["data_lv"])
    segments = ((name, last.get((row["vg_name"], name))) for name in names)
    return tuple(name for name, found in segments if found and found["lv_active_locally"])


def _under_caches(vg_name: str, lv_name: str, last: Segments) -> Row:
    """Find the segment that an extension continues, whatever caches lie over it."""
    segment = last.get((vg_name, lv_name), {})
    while suffix := UNDER_CACHE.get(segment.get("segtype", "")):
        lv_name += suffix
        segment = last.get((vg_name, lv_name), {})
    return segment


def _data_areas(segment: Row) -> int:
    """Count the PVs of the data's next step; a VDO volume takes nothing of the VG for it."""
    return 0 if segment.get("segtype") == VDO else _areas(segment)


def _areas(segment: Row) -> int:
    """Count the PVs that one step of an extension needs side by side."""
    return max(1, int(segment.get("stripes", 1)))


def _stripes(segment: Row) -> int:
    """Count the areas that add to the size."""
    kind = segment.get("segtype", "linear")
    family = next((name for name in PARITY_AREAS if kind.startswith(name)), "")
    if family:
        # `data_copies` is 2 for raid5 and 3 for raid6, and says how many disks may fail.
        return max(1, _areas(segment) - PARITY_AREAS[family])
    return max(1, _areas(segment) // max(1, int(segment.get("data_copies", 1))))


def _thin(row: Row) -> LvmThin:
    return LvmThin(
        vg_name=row["vg_name"],
        name=row["lv_name"],
        lv_uuid=row["lv_uuid"],
        pool_name=row["pool_lv"],
        size_bytes=row["lv_size"],
    )


def _physical_volume(row: Row) -> PhysicalVolume:
    return PhysicalVolume(
        name=row["pv_name"],
        vg_name=row["vg_name"],
        is_allocatable=bool(row["pv_allocatable"]),
        is_missing=bool(row["pv_missing"]),
        extents=row["pv_pe_count"],
        allocated_extents=row["pv_pe_alloc_count"],
    )


def _metadata_sizes(lvs: Iterable[Row]) -> Mapping[str, dict[str, int]]:
    """Sizes in bytes of each VG's metadata spare and of its largest pool metadata LV."""
    sizes: dict[str, dict[str, int]] = defaultdict(lambda: {"spare": 0, "metadata": 0})
    for row in lvs:
        if "pool" in row["lv_role"]:
            for role in {"spare", "metadata"} & row["lv_role"]:
                of_vg = sizes[row["vg_name"]]
                of_vg[role] = max(of_vg[role], row["lv_size"])
    return sizes


def _volume_group(
    row: Row, volumes: Iterable[PhysicalVolume], metadata: Mapping[str, int]
) -> VolumeGroup:
    return VolumeGroup(
        name=row["vg_name"],
        uuid=row["vg_uuid"],
        size_bytes=row["vg_size"],
        free_bytes=row["vg_free"],
        extent_bytes=row["vg_extent_size"],
        seqno=row["vg_seqno"],
        profile=row["vg_profile"],
        is_writable=row["vg_permissions"] == "writeable",
        is_exported=bool(row["vg_exported"]),
        is_partial=bool(row["vg_partial"]),
        is_shared=bool(row["vg_shared"]),
        is_clustered=bool(row["vg_clustered"]),
        system_id=row["vg_systemid"],
        allocation=row["vg_allocation_policy"],
        spare_extents=metadata["spare"] // row["vg_extent_size"],
        largest_metadata_extents=metadata["metadata"] // row["vg_extent_size"],
        physical_volumes=tuple(volumes),
    )


def merge(known: LvmLayout, fresh: LvmLayout, *, keep: Callable[[str], bool]) -> LvmLayout:
    """Take the fresh layout, but the known one for the VGs whose name says `keep`."""
    return structs.replace(
        fresh,
        pools=tuple(_pick(known.pools, fresh.pools, lambda pool: keep(pool.vg_name))),
        thins=tuple(_pick(known.thins, fresh.thins, lambda thin: keep(thin.vg_name))),
        volume_groups=tuple(
            _pick(known.volume_groups, fresh.volume_groups, lambda group: keep(group.name))
        ),
        same_named_groups=tuple(
            _pick(
                known.same_named_groups,
                fresh.same_named_groups,
                lambda group: keep(group.name),
            )
        ),
    )


def _pick(known: Iterable[T], fresh: Iterable[T], keep: Callable[[T], bool]) -> Iterable[T]:
    yield from (item for item in known if keep(item))
    yield from (item for item in fresh if not keep(item))
