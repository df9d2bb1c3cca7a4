"""What older LVM has no field for, from the letters of its attributes.

A row is completed to what a newer LVM would have printed, so that one table reads both; what
the letters do not tell stays unknown. Letters: lvs(8), vgs(8), pvs(8), "attr"; lvm2
lib/metadata/lv.c, vg.c and pv.c, …_attr_dup, in every version since 2.02.98.
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.sources.lvm_report import RawRow

YES, NO, UNKNOWN = "1", "0", "-1"
LV_ATTR, VG_ATTR, PV_ATTR = "lv_attr", "vg_attr", "pv_attr"

SPARE_ROLE = "private,pool,spare"
METADATA_ROLE = "private,pool,metadata"
SPARE_SUFFIX = "_pmspare"  # LVM reserves it
PERMISSIONS = {"w": "writeable", "r": "read-only", "R": "read-only-override"}
ALLOCATION = {"c": "contiguous", "l": "cling", "i": "inherit", "n": "normal", "a": "anywhere"}
HEALTH = {
    "p": "partial",
    "r": "refresh needed",
    "m": "mismatches exist",
    "w": "writemostly",
    "F": "failed",
    "D": "out_of_data",
    "M": "metadata_read_only",
}
SUSPENDED = frozenset("sSMC")
NEEDS_CHECK = frozenset("cC")
NOT_TOLD = frozenset({"", "X"})


def _letter(attributes: str, number: int) -> str:
    """Give the letter that the manual counts as `number`; "" where there is none."""
    return attributes[number - 1 : number]


def _flag(*, is_set: bool) -> str:
    return YES if is_set else NO


def complete_lvs(rows: Sequence[RawRow]) -> list[RawRow]:
    """Complete rows of lvs; the others tell which LVs are a pool's metadata."""
    metadata = {
        (row.get("vg_name"), row["metadata_lv"].strip("[]"))
        for row in rows
        if row.get("metadata_lv")
    }
    return [_derived_lv(row) | _role(row, metadata) | dict(row) for row in rows]


def _derived_lv(row: RawRow) -> dict[str, str]:
    attributes = row.get(LV_ATTR, "")
    state = _letter(attributes, 5)
    is_told = state not in NOT_TOLD
    allocation = _letter(attributes, 3)
    return {
        "lv_profile": "",
        "lv_when_full": "",
        "lv_permissions": PERMISSIONS.get(_letter(attributes, 2), "unknown"),
        "lv_active_locally": _flag(is_set=state != "-") if is_told else UNKNOWN,
        "lv_suspended": _flag(is_set=state in SUSPENDED)
        if is_told and state != "-"
        else UNKNOWN,
        "lv_allocation_locked": _flag(is_set=allocation.isupper()) if allocation else UNKNOWN,
        "lv_allocation_policy": ALLOCATION.get(allocation.lower(), ""),
        "lv_converting": _lettered(attributes, 1, "c"),
        "lv_check_needed": YES if state in NEEDS_CHECK else UNKNOWN,
        "lv_health_status": HEALTH.get(_letter(attributes, 9), ""),
        "data_copies": _copies(row),
    }


def _copies(row: RawRow) -> str:
    """Count the copies of the data that a segment keeps."""
    kind = row.get("segtype", "")
    if kind in {"raid1", "mirror"}:
        return row.get("stripes", "1")
    return "2" if kind.startswith("raid10") else "1"


def _role(row: RawRow, metadata: set[tuple[str | None, str]]) -> dict[str, str]:
    name = row.get("lv_name", "").strip("[]")
    if name.endswith(SPARE_SUFFIX) and _letter(row.get(LV_ATTR, ""), 1) == "e":
        return {"lv_role": SPARE_ROLE}
    is_metadata = (row.get("vg_name"), name) in metadata
    return {"lv_role": METADATA_ROLE if is_metadata else ""}


def complete_vgs(rows: Sequence[RawRow]) -> list[RawRow]:
    """Complete rows of vgs; system IDs bind nobody where LVM has no field for them."""
    return [_derived_vg(row.get(VG_ATTR, "")) | dict(row) for row in rows]


def _lettered(attributes: str, number: int, yes: str) -> str:
    """Read a letter that means one thing only; no letter at all means nothing."""
    letter = _letter(attributes, number)
    return _flag(is_set=letter == yes) if letter else UNKNOWN


def _derived_vg(attributes: str) -> dict[str, str]:
    return {
        "vg_profile": "",
        "vg_systemid": "",
        "vg_allocation_policy": ALLOCATION.get(_letter(attributes, 5), ""),
        "vg_permissions": PERMISSIONS.get(_letter(attributes, 1), "unknown"),
        "vg_exported": _lettered(attributes, 3, "x"),
        "vg_partial": _lettered(attributes, 4, "p"),
        "vg_shared": _lettered(attributes, 6, "s"),
        "vg_clustered": _lettered(attributes, 6, "c"),
    }


def complete_pvs(rows: Sequence[RawRow]) -> list[RawRow]:
    """Complete rows of pvs."""
    return [_derived_pv(row.get(PV_ATTR, "")) | dict(row) for row in rows]


def _derived_pv(attributes: str) -> dict[str, str]:
    return {
        "pv_allocatable": _lettered(attributes, 1, "a"),
        "pv_missing": _lettered(attributes, 3, "m"),
    }
