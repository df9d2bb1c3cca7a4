"""Which versions the rules were tested with."""

from __future__ import annotations

import subprocess

import pytest

from tests.rules.promtool import promtools


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name them, and say how to test with Prometheus 3 if that was left out."""
    try:
        found = promtools()
    except pytest.skip.Exception:
        return  # each test has said that it needs one
    versions = [subprocess.check_output((path, "--version"), text=True) for path in found]
    words = (version.split()[2] for version in versions)
    terminalreporter.write_line(f"TESTED WITH promtool {', '.join(words)}")
    if len(found) == 1:
        terminalreporter.write_line("LEFT OUT: Prometheus 3; make prometheus-next")
