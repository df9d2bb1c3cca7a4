"""Other ways to the same alerts."""

from __future__ import annotations

from tests.rules.case import Case
from tests.rules.cases import BELOW, DATA, METADATA
from tests.rules.healthy import CLOCK, GIB, Brief, Ramp

MORE = (
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
