"""`check`: a report on every pool, for people and for monitoring systems.

What a live guard has published is reported, if it is fresh: that takes no lock of LVM's, and
needs no root. Else root reads the host.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import structlog
from msgspec import structs

from exporter.bulkhead import Bulkheads
from exporter.cli.deadline import in_child, read_within
from exporter.cli.host import CLOCKS, real_host
from exporter.cli.published import is_whole, published_by_guard
from exporter.cli.starting import settings_of
from exporter.config import Settings
from exporter.errors import ExporterError
from exporter.guard.judge import Judge
from exporter.guard.lock import running_guard
from exporter.maintenance import MaintenanceFile
from exporter.model import GuardNote, Snapshot
from exporter.report import Output, Report, print_report
from exporter.service.wiring import programs, rules
from exporter.staleness import as_of, silence_seconds
from exporter.volumes import with_volumes_of

DEMO_SECONDS = 45.0  # after which every pool of the demo shows what it is for


class NothingToReportError(ExporterError):
    """Neither may this user read the host, nor does a live guard publish a Snapshot."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"no guard's Snapshot ({why}): run this as root, or start thinpool-guard.service "
            "and add this user to the group thinpool-snapshot"
        )


def main(options: argparse.Namespace) -> int:
    """Report, and end as monitoring plugins do."""
    settings = settings_of(options)
    report = _demo_report(settings, options) if options.is_demo else _report(settings, options)
    print_report(report, sys.stdout, Output(options.output), is_brief=options.is_brief)
    return report.exit_status


def _report(settings: Settings, options: argparse.Namespace) -> Report:
    is_root = os.geteuid() == 0
    published, why = published_by_guard(options.state, is_root=is_root)
    if published and not options.is_live and (is_whole(published) or not is_root):
        return _report_published(published, options)
    if not is_root and not options.is_live:
        raise NothingToReportError(why)
    note = running_guard(options.state)
    return _report_read(settings, options, note, published if note else None)


def _report_published(snapshot: Snapshot, options: argparse.Namespace) -> Report:
    now = time.time()
    snapshot = MaintenanceFile(options.state).shown_in(snapshot)
    report = Report.of(
        as_of(snapshot, now),
        snapshot.guard.note if snapshot.guard else None,
        _bulkheads(),
        silence_seconds=silence_seconds(snapshot, now),
        labels=options.pools,
    )
    return structs.replace(report, published_seconds_ago=max(0.0, now - snapshot.taken_at))


def _report_read(
    settings: Settings,
    options: argparse.Namespace,
    note: GuardNote | None,
    published: Snapshot | None,
) -> Report:
    """Read the host; a guard that has watched the volumes for longer tells who fills them."""
    silence = silence_seconds(published, time.time()) if published else None

    def read(timeout_seconds: float) -> Snapshot:
        return read_within(
            real_host(settings),
            programs(settings),
            timeout_seconds,
            max_volumes=settings.collect.top_volumes,
        )

    snapshot = in_child(read, options.timeout_seconds)
    if published and silence is None:
        snapshot = with_volumes_of(published, snapshot)
    snapshot = MaintenanceFile(options.state).shown_in(snapshot)
    return _judged(settings, options, snapshot, note, silence)


def _judged(
    settings: Settings,
    options: argparse.Namespace,
    snapshot: Snapshot,
    note: GuardNote | None,
    silence: float | None = None,
) -> Report:
    """Report what a guard by these settings would say of a Snapshot."""
    in_force = rules(settings).as_noted(note) if note else rules(settings)
    return Report.of(
        Judge(in_force, CLOCKS).foresee(snapshot),
        note,
        _bulkheads(),
        silence_seconds=silence,
        labels=options.pools,
    )


def _demo_report(settings: Settings, options: argparse.Namespace) -> Report:
    """Report on the simulated host of `demo`, as nobody guards it."""
    from exporter.simulation import ManualClock  # noqa: PLC0415 - for this alone
    from exporter.simulation.demo import demo_host  # noqa: PLC0415 - same

    clock = ManualClock()
    host = demo_host(clock)
    clock.now += DEMO_SECONDS
    snapshot = read_within(
        host.access(), programs(settings), options.timeout_seconds, watch_seconds=0.0
    )
    return _judged(settings, options, snapshot, None)


def _bulkheads() -> Bulkheads:
    return Bulkheads(structlog.get_logger("exporter"), time.monotonic)
