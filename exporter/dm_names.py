"""LVM's names and UUIDs for its devices in device-mapper.

Source: lvm2 libdm/libdm-string.c, dm_build_dm_name; lib/uuid/uuid.c, build_dm_uuid.
"""

from __future__ import annotations

import re

LVM_UUID_PREFIX = "LVM-"
LVM_UUID_LENGTH = len(LVM_UUID_PREFIX) + 2 * 32
POOL_LAYER_SUFFIX = "-tpool"  # of a pool's device where LVM has volumes in it
# Of all that stratisd makes: stratisd src/engine/strat_engine/names.rs.
STRATIS_PREFIX = "stratis-1-private-"
# In a volume's own name the dash before would be doubled.
POOL_LAYER = re.compile(r"(?<!-)(--)*-tpool$")


def join_dm_name(vg_name: str, lv_name: str) -> str:
    """Make the name of an LV's device: dashes in names are doubled."""
    return "-".join(name.replace("-", "--") for name in (vg_name, lv_name))


def split_dm_name(dm_name: str) -> tuple[str, str] | None:
    """Split the name of an LV's device into VG and LV; None when it is not of that form."""
    names = None
    if POOL_LAYER.search(dm_name):
        names = _split(dm_name.removesuffix(POOL_LAYER_SUFFIX))
    return names or _split(dm_name)  # the latter of VG "vg" and LV "tpool"


def _split(dm_name: str) -> tuple[str, str] | None:
    marked = dm_name.replace("--", "\0")
    group, dash, volume = marked.partition("-")
    if not dash or not group or not volume or "-" in volume:
        return None
    return group.replace("\0", "-"), volume.replace("\0", "-")


def lvm_uuid(vg_uuid: str, lv_uuid: str) -> str:
    """Make the device-mapper UUID, without layer suffix, of an LV."""
    return LVM_UUID_PREFIX + (vg_uuid + lv_uuid).replace("-", "")
