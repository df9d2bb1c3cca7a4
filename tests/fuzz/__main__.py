"""Fuzz the parsers one after another, from what real programs have printed.

`python -m tests.fuzz [NAME…]`; THINPOOL_FUZZ_SECONDS is the time for each. What is found
lies in DIRECTORY/findings/NAME; whoever mends it moves it to tests/recordings/fuzz/NAME.
Ends with 1 if anything was found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS, findings

SECONDS = float(os.environ.get("THINPOOL_FUZZ_SECONDS", "60"))
DIRECTORY = Path(os.environ.get("THINPOOL_FUZZ_DIRECTORY", "build/fuzz"))
MAX_INPUT_BYTES = 65536
SLOWEST_SECONDS = 10
MAX_MEMORY_MIB = 1024
MAX_FINDINGS = 20  # of one parser: more are the same again


def main() -> int:
    """Fuzz those that are named, or all."""
    names = sys.argv[1:] or list(TARGETS)
    found = [path for name in names for path in fuzz(name)]
    for path in found:
        sys.stdout.write(f"FOUND {path}\n")
    return 1 if found else 0


def fuzz(name: str) -> list[Path]:
    """Give one parser its time, and begin anew after each finding."""
    corpus, kept = DIRECTORY / "corpus" / name, DIRECTORY / "findings" / name
    corpus.mkdir(parents=True, exist_ok=True)
    kept.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    for path in findings(name):
        shutil.copy(path, corpus / f"finding-{path.name}")
    before = set(kept.iterdir())
    ends_at = time.monotonic() + SECONDS
    with (DIRECTORY / f"{name}.log").open("ab") as log:
        while (left := ends_at - time.monotonic()) >= 1:
            argv = argv_fuzzer(name, corpus, kept, seconds=left)
            subprocess.run(argv, stdout=log, stderr=log, check=False)
            if len(set(kept.iterdir()) - before) >= MAX_FINDINGS:
                break
    found = sorted(set(kept.iterdir()) - before)
    inputs = len(list(corpus.iterdir()))
    sys.stdout.write(f"{name}: {len(found)} found, {inputs} inputs\n")
    sys.stdout.flush()
    return found


def argv_fuzzer(name: str, corpus: Path, kept: Path, *, seconds: float) -> list[str]:
    """Start a fuzzer of its own for each finding: it ends with one."""
    return [
        *(sys.executable, "-m", "tests.fuzz.one", name, str(corpus)),
        f"-artifact_prefix={kept}/",
        f"-max_total_time={max(1, round(seconds))}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-timeout={SLOWEST_SECONDS}",
        f"-rss_limit_mb={MAX_MEMORY_MIB}",
        "-print_final_stats=1",
    ]


if __name__ == "__main__":
    sys.exit(main())
