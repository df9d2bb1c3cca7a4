"""What a process loads, which it keeps for as long as it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("command", ["guard", "web", "run"])
def test_no_process_that_stays_loads_rich(command: str) -> None:
    """As structlog would: 4 MiB in each. `check` can load it all the same."""
    script = (
        f"import sys, exporter.__main__, exporter.cli.{command}\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'rich']\n"
        "import rich.console\n"
    )
    subprocess.run((sys.executable, "-c", script), cwd=REPOSITORY, check=True)
