"""Runs commands by an lvm that was started ahead, and plainly: `python standby_guest.py POOL`.

Runs in the guest, on the environment of the installed program. Each command runs both ways,
on a pool that neither changes, and once each on one that both do. Prints JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from exporter.command import HostRunner
from exporter.manner import ENVIRONMENT

LVM = "/sbin/lvm"
DEADLINE_SECONDS = 60.0
LOCAL_CONFIG = Path("/etc/lvm/lvmlocal.conf")
NEW_ARCHIVE = Path("/root/archive")


def main() -> None:
    """Try what changes nothing both ways, then let either extend the pool."""
    pool = sys.argv[1]
    unchanging = (
        ("lvextend", "-l", "1", pool),
        ("lvextend", "-l", "999999", "--poolmetadatasize", "8388608b", pool),
        ("lvextend", "-l", "5", "nowhere/pool"),
        ("lvextend", "--nonsense", pool),
        ("nonsense",),
    )
    answers = {
        " ".join(words): {
            way: run(words, is_ready=way == "ready") for way in ("plain", "ready")
        }
        for words in unchanging
    }
    size = extents(pool)
    grown = {}
    for number, way in enumerate(("plain", "ready"), start=1):
        words = ("lvextend", "-l", str(size + number), pool)
        grown[way] = run(words, is_ready=way == "ready")[0], extents(pool) - size - number
    # Changed after lvm has started: it must go by what holds when it is told to work.
    with_new = run(("lvextend", "-l", str(size + 3), pool), is_ready=True, configure=True)
    archived = [path.name for path in NEW_ARCHIVE.glob("*.vg")]
    report = {"answers": answers, "grown": grown, "with_new": with_new, "archived": archived}
    sys.stdout.write(json.dumps(report))


def run(
    words: tuple[str, ...], *, is_ready: bool, configure: bool = False
) -> tuple[int, str, str]:
    """Run one command; exit status, stdout, stderr."""
    runner = HostRunner()
    if is_ready:
        runner.keep_ready(LVM, environment=ENVIRONMENT)
    if configure:
        LOCAL_CONFIG.write_text(f'backup {{ archive_dir = "{NEW_ARCHIVE}" }}\n')
    output = runner.start((LVM, *words), environment=ENVIRONMENT).wait(DEADLINE_SECONDS)
    runner.close()
    if output is None:
        raise SystemExit(f"{words} has not ended")
    return output.status, output.stdout, output.stderr


def extents(pool: str) -> int:
    """Read the size of a pool in extents."""
    argv = ("lvs", "--noheadings", "--units", "b", "--nosuffix", "-o", "lv_size,vg_extent_size")
    text = subprocess.run((*argv, pool), capture_output=True, text=True, check=True).stdout
    size, extent = map(int, text.split())
    return size // extent


if __name__ == "__main__":
    main()
