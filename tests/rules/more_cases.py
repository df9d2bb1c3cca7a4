"""Other ways to the same alerts."""

from __future__ import annotations

from tests.rules.case import Case
from tests.rules.cases import BACKING, BELOW, DATA, METADATA
from tests.rules.healthy import CLOCK, GIB, Brief, Ramp

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
        fires=4,
        ends=2,
        of="host",
    ),
    Case(
        alert="ThinPoolGuardStale",
        severity="critical",
        bad={"thinpool_exporter_snapshot_success": 0},
        enough={"thinpool_exporter_snapshot_success": Brief(0, 1)},
        quiet=0,
        fires=1,
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
        severity="critical",
        bad={
            BELOW: None,
            'thinpool_guard_state{reason="busy"}': 1,
            'thinpool_guard_extend_failures_total{device="data",reason="stuck"}': 1,
        },
        enough={BELOW: None, 'thinpool_guard_state{reason="busy"}': 1},
        quiet=1,
        fires=3,
        ends=1,
    ),
    # Both are above: the policy's threshold, and what is nearly full in any case.
    Case(
        alert="ThinPoolAboveThreshold",
        severity="critical",
        bad={"thinpool_metadata_used_bytes": 3.9 * GIB},
        enough={"thinpool_metadata_used_bytes": 3.8 * GIB},
        quiet=1,
        fires=3,
        ends=8,
        labels=METADATA,
    ),
    Case(
        alert="ThinPoolAboveThreshold",
        severity="critical",
        bad={"thinpool_metadata_used_bytes": 3.9 * GIB},
        enough={"thinpool_metadata_used_bytes": 3.88 * GIB},
        always={"thinpool_metadata_autoextend_threshold_ratio": 0.97},
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
    # Not of a device that is half full.
    Case(
        alert="ThinPoolNextExtensionImpossible",
        severity="warning",
        bad={"thinpool_data_used_bytes": 100.1 * GIB},
        enough={"thinpool_data_used_bytes": 100 * GIB},
        always={'thinpool_next_extend_possible_bytes{device="data"}': 0},
        quiet=9,
        fires=11,
        ends=1,
        labels=DATA,
    ),
)
