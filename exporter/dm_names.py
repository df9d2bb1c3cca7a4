"""LVM's names and UUIDs for its devices in device-mapper."""

from __future__ import annotations

LVM_UUID_PREFIX = "LVM-"
LVM_UUID_LENGTH = len(LVM_UUID_PREFIX) + 2 * 32
POOL_LAYER_SUFFIX = "-tpool"


def split_dm_name(dm_name: str) -> tuple[str, str] | None:
    """Split LVM's device-mapper name into VG and LV: dashes in either are doubled.

    None when it is not of that form. Source: lvm2 libdm/libdm-string.c, dm_build_dm_name.
    """
    base = dm_name.removesuffix(POOL_LAYER_SUFFIX)
    marked = base.replace("--", "\0")
    group, dash, volume = marked.partition("-")
    if not dash or not group or not volume or "-" in volume:
        return None
    return group.replace("\0", "-"), volume.replace("\0", "-")


def lvm_uuid(vg_uuid: str, lv_uuid: str) -> str:
    """Make the device-mapper UUID, without layer suffix, of an LV."""
    return LVM_UUID_PREFIX + (vg_uuid + lv_uuid).replace("-", "")
