"""Other ways to the same alerts."""

from __future__ import annotations

from tests.rules.case import Case
from tests.rules.cases import BACKING, BELOW, DATA, METADATA, TEXTFILE, USED_UP
from tests.rules.healthy import CLOCK, GIB, Brief, Ramp

MODE_UNKNOWN = 'thinpool_mode{mode="unknown"}'
IGNORING = 'thinpool_info{source="lvm",discards="ignore"}'
HOOK_FAILED, HOOK_DONE = (
    f'thinpool_hook_calls_total{{outcome="{outcome}"}}' for outcome in ("failed", "done")
)

MORE = (
    # LVM's, on a PV that is a file: it is extended like any other, if somebody does it.
    Case(
        alert="ThinPoolNotProtected",
        severity="warning",
        bad={"thinpool_guard_responsible": 0, 'thinpool_guard_mode{mode="observe"}': 1},
        enough={
            "thinpool_guard_responsible": 0,
            "thinpool_monitored": 1,
            "thinpool_dmeventd_up": 1,
        },
        always={"thinpool_loopback": 1},
        quiet=14,
        fires=16,
        ends=1,
    ),
    # Files that were written in full when they were made take nothing more.
    Case(
        alert="ThinPoolLoopBackingFillingUp",
        severity="critical",
        bad={"thinpool_loopback_backing_free_bytes": Ramp(100 * GIB, -0.375 * GIB)},
        enough={
            "thinpool_loopback_backing_free_bytes": Ramp(100 * GIB, -0.375 * GIB),
            "thinpool_loopback_backing_promised_bytes": 0,
        },
        always=BACKING,
        quiet=45,
        fires=75,
        ends=20,
        before=65,
    ),
    Case(
        alert="ThinPoolGuardStale",
        severity="critical",
        bad={"thinpool_exporter_snapshot_timestamp_seconds": 600},
        enough={"thinpool_exporter_snapshot_timestamp_seconds": Ramp(600, 1)},
        recovered={"thinpool_exporter_snapshot_timestamp_seconds": CLOCK},
        quiet=2,
        fires=5,
        ends=2,
        of="host",
    ),
    Case(
        alert="ThinPoolGuardStale",
        severity="critical",
        bad={"thinpool_exporter_snapshot_success": 0},
        enough={"thinpool_exporter_snapshot_success": Brief(0, 1)},
        quiet=2,
        fires=5,
        ends=1,
        of="host",
    ),
    Case(
        alert="ThinPoolGuardErrors",
        severity="warning",
        bad={"thinpool_exporter_render_errors_total": Ramp(2, 2)},
        enough={"thinpool_exporter_render_errors_total": 2},
        recovered={"thinpool_exporter_render_errors_total": 62},
        quiet=14,
        fires=16,
        ends=12,
        of="host",
    ),
    Case(
        alert="ThinPoolExtensionFailing",
        severity="warning",
        bad={
            BELOW: None,
            'thinpool_guard_state{reason="busy"}': 1,
            'thinpool_guard_extend_failures_total{device="data",reason="stuck"}': 1,
        },
        enough={BELOW: None, 'thinpool_guard_state{reason="busy"}': 1},
        quiet=9,
        fires=12,
        ends=1,
    ),
    # A policy that lets it become nearly full is respected.
    Case(
        alert="ThinPoolAboveThreshold",
        severity="critical",
        bad={"thinpool_metadata_used_bytes": 3.98 * GIB},
        enough={"thinpool_metadata_used_bytes": 3.96 * GIB},
        always={
            "thinpool_metadata_autoextend_threshold_ratio": 0.991,
            "thinpool_metadata_used_bytes": 3.9 * GIB,
        },
        quiet=1,
        fires=3,
        ends=8,
        labels=METADATA,
    ),
    # dmeventd with a threshold of 72 acts at 75.
    Case(
        alert="ThinPoolAboveThreshold",
        severity="warning",
        bad={"thinpool_data_used_bytes": 150.1 * GIB},
        enough={"thinpool_data_used_bytes": 150 * GIB},
        always={"thinpool_autoextend_threshold_ratio": 0.72},
        quiet=4,
        fires=6,
        ends=8,
        labels=DATA,
    ),
    # 9 GiB are left, for three hours and for thirty.
    Case(
        alert="ThinPoolAboveThreshold",
        severity="critical",
        bad={"thinpool_data_used_bytes": Ramp(191 * GIB, 0.05 * GIB)},
        enough={"thinpool_data_used_bytes": Ramp(191 * GIB, 0.005 * GIB)},
        always={
            "thinpool_autoextend_threshold_ratio": 1,
            "thinpool_data_used_bytes": 191 * GIB,
        },
        before=65,
        quiet=5,
        fires=30,
        ends=70,
        labels=DATA,
    ),
    # On a host's first hours: 100 GiB are left, for less than an hour, and for more.
    Case(
        alert="ThinPoolDataFillingUp",
        severity="critical",
        bad={"thinpool_data_used_bytes": Ramp(100 * GIB, 2 * GIB)},
        enough={"thinpool_data_used_bytes": Ramp(100 * GIB, 0.75 * GIB)},
        always=USED_UP,
        before=65,
        quiet=20,
        fires=54,
        ends=35,
        labels=DATA,
    ),
    # Where the kernel waits for a disk, it tells no status.
    Case(
        alert="ThinPoolHangs",
        severity="critical",
        bad={MODE_UNKNOWN: 1, 'thinpool_mode{mode="rw"}': 0},
        enough={MODE_UNKNOWN: Brief(1, 5), 'thinpool_mode{mode="rw"}': Brief(0, 5)},
        quiet=5,
        fires=7,
        ends=1,
    ),
    Case(
        alert="ThinPoolSpaceNotReturned",
        severity="warning",
        bad={IGNORING: 1},
        enough={IGNORING: 1, "thinpool_virtual_size_bytes": 200 * GIB},
        quiet=59,
        fires=61,
        ends=6,
        labels={"what": "discards"},
    ),
    Case(
        alert="ThinPoolGuardImpaired",
        severity="warning",
        bad={"thinpool_guard_unarchived_extends_total": 1},
        enough={"thinpool_guard_unarchived_extends_total": 0},
        recovered={"thinpool_guard_unarchived_extends_total": 1},
        quiet=14,
        fires=17,
        ends=1445,
        of="host",
        labels={"what": "archive"},
    ),
    # It fails each time, and it works now and then.
    Case(
        alert="ThinPoolGuardImpaired",
        severity="warning",
        bad={HOOK_FAILED: Ramp(1, 1)},
        enough={HOOK_FAILED: Ramp(1, 1), HOOK_DONE: Ramp(1, 1)},
        recovered={HOOK_FAILED: 40},
        quiet=14,
        fires=17,
        ends=62,
        of="host",
        labels={"what": "hook"},
    ),
    Case(
        alert="ThinPoolFiguresLost",
        severity="warning",
        bad={"thinpool_exporter_snapshot_timestamp_seconds": None},
        enough={"thinpool_exporter_snapshot_timestamp_seconds": Brief(0, 1)},
        always=TEXTFILE,
        quiet=33,
        fires=36,
        ends=1,
        of="host",
        labels={"what": "gone"},
    ),
)
