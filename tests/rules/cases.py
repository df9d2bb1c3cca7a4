"""What makes each alert fire, and what is just not enough."""

from __future__ import annotations

from tests.rules.case import Case, Changes
from tests.rules.healthy import GIB, Brief, Ramp, Value


def _mode(mode: str, value: Value = 1) -> Changes:
    """Change the pool's mode, for good or for a while."""
    rw = Brief(0, value.minutes) if isinstance(value, Brief) else 0
    return {f'thinpool_mode{{mode="{mode}"}}': value, 'thinpool_mode{mode="rw"}': rw}


DATA, METADATA = {"device": "data"}, {"device": "metadata"}
HALF_METADATA: Changes = {
    'thinpool_next_extend_possible_bytes{device="metadata"}': GIB / 2,
}
BACKING: Changes = {"thinpool_loopback": 1, "thinpool_loopback_backing_free_bytes": 100 * GIB}
BELOW = 'thinpool_guard_state{reason="below_threshold"}'
LATCHED = 'thinpool_guard_state{reason="latched_refused"}'

CASES = (
    Case(
        alert="ThinPoolOutOfDataSpace",
        severity="critical",
        bad=_mode("out_of_data_space"),
        enough=_mode("out_of_data_space", Brief(1, 1)),
        quiet=0,
        fires=1,
        ends=1,
        summary="A thin pool is full, and what writes to it waits or fails.",
        text="The thin pool {pool} has no space left for data. Containers "
        "on it hang, and their "
        "writes fail within a minute unless it is extended.",
    ),
    Case(
        alert="ThinPoolFailed",
        severity="critical",
        bad=_mode("failed"),
        enough=_mode("unknown"),
        quiet=-1,
        fires=0,
        ends=1,
        summary="The kernel has given up a thin pool, and everything on it fails.",
        text="The thin pool {pool} has failed: the kernel could not write "
        "its metadata. Nothing "
        "on it can be read or written until it is repaired.",
    ),
    Case(
        alert="ThinPoolReadOnly",
        severity="critical",
        bad=_mode("ro"),
        enough=_mode("ro", Brief(1, 1)),
        quiet=0,
        fires=1,
        ends=1,
        summary="A thin pool has become read-only, and writes to it fail.",
        text="The thin pool {pool} is read-only: its metadata is full or could not be written. "
        "Containers on it fail when they write.",
    ),
    Case(
        alert="ThinPoolNeedsCheck",
        severity="critical",
        bad={"thinpool_needs_check": 1},
        enough=_mode("ro"),
        quiet=-1,
        fires=0,
        ends=1,
        summary="A thin pool's metadata must be repaired before it can be used fully.",
        text="The metadata of the thin pool {pool} is marked needs_check. Neither LVM nor the "
        "guard can extend it until thin_check has run: lvconvert --repair.",
    ),
    # 200 GiB can still be written: 45 GiB an hour lasts for less than four hours once 20 GiB
    # are gone, 36 GiB an hour for more as long as this test does.
    Case(
        alert="ThinPoolDataFillingUp",
        severity="critical",
        bad={"thinpool_data_used_bytes": Ramp(100 * GIB, 0.75 * GIB)},
        enough={"thinpool_data_used_bytes": Ramp(100 * GIB, 0.6 * GIB)},
        quiet=45,
        fires=75,
        ends=20,
        before=65,
        labels=DATA,
        summary="A thin pool's data will be full within four hours, whatever is given to it.",
        text="At the rate of the last hour the data of the thin pool {pool} is full in "
        "3h 11m 40s, even when it has been given all that it can get.",
    ),
    Case(
        alert="ThinPoolDataFillingUp",
        severity="warning",
        bad={"thinpool_data_used_bytes": Ramp(100 * GIB, 0.13 * GIB)},
        enough={"thinpool_data_used_bytes": Ramp(100 * GIB, 0.105 * GIB)},
        quiet=300,
        fires=390,
        ends=75,
        before=370,
        labels=DATA,
        summary="A thin pool's data will be full within a day, whatever is given to it.",
        text="At the rate of the last six hours the data of the thin pool {pool} is full in "
        "19h 8m 27s, even when it has been given all that it can get.",
    ),
    # The same in small: metadata can have half a GiB more than its 4 GiB.
    Case(
        alert="ThinPoolMetadataFillingUp",
        severity="critical",
        bad={"thinpool_metadata_used_bytes": Ramp(GIB, 0.013125 * GIB)},
        enough={"thinpool_metadata_used_bytes": Ramp(GIB, 0.0105 * GIB)},
        always=HALF_METADATA,
        quiet=45,
        fires=75,
        ends=20,
        before=65,
        labels=METADATA,
        summary="A thin pool's metadata will be full within four hours, "
        "whatever is given to it.",
        text="At the rate of the last hour the metadata of the thin pool {pool} is full in "
        "3h 11m 40s, even when it has been given all that it can get.",
    ),
    Case(
        alert="ThinPoolMetadataFillingUp",
        severity="warning",
        bad={"thinpool_metadata_used_bytes": Ramp(GIB, 0.002275 * GIB)},
        enough={"thinpool_metadata_used_bytes": Ramp(GIB, 0.0018375 * GIB)},
        always=HALF_METADATA,
        quiet=300,
        fires=390,
        ends=75,
        before=370,
        labels=METADATA,
        summary="A thin pool's metadata will be full within a day, whatever is given to it.",
        text="At the rate of the last six hours the metadata of the thin "
        "pool {pool} is full in "
        "19h 8m 27s, even when it has been given all that it can get.",
    ),
    # Without a policy: nearly full is nearly full.
    Case(
        alert="ThinPoolAboveThreshold",
        severity="critical",
        bad={"thinpool_data_used_bytes": 191 * GIB},
        enough={"thinpool_data_used_bytes": 190 * GIB},
        always={"thinpool_autoextend_threshold_ratio": 1},
        quiet=1,
        fires=3,
        ends=8,
        labels=DATA,
        summary="A thin pool is nearly full, and nobody extends it.",
        text="The data of the thin pool {pool} is 95.5% full, and its size has not changed for "
        "five minutes.",
    ),
    Case(
        alert="ThinPoolAboveThreshold",
        severity="warning",
        bad={"thinpool_metadata_used_bytes": 3.25 * GIB},
        enough={"thinpool_metadata_used_bytes": 3.2 * GIB},
        quiet=4,
        fires=6,
        ends=8,
        labels=METADATA,
        summary="A thin pool is above its threshold, and nobody extends it.",
        text="The metadata of the thin pool {pool} is 81.25% full, above the threshold of its "
        "policy, and its size has not changed for five minutes.",
    ),
    Case(
        alert="ThinPoolNextExtensionImpossible",
        severity="warning",
        bad={'thinpool_next_extend_possible_bytes{device="data"}': 0},
        enough={'thinpool_next_extend_possible_bytes{device="data"}': 1},
        always={"thinpool_data_used_bytes": 101 * GIB},
        quiet=9,
        fires=11,
        ends=1,
        labels=DATA,
        summary="A thin pool cannot be extended any more.",
        text="There is nothing left for the data of the thin pool {pool}: its volume group is "
        "used up, or the configuration's reserve or max_size allows no more. When it is above "
        "its threshold, nothing extends it.",
    ),
    Case(
        alert="ThinPoolNextExtensionPartial",
        severity="warning",
        bad={'thinpool_next_extend_possible_bytes{device="data"}': 39 * GIB},
        enough={'thinpool_next_extend_possible_bytes{device="data"}': 40 * GIB},
        always={"thinpool_data_used_bytes": 101 * GIB},
        quiet=59,
        fires=61,
        ends=1,
        labels=DATA,
        summary="A thin pool's next extension does not fit as a whole.",
        text="There are 39GiB for the data of the thin pool {pool}, less than the next step of "
        "its policy. LVM and dmeventd would give nothing; the guard gives that, once.",
    ),
    Case(
        alert="ThinPoolVolumeGroupNearlyFull",
        severity="warning",
        bad={"thinpool_vg_allocatable_bytes": 40.5 * GIB},
        enough={"thinpool_vg_allocatable_bytes": 41 * GIB},
        always={
            "thinpool_data_used_bytes": 101 * GIB,
            "thinpool_metadata_used_bytes": 2.1 * GIB,
        },
        quiet=29,
        fires=31,
        ends=1,
        of="vg",
        summary="A volume group cannot give the next step to all of its thin pools.",
        text="The volume group {vg} has 40.5GiB left: enough for the next step of each of its "
        "thin pools, but not of all of them.",
    ),
    Case(
        alert="ThinPoolExtensionFailing",
        severity="critical",
        bad={BELOW: None, LATCHED: 1},
        enough={BELOW: None, 'thinpool_guard_state{reason="extend"}': 1},
        quiet=1,
        fires=3,
        ends=1,
        summary="The guard cannot extend a thin pool that needs it.",
        text="The thin pool {pool} needs to be extended, and its last extension failed or does "
        "not end. What LVM said is in the journal of thinpool-guard.",
    ),
    Case(
        alert="ThinPoolNotProtected",
        severity="warning",
        bad={"thinpool_guard_responsible": 0, 'thinpool_guard_mode{mode="observe"}': 1},
        enough={
            "thinpool_guard_responsible": 0,
            "thinpool_monitored": 1,
            "thinpool_dmeventd_up": 1,
        },
        quiet=14,
        fires=16,
        ends=1,
        summary="Nobody would extend a thin pool when it fills.",
        text="Neither the guard nor dmeventd would extend the thin pool {pool} when it fills: "
        "the guard only observes it, and dmeventd does not run.",
    ),
    Case(
        alert="ThinPoolTakenOver",
        severity="warning",
        bad={"thinpool_guard_takeovers_total": 4},
        enough={"thinpool_guard_takeovers_total": 0},  # the guard was started again
        always={"thinpool_guard_takeovers_total": 3},
        recovered={"thinpool_guard_takeovers_total": 4},
        quiet=-1,
        fires=0,
        ends=365,
        summary="dmeventd monitors a thin pool, but does not extend it.",
        text="dmeventd monitors the thin pool {pool} but left it above "
        "its threshold, so that the "
        "guard extended it. What dmeventd was doing is in the journal of thinpool-guard.",
    ),
    Case(
        alert="ThinPoolOnLoopback",
        severity="warning",
        bad={"thinpool_loopback": 1},
        enough={"thinpool_loopback": Brief(1, 59)},
        quiet=59,
        fires=61,
        ends=1,
        summary="A thin pool lies on loop devices over sparse files.",
        text="The thin pool {pool} lies on loop devices over sparse "
        "files: slow, good for tests "
        "alone, and full when the file system below is, whatever it says of itself.",
    ),
    Case(
        alert="ThinPoolLoopBackingFillingUp",
        severity="critical",
        bad={"thinpool_loopback_backing_free_bytes": Ramp(100 * GIB, -0.375 * GIB)},
        enough={"thinpool_loopback_backing_free_bytes": Ramp(100 * GIB, -0.3 * GIB)},
        always=BACKING,
        quiet=45,
        fires=75,
        ends=20,
        before=65,
        summary="The file system under a thin pool's files will be full within four hours.",
        text="At the rate of the last hour the file system that holds the "
        "files of the thin pool "
        "{pool} is full in 3h 11m 40s. The pool does not know, and fails when it is.",
    ),
    Case(
        alert="ThinPoolLoopBackingFillingUp",
        severity="warning",
        bad={"thinpool_loopback_backing_free_bytes": Ramp(100 * GIB, -0.065 * GIB)},
        enough={"thinpool_loopback_backing_free_bytes": Ramp(100 * GIB, -0.0525 * GIB)},
        always=BACKING,
        quiet=300,
        fires=390,
        ends=75,
        before=370,
        summary="The file system under a thin pool's files will be full within a day.",
        text="At the rate of the last six hours the file system that "
        "holds the files of the thin "
        "pool {pool} is full in 19h 8m 27s. The pool does not know, and fails when it is.",
    ),
    Case(
        alert="ThinPoolDockerDown",
        severity="warning",
        bad={"thinpool_docker_up": 0},
        enough={"thinpool_docker_up": Brief(0, 5)},
        quiet=4,
        fires=6,
        ends=1,
        of="host",
        summary="Docker does not answer.",
        text="Docker on {host} does not answer docker info, and did before. It does not run, "
        "or it hangs because its thin pool is full or suspended.",
    ),
    Case(
        alert="ThinPoolDockerMinFreeSpace",
        severity="warning",
        bad={"thinpool_docker_data_available_bytes": 10 * GIB},
        enough={"thinpool_docker_data_available_bytes": 10 * GIB + 1},
        labels={"device": "data"},
        quiet=4,
        fires=6,
        ends=1,
        of="host",
        summary="Docker makes no new containers, since its pool has too little space.",
        text="Docker on {host} has 10GiB left for data, no more than its "
        "min_free_space: docker "
        "run and docker pull fail.",
    ),
    # A tenth of the metadata, as of the data.
    Case(
        alert="ThinPoolDockerMinFreeSpace",
        severity="warning",
        bad={"thinpool_docker_metadata_available_bytes": GIB / 10},
        enough={"thinpool_docker_metadata_available_bytes": GIB / 10 + 1},
        labels={"device": "metadata"},
        quiet=4,
        fires=6,
        ends=1,
        of="host",
        summary="Docker makes no new containers, since its pool has too little space.",
        text="Docker on {host} has 102.4MiB left for metadata, no more than its "
        "min_free_space: docker "
        "run and docker pull fail.",
    ),
    Case(
        alert="ThinPoolGuardStale",
        severity="critical",
        bad={"thinpool_guard_last_cycle_timestamp_seconds": 600},
        enough={"thinpool_guard_last_cycle_timestamp_seconds": Ramp(600, 1)},
        quiet=2,
        fires=4,
        ends=2,
        of="host",
        recovered={"thinpool_guard_last_cycle_timestamp_seconds": Ramp(1500, 60)},
        summary="The guard of a host does nothing, or cannot be understood.",
        text="The guard on {host} has not been heard of for three minutes: nothing extends the "
        "host's thin pools, and how full they are is not known.",
    ),
    # An exception a minute; what happened once, or concerns a source, is no cause for a ticket.
    Case(
        alert="ThinPoolGuardErrors",
        severity="warning",
        bad={'thinpool_guard_errors_total{stage="decide"}': Ramp(1, 1)},
        enough={
            'thinpool_guard_errors_total{stage="decide"}': 1,
            'thinpool_guard_errors_total{stage="source"}': Ramp(1, 1),
        },
        recovered={'thinpool_guard_errors_total{stage="decide"}': 31},
        quiet=14,
        fires=16,
        ends=12,
        of="host",
        labels={"stage": "decide"},
        summary="The guard of a host keeps meeting errors.",
        text="The guard on {host} keeps failing at a part of its work (stage decide): what "
        "that concerns is in its journal, and everything else goes on.",
    ),
    Case(
        alert="ThinPoolCollectorStale",
        severity="warning",
        bad={'thinpool_collector_success{collector="lvm"}': 0},
        enough={'thinpool_collector_success{collector="lvm"}': Brief(0, 15)},
        quiet=14,
        fires=16,
        ends=1,
        of="host",
        labels={"collector": "lvm"},
        summary="A part of a host's figures is old.",
        text="lvm on {host} cannot be read: its last figures stay, and "
        "the guard decides by them.",
    ),
    Case(
        alert="ThinPoolConfigReloadFailed",
        severity="warning",
        bad={"thinpool_exporter_config_last_reload_successful": 0},
        enough={"thinpool_exporter_config_last_reload_successful": Brief(0, 5)},
        quiet=4,
        fires=6,
        ends=1,
        of="host",
        summary="A changed configuration is not in force.",
        text="The configuration on {host} has faults: the old settings stay in force.",
    ),
    Case(
        alert="ThinPoolExporterDown",
        severity="warning",
        bad={"up": 0},
        enough={"up": Brief(0, 10)},
        quiet=9,
        fires=11,
        ends=1,
        of="host",
        outlives_missed=False,  # it is what tells of scrapes that are missed
        summary="The exporter of a host cannot be scraped.",
        text="Nothing is known of the thin pools on {host}. Its guard may "
        "be at work all the same.",
    ),
)
