"""`check`: a person's report on every pool."""

from __future__ import annotations

import argparse
import sys

from exporter.cli.host import CLOCKS, collect_once
from exporter.cli.starting import settings_of
from exporter.guard.judge import Judge
from exporter.guard.lock import running_guard
from exporter.report import Report, print_report
from exporter.service.wiring import rules


def main(options: argparse.Namespace) -> int:
    """Report, and end as monitoring plugins do."""
    settings = settings_of(options)
    snapshot = collect_once(settings)
    note = running_guard(options.state)
    in_force = rules(settings).as_noted(note) if note else rules(settings)
    report = Report.of(Judge(in_force, CLOCKS).foresee(snapshot), note)
    print_report(report, sys.stdout)
    return report.exit_status
