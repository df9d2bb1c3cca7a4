"""promtool's tests of rules, written from what a case says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.prometheus import need

RULES = Path(__file__).parents[2] / "rules"
FILES = tuple(str(RULES / name) for name in ("recording.yaml", "alerts.yaml"))


def run(directory: Path, tests: Sequence[Mapping[str, object]]) -> tuple[int, str]:
    """Run tests on all rules; returns the exit status and what promtool said."""
    path = directory / "test.yaml"
    content = {"rule_files": FILES, "evaluation_interval": "1m", "tests": tests}
    path.write_text(json.dumps(content))  # which is YAML as well
    done = subprocess.run(
        [need("promtool"), "test", "rules", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout
