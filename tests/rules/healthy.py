"""The series of one host on which nothing is wrong, and of what may go wrong there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.rules.promtool import selector

GIB = 1024.0**3
MODES = ("rw", "ro", "out_of_data_space", "failed", "inactive", "unknown")
COLLECTORS = ("device_mapper", "lvm", "policy", "docker")


class Ramp(NamedTuple):
    """A value that starts somewhere and gains something each minute."""

    start: float
    gain: float


class Brief(NamedTuple):
    """A value that lasts for so many minutes, and is then as before."""

    value: float
    minutes: int


class Curve(NamedTuple):
    """A value for each minute; None is absent."""

    values: Sequence[float | None]


Value = float | Ramp | Brief | Curve | None  # None: absent
CLOCK = Ramp(0.0, 60.0)


@dataclass(frozen=True)
class Names:
    """The labels of a host and of the pool on it."""

    instance: str = "host:10128"
    vg: str = "docker"
    pool: str = "thinpool"
    job: str = "thinpool"

    @property
    def of_host(self) -> dict[str, str]:
        """Labels of what concerns the host."""
        return {"job": self.job, "instance": self.instance}

    @property
    def of_vg(self) -> dict[str, str]:
        """Labels of what concerns the volume group."""
        return {**self.of_host, "vg": self.vg}

    @property
    def of_pool(self) -> dict[str, str]:
        """Labels of what concerns the pool."""
        return {**self.of_vg, "pool": self.pool}


# A pool of 200 GiB, half full, guarded, with 100 GiB left in its volume group. What is None is
# there only where a test says so.
HOST: Mapping[str, Value] = {
    "up": 1,
    "thinpool_dmeventd_up": 0,
    "thinpool_docker_up": 1,
    'thinpool_docker_info{storage_driver="overlay2"}': 1,
    "thinpool_docker_data_available_bytes": 50 * GIB,
    "thinpool_docker_data_size_bytes": 100 * GIB,
    "thinpool_docker_metadata_available_bytes": GIB / 2,
    "thinpool_docker_metadata_size_bytes": GIB,
    "thinpool_docker_min_free_space_bytes": 10 * GIB,
    **{f'thinpool_collector_success{{collector="{name}"}}': 1 for name in COLLECTORS},
    'thinpool_guard_errors_total{stage="decide"}': 0,
    'thinpool_guard_errors_total{stage="source"}': 0,
    "thinpool_exporter_render_errors_total": 0,
    'thinpool_exporter_build_info{version="0.9.0",python_version="3.11.2"}': None,
    'thinpool_exporter_build_info{version="0.9.1",python_version="3.11.2"}': None,
    "thinpool_exporter_snapshot_success": 1,
    "thinpool_exporter_config_last_reload_successful": 1,
    "thinpool_guard_last_cycle_timestamp_seconds": CLOCK,
    "thinpool_exporter_snapshot_timestamp_seconds": CLOCK,
    "thinpool_guard_memory_locked": 1,
    'thinpool_hook_calls_total{outcome="failed"}': 0,
    'thinpool_hook_calls_total{outcome="done"}': 0,
    "thinpool_docker_deferred_deleted_devices": 0,
    "thinpool_maintenance_end_timestamp_seconds": 0,
}
VG: Mapping[str, Value] = {"thinpool_vg_allocatable_bytes": 100 * GIB}
POOL: Mapping[str, Value] = {
    'thinpool_info{source="lvm"}': 1,
    'thinpool_info{source="lvm",discards="ignore"}': None,
    "thinpool_data_size_bytes": 200 * GIB,
    "thinpool_data_used_bytes": 100 * GIB,
    "thinpool_metadata_size_bytes": 4 * GIB,
    "thinpool_metadata_used_bytes": GIB,
    "thinpool_virtual_size_bytes": 500 * GIB,
    "thinpool_thin_volumes": 7,
    'thinpool_docker_info{storage_driver="devicemapper"}': None,
    'thinpool_storage_root_info{driver="devicemapper"}': None,
    'thinpool_storage_root_info{driver="devmapper"}': None,
    'thinpool_storage_root_info{driver="overlay2"}': None,
    **{f'thinpool_mode{{mode="{mode}"}}': float(mode == "rw") for mode in MODES},
    "thinpool_needs_check": 0,
    "thinpool_suspended": 0,
    "thinpool_metadata_snapshot_held": 0,
    "thinpool_autoextend_threshold_ratio": 0.8,
    "thinpool_metadata_autoextend_threshold_ratio": 0.8,
    "thinpool_autoextend_step_ratio": 0.2,
    "thinpool_profile_missing": 0,
    "thinpool_monitored": 0,
    "thinpool_guard_responsible": 1,
    'thinpool_guard_mode{mode="auto"}': 1,
    'thinpool_guard_mode{mode="observe"}': None,
    'thinpool_guard_state{reason="below_threshold"}': 1,
    **{
        f'thinpool_guard_state{{reason="{reason}"}}': None
        for reason in (
            *("latched_refused", "busy", "extend", "dmeventd_monitors", "not_lvm"),
            *("internal_error", "no_space"),
        )
    },
    "thinpool_guard_taken_over": 0,
    "thinpool_guard_unarchived_extends_total": 0,
    'thinpool_guard_extend_failures_total{device="data",reason="stuck"}': 0,
    'thinpool_guard_extended_bytes_total{device="data"}': None,
    'thinpool_attainable_bytes{device="data"}': None,
    'thinpool_attainable_bytes{device="metadata"}': None,
    'thinpool_fill_bytes_per_second{device="data"}': None,
    'thinpool_next_extend_bytes{device="data"}': 40 * GIB,
    'thinpool_next_extend_possible_bytes{device="data"}': 40 * GIB,
    'thinpool_next_extend_bytes{device="metadata"}': GIB,
    'thinpool_next_extend_possible_bytes{device="metadata"}': GIB,
    "thinpool_loopback": 0,
    "thinpool_loopback_backing_free_bytes": None,
    'thinpool_volume_mapped_bytes{volume="docker-253:0-131-5e5e",container="shop"}': None,
    'thinpool_volume_mapped_bytes{volume="data",container=""}': None,
    "thinpool_loopback_backing_promised_bytes": None,
}
# So many minutes, and what is different in them.
Phase = tuple[int, Mapping[str, Value]]


def timeline(
    names: Names,
    *phases: Phase,
    always: Mapping[str, Value] | None = None,
    missed: Mapping[int, str] | None = None,
) -> dict[str, list[str]]:
    """Write the series of a host and its pool, minute by minute.

    `missed` maps minutes to what a scrape that failed leaves: `stale`, or `_` for nothing.
    """
    lines = {}
    for known, labels in ((HOST, names.of_host), (VG, names.of_vg), (POOL, names.of_pool)):
        for name, value in known.items():
            calm = (always or {}).get(name, value)
            values = _values(name, calm, phases)
            for minute, gap in (missed or {}).items():
                values[minute] = "0" if name == "up" else gap
            if set(values) != {"_"}:
                lines[_series(name, labels)] = values
    return lines


def _series(name: str, labels: Mapping[str, str]) -> str:
    family, _, own = name.rstrip("}").partition("{")
    written = selector(family, labels)
    return f"{written[:-1]},{own}}}" if own else written


def _values(name: str, calm: Value, phases: tuple[Phase, ...]) -> list[str]:
    values: list[str] = []
    for minutes, changes in phases:
        assert set(changes) <= {*HOST, *VG, *POOL}, changes
        start = len(values)
        for minute in range(minutes):
            value = changes.get(name, calm)
            if isinstance(value, Brief):
                value = value.value if minute < value.minutes else calm
            # What is always so goes on from the start; a change begins with its phase.
            since = minute if name in changes and value is not calm else start + minute
            values.append(_at(value, since))
    # A scrape that answers without a series ends it at once.
    return [
        "stale" if value == "_" and before not in {"_", "stale"} else value
        for before, value in zip(["_", *values], values, strict=False)
    ]


def _at(value: Value, minute: int) -> str:
    if value is None:
        return "_"
    if isinstance(value, Ramp):
        return repr(value.start + value.gain * minute)
    if isinstance(value, Curve):
        return _at(value.values[minute], minute)
    assert not isinstance(value, Brief)
    return repr(float(value))
