"""What the guard does on its way to lvextend: nothing that can wait for a disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# In a process of its own, where nothing has been imported that the program does not import.
SCRIPT = """
import json, os, sys, tempfile, threading
import exporter.cli.guard, exporter.__main__  # what a guard has imported when it starts
from tests.fakes import docker_host
from exporter.simulation import SimulatedHost

seen, is_watching = [], False
EVENTS = {"open", "import", "os.listdir", "os.scandir", "socket.connect"}
EVENTS |= {"_thread.start_new_thread", "subprocess.Popen", "os.fork"}

def watch(event, arguments):
    if is_watching and event in EVENTS:
        seen.append([event, repr(arguments[0])])

class Host(SimulatedHost):
    def start(self, argv, *, environment):
        global is_watching
        is_watching = False
        return super().start(argv, environment=environment)

guarded = docker_host(kind=Host)
guarded.cycle(3)
sys.addaudithook(watch)
if len(sys.argv) > 1:  # shows that the hook sees what it is to see
    guarded.extender.has_stale_hints = lambda *_: open(os.devnull).close()
guarded.host.fill("docker/thinpool", int(500 * 16 * 0.81))
is_watching = True
guarded.cycle()
assert not is_watching, "no lvextend has been started"
print(json.dumps(seen))
"""


def seen(*flags: str) -> list[list[str]]:
    """Let a guard cross a threshold for the first time; what was opened and imported."""
    output = subprocess.run(
        (sys.executable, "-c", SCRIPT, *flags),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    events: list[list[str]] = json.loads(output.stdout)
    return events


def test_nothing_is_opened_or_imported_before_lvextend() -> None:
    """At the first crossing after the start, in the loop as in the worker."""
    assert seen() == []


def test_the_watch_would_see_it() -> None:
    """A choice of lvextend's options that looks into a file is such a thing."""
    assert ["open", "'/dev/null'"] in seen("--look-into-a-file")
