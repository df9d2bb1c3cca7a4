"""The guard's report → what it may do, what it decided and what it did."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from math import isinf

from prometheus_client.core import HistogramMetricFamily, Metric

from exporter.collectors.families import (
    POOL,
    Labels,
    Row,
    counters,
    first_of_each,
    gauges,
    present,
)
from exporter.model import (
    Device,
    DeviceCounters,
    Failure,
    Filling,
    GuardReport,
    Histogram,
    NextStep,
    PoolGuard,
    ProcessFigures,
    Snapshot,
    Stage,
)
from exporter.staleness import SILENT_GUARD_SECONDS

DEVICE = (*POOL, "device")
SINCE_START = ", since the guard started."
SILENT = f"the guard has completed no cycle for {SILENT_GUARD_SECONDS:.0f} s"

Guards = dict[Labels, PoolGuard]

MODE: tuple[Row[PoolGuard], ...] = (
    Row(
        "thinpool_guard_mode",
        "Always 1. The mode label says what the guard may do to the pool: auto (act where no "
        "live dmeventd does), always, observe (decide, never act) or off. "
        f"Absent if {SILENT}.",
        present,
    ),
)
STATE: tuple[Row[PoolGuard], ...] = (
    Row(
        "thinpool_guard_state",
        "Always 1. The reason label says why the guard's last decision was to act on the "
        f"pool, or not to. Absent if {SILENT}.",
        present,
    ),
)
POOL_GAUGES: tuple[Row[PoolGuard], ...] = (
    Row(
        "thinpool_guard_responsible",
        "1 if the guard is what extends this pool, 0 if dmeventd is or nothing is, or if "
        f"{SILENT}.",
        lambda guard: guard.is_responsible,
    ),
    Row(
        "thinpool_guard_taken_over",
        "1 while the guard extends this pool although dmeventd monitors it, because dmeventd "
        "left it above its threshold.",
        lambda guard: guard.is_taken_over,
    ),
    Row(
        "thinpool_guard_last_extend_timestamp_seconds",
        "Time of the guard's last extension of the pool, in seconds since the epoch; absent "
        "before the first.",
        lambda guard: guard.last_extend_at,
    ),
    Row(
        "thinpool_guard_queue_seconds_left",
        "Seconds at most until the kernel fails the writes that wait because the pool is full "
        "(no_space_timeout of dm_thin_pool); absent unless writes wait.",
        lambda guard: guard.queue_seconds_left,
    ),
)
POOL_COUNTERS: tuple[Row[PoolGuard], ...] = (
    Row(
        "thinpool_guard_clamped_extends_total",
        "Extensions that gave less than the policy asked for, because the VG, the reserve or "
        "max_size allowed no more" + SINCE_START,
        lambda guard: guard.clamped_extends,
    ),
    Row(
        "thinpool_guard_anticipated_extends_total",
        "Extensions made before the threshold, because the pool filled so fast that it would "
        "have been full before the guard's next look" + SINCE_START,
        lambda guard: guard.anticipated_extends,
    ),
    Row(
        "thinpool_guard_takeovers_total",
        "Times that the guard extended a pool in the place of a dmeventd that monitors it "
        "but left it over its threshold" + SINCE_START,
        lambda guard: guard.takeovers,
    ),
    Row(
        "thinpool_guard_unarchived_extends_total",
        "Extensions before which LVM could not write a copy of the VG's metadata; vgcfgbackup "
        "writes one of the present state" + SINCE_START,
        lambda guard: guard.unarchived_extends,
    ),
)
ATTAINABLE: tuple[Row[int], ...] = (
    Row(
        "thinpool_attainable_bytes",
        "Size in bytes that the device can reach with all that its VG can give it, within "
        "reserve and max_size. Each device is counted as if nothing else took of the VG.",
        float,
    ),
)
FILLING_GAUGES: tuple[Row[Filling], ...] = (
    Row(
        "thinpool_fill_bytes_per_second",
        "Bytes per second that the device gains, less what is freed, from the kernel's counts "
        "of the last minute; a burst shows at once. Absent while it gains nothing, "
        f"and if {SILENT}.",
        lambda filling: filling.bytes_per_second,
    ),
    Row(
        "thinpool_seconds_until_full",
        "Seconds until the device is full at thinpool_fill_bytes_per_second if nothing extends "
        f"it. Absent while it gains nothing, and if {SILENT}.",
        lambda filling: filling.seconds_until_full,
    ),
)
STEP_GAUGES: tuple[Row[NextStep], ...] = (
    Row(
        "thinpool_next_extend_bytes",
        "Bytes that the autoextend policy will ask for when the device next crosses its "
        "threshold; from the policy and the present size.",
        lambda step: step.wanted_bytes,
    ),
    Row(
        "thinpool_next_extend_possible_bytes",
        "Bytes of that extension that the VG could give now; less than "
        "thinpool_next_extend_bytes means that the policy cannot be followed.",
        lambda step: step.possible_bytes,
    ),
)
DEVICE_COUNTERS: tuple[Row[DeviceCounters], ...] = (
    Row(
        "thinpool_guard_extends_total",
        "Extensions of the device by the guard that took effect" + SINCE_START,
        lambda done: done.extends,
    ),
    Row(
        "thinpool_guard_extended_bytes_total",
        "Bytes that the guard added to the device, as the kernel confirmed" + SINCE_START,
        lambda done: done.extended_bytes,
    ),
)
FAILURES: tuple[Row[int], ...] = (
    Row(
        "thinpool_guard_extend_failures_total",
        "Extensions of the device that failed, by reason: refused by lvextend, ineffective "
        "(the kernel's size did not change), stuck, unreadable afterwards, or internal_error "
        "(an exception in the guard)" + SINCE_START,
        float,
    ),
)
ERRORS: tuple[Row[int], ...] = (
    Row(
        "thinpool_guard_errors_total",
        "Exceptions that the guard caught, by the stage of its work, since it started. Each "
        "one concerns a single pool, device, volume group, source, hook or thread: the others "
        "went on.",
        float,
    ),
)
REPORT: tuple[Row[GuardReport], ...] = (
    Row(
        "thinpool_guard_last_cycle_timestamp_seconds",
        "Time of the guard's last complete look at all pools, in seconds since the epoch.",
        lambda report: report.last_cycle_at,
    ),
)
PROCESS: tuple[Row[ProcessFigures], ...] = (
    Row(
        "thinpool_guard_process_resident_memory_bytes",
        "Resident memory of the guard's process in bytes.",
        lambda process: process.resident_bytes,
    ),
    Row(
        "thinpool_guard_process_virtual_memory_bytes",
        "Virtual memory of the guard's process in bytes.",
        lambda process: process.virtual_bytes,
    ),
    Row(
        "thinpool_guard_process_start_time_seconds",
        "Start of the guard's process, in seconds since the epoch.",
        lambda process: process.started_at,
    ),
    Row(
        "thinpool_guard_process_open_fds",
        "Open file descriptors of the guard's process.",
        lambda process: process.open_files,
    ),
    Row(
        "thinpool_guard_process_max_fds",
        "Most file descriptors that the guard's process may open.",
        lambda process: process.max_files,
    ),
)
PROCESS_COUNTERS: tuple[Row[ProcessFigures], ...] = (
    Row(
        "thinpool_guard_process_cpu_seconds_total",
        "Processor time of the guard's process in seconds, without that of its commands.",
        lambda process: process.cpu_seconds,
    ),
)
MEMORY: tuple[Row[bool], ...] = (
    Row(
        "thinpool_guard_memory_locked",
        "1 if the guard's memory is locked, so that a host without memory cannot stall an "
        "extension, else 0. Absent if the guard may not extend.",
        float,
    ),
)
HOOK_CALLS: tuple[Row[int], ...] = (
    Row(
        "thinpool_hook_calls_total",
        "Calls of the configured hook, by outcome: done (exit status 0) or failed"
        + SINCE_START,
        float,
    ),
)
DURATION = "thinpool_guard_extend_duration_seconds"
DURATION_HELP = "Time that lvextend took, start to end, in seconds" + SINCE_START


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Describe the guard; nothing where none runs."""
    if snapshot.guard is None:
        return
    guards = first_of_each(
        (_labels(label), guard) for label, guard in snapshot.guard.pools.items()
    )
    yield from _states(guards)
    yield from gauges(FILLING_GAUGES, _by_filling(guards), DEVICE)
    yield from gauges(STEP_GAUGES, _by_step(guards), DEVICE)
    yield from gauges(ATTAINABLE, _by_attainable(guards), DEVICE)
    yield from _counts(guards)
    yield from counters(ERRORS, _by_stage(snapshot.guard), ("stage",))
    yield from gauges(REPORT, {(): snapshot.guard}, ())
    yield from _of_the_process(snapshot.guard)
    yield _durations(snapshot.guard.extend_durations)


def _labels(label: str) -> Labels:
    """Take `vg/pool` apart; a device-mapper name alone has no VG, and never a slash."""
    vg_name, _, name = label.rpartition("/")
    return vg_name, name


def _states(guards: Guards) -> Iterator[Metric]:
    modes = {(*labels, guard.mode.value): guard for labels, guard in guards.items()}
    reasons = {(*labels, guard.reason.value): guard for labels, guard in guards.items()}
    yield from gauges(MODE, modes, (*POOL, "mode"))
    yield from gauges(STATE, reasons, (*POOL, "reason"))
    yield from gauges(POOL_GAUGES, guards)


def _counts(guards: Guards) -> Iterator[Metric]:
    devices = _by_device(guards)
    yield from counters(DEVICE_COUNTERS, devices, DEVICE)
    yield from counters(FAILURES, _by_failure(devices), (*DEVICE, "reason"))
    yield from counters(POOL_COUNTERS, guards)


def _by_step(guards: Guards) -> dict[Labels, NextStep]:
    return first_of_each(
        ((*labels, step.device.value), step)
        for labels, guard in guards.items()
        for step in guard.steps
    )


def _by_attainable(guards: Guards) -> dict[Labels, int]:
    return {
        (*labels, device.value): size
        for labels, guard in guards.items()
        for device, size in guard.attainable_bytes.items()
    }


def _by_filling(guards: Guards) -> dict[Labels, Filling]:
    return {
        (*labels, device.value): filling
        for labels, guard in guards.items()
        for device, filling in guard.filling.items()
    }


def _by_device(guards: Guards) -> dict[Labels, DeviceCounters]:
    """Every device of every pool: a counter that appears with its first event hides it."""
    return {
        (*labels, device.value): guard.counters.get(device, DeviceCounters())
        for labels, guard in guards.items()
        for device in Device
    }


def _by_failure(devices: dict[Labels, DeviceCounters]) -> dict[Labels, int]:
    return {
        (*labels, failure.value): done.failures.get(failure, 0)
        for labels, done in devices.items()
        for failure in Failure
    }


def _by_stage(report: GuardReport) -> dict[Labels, int]:
    return {(stage.value,): report.errors.get(stage, 0) for stage in Stage}


def _of_the_process(report: GuardReport) -> Iterator[Metric]:
    process: dict[Labels, ProcessFigures] = {(): report.process} if report.process else {}
    yield from gauges(PROCESS, process, ())
    yield from counters(PROCESS_COUNTERS, process, ())
    locked = report.is_memory_locked
    yield from gauges(MEMORY, {} if locked is None else {(): locked}, ())
    calls: dict[Labels, int] = {
        (outcome,): count for outcome, count in (report.hook_calls or {}).items()
    }
    yield from counters(HOOK_CALLS, calls, ("outcome",))


def _durations(histogram: Histogram) -> Metric:
    bounds = [str(float(bound)) for bound in histogram.bounds if not isinf(bound)]
    # The count of +Inf has no bound beside it.
    buckets = [
        *zip(bounds, accumulate(histogram.counts), strict=False),
        ("+Inf", sum(histogram.counts)),
    ]
    return HistogramMetricFamily(
        DURATION, DURATION_HELP, buckets=buckets, sum_value=histogram.total_seconds
    )
