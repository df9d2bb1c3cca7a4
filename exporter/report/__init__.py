"""`check`: a Snapshot in, what a person needs to know and to type out. Reads nothing itself."""

from exporter.report.finding import Severity
from exporter.report.output import print_report
from exporter.report.report import Report

__all__ = ["Report", "Severity", "print_report"]
