"""The priority of a process that becomes the guard, and of what it starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PRIORITY = """
import os, sys, threading
from exporter.command import HostRunner
from exporter.service.protection import raise_priority
class Log:
    lines = []
    def warning(self, event, **fields):
        self.lines.append(event)
chosen, niceness = map(int, sys.argv[1:])
os.setpriority(os.PRIO_PROCESS, 0, chosen)
if os.geteuid() == 0 and niceness < 0:
    os.setuid(65534)
go, seen, log = threading.Event(), [], Log()
def earlier():
    go.wait()
    seen.append(os.getpriority(os.PRIO_PROCESS, 0))
thread = threading.Thread(target=earlier)
thread.start()
raise_priority(log, niceness)
go.set()
thread.join()
look = ("/bin/sh", "-c", "cut -d' ' -f19 /proc/self/stat")
seen.append(int(HostRunner().run(look, deadline_seconds=30).stdout))
print(seen, log.lines)
"""


def priorities(chosen: int, niceness: int) -> str:
    """Ask for a niceness; returns a thread's and a child's, and what was logged.

    What can be tried without rights goes the other way: from 0 up. Nobody may go down.
    """
    argv = (sys.executable, "-c", PRIORITY, str(chosen), str(niceness))
    ended = subprocess.run(
        argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    if "Permission denied" in ended.stderr:
        pytest.skip("needs CAP_SYS_NICE where the tests themselves are nice")
    return ended.stdout.strip()


def test_threads_and_children_get_the_priority() -> None:
    """Also the threads that run already: Linux keeps a niceness for each."""
    assert priorities(0, 5) == "[5, 5] []"


def test_a_chosen_niceness_is_kept() -> None:
    """As systemd sets it from the unit, or an administrator by nice(1)."""
    assert priorities(3, 5) == "[3, 3] []"


def test_a_refusal_is_logged() -> None:
    """Without rights the guard goes on as it is."""
    assert priorities(0, -15) == "[0, 0] ['priority_not_raised']"
