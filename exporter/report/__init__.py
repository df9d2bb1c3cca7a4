"""For `check` and the status page: a Snapshot in, what a person needs to know out.

Reads nothing itself.
"""

from exporter.report.figures import Figure
from exporter.report.finding import Finding, Line, Severity, Style, urgency, worst
from exporter.report.lines import lines_of
from exporter.report.output import Output, print_failure, print_report
from exporter.report.pool import PoolReport
from exporter.report.report import HostReport, Report

__all__ = [
    "Figure",
    "Finding",
    "HostReport",
    "Line",
    "Output",
    "PoolReport",
    "Report",
    "Severity",
    "Style",
    "lines_of",
    "print_failure",
    "print_report",
    "urgency",
    "worst",
]
