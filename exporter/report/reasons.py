"""Plain words for every reason why a pool is extended or is not."""

from __future__ import annotations

from exporter.model import Reason

WORDS: dict[Reason, str] = {
    Reason.BELOW_THRESHOLD: "it is below its threshold",
    Reason.EXTEND: "it is over its threshold and is to be extended",
    Reason.EXTEND_ANTICIPATED: "it fills so fast that it would be full too soon",
    Reason.EXTEND_CLAMPED: "it is over its threshold, and the VG has only a part of the step",
    Reason.OBSERVE_ONLY: "the guard only observes",
    Reason.GUARD_OFF: "the guard is switched off",
    Reason.DMEVENTD_MONITORS: "the guard leaves it to dmeventd",
    Reason.POLICY_OFF: "LVM's policy never extends it (threshold 100 %)",
    Reason.POLICY_STEP_ZERO: "LVM's policy extends it by 0 %, which LVM refuses",
    Reason.POLICY_UNKNOWN: "LVM does not tell its policy",
    Reason.PROFILE_MISSING: "LVM cannot read its profile, and never extends without it",
    Reason.USAGE_UNKNOWN: "neither the kernel nor LVM tells how full it is",
    Reason.LAYOUT_UNKNOWN: "LVM does not tell how it is laid out",
    Reason.LAYOUT_DIFFERS: "the kernel uses another size than LVM has recorded",
    Reason.NOT_LVM: "LVM did not make it, so neither dmeventd nor a guard can extend it",
    Reason.INACTIVE: "it is not active",
    Reason.SUSPENDED: "it is suspended",
    Reason.FAILED: "it has failed",
    Reason.NEEDS_CHECK: "its metadata must be checked before it can be extended",
    Reason.READ_ONLY: "it is read-only, which more space does not mend",
    Reason.LOCKED: "an LVM operation holds it (a conversion or pvmove)",
    Reason.NOT_WRITABLE: "the VG or the pool is read-only in LVM",
    Reason.VG_EXPORTED: "its VG is exported",
    Reason.VG_PARTIAL: "its VG misses a disk, and LVM then refuses every change",
    Reason.VG_SHARED: "its VG is shared with other hosts, which no guard may change",
    Reason.VG_FOREIGN: "its VG has the system ID of another host, so LVM refuses",
    Reason.NO_SPACE: "the VG has nothing left to give",
    Reason.AT_MAX_SIZE: "the pool has reached the max_size of the configuration",
    Reason.AT_METADATA_LIMIT: "the metadata has reached the largest size that LVM makes",
    Reason.BUSY: "an extension is under way in its VG",
    Reason.LATCHED_REFUSED: "LVM refused the last extension",
    Reason.LATCHED_INEFFECTIVE: "the last extension had no effect in the kernel",
    Reason.INTERNAL_ERROR: "the guard met an internal error, which its log names",
}
