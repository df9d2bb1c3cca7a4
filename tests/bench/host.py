"""What the exporter costs on a real host: `python host.py` as root, where it is installed.

First one collection against the bare commands that it runs, in turn; then `run` with
default intervals: its memory, and its own share of one core without its children.
A loop of Python's is timed as well: it tells how much slower an emulated CPU is.
Needs nothing but the installed program, so that it can be copied to any host.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from exporter.collection import Collection, HostAccess, Programs
from exporter.command import HostRunner, Output, child_environment
from exporter.devmapper import IoctlKernel
from exporter.model import Collector
from exporter.sources import dmeventd, loop

ADDRESS = "127.0.0.1:10129"
TICKS = os.sysconf("SC_CLK_TCK")
YARDSTICK_ROUNDS = 2_000_000


class Recorder(HostRunner):
    """Runs commands as the program does, and remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[Sequence[str]] = []

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        self.commands.append(argv)
        return super().run(argv, deadline_seconds=deadline_seconds)


def main() -> int:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    measure_collection(options.rounds)
    measure_run(options.seconds)
    say(f"yardstick:        {yardstick_seconds():.3f} s")
    return 0


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def measure_collection(rounds: int) -> None:
    """Time a collection of everything and its bare commands, one after the other."""
    recorder = Recorder()
    collection = Collection(
        HostAccess(
            runner=recorder,
            kernel=IoctlKernel(),
            loop_backing=loop.LoopFiles().read,
            dmeventd=dmeventd.read,
        ),
        Programs(
            lvm="/sbin/lvm",
            docker="/usr/bin/docker",
            lvm_deadline_seconds=30,
            docker_deadline_seconds=10,
        ),
        wall_clock=time.time,
        clock=time.monotonic,
    )
    for name in Collector:
        collection.refresh(name)
    commands = tuple(recorder.commands)
    bare, whole = [], []
    for _ in range(rounds):
        bare.append(timed(lambda: run_bare(commands)))
        whole.append(timed(lambda: collect(collection)))
    ours, theirs = statistics.median(whole), statistics.median(bare)
    say(f"{len(commands)} commands bare:  median {theirs:.3f} s (min {min(bare):.3f})")
    say(f"one collection:   median {ours:.3f} s (min {min(whole):.3f})")
    say(f"ratio:            {ours / theirs:.3f} (min/min {min(whole) / min(bare):.3f})")


def collect(collection: Collection) -> None:
    """Read everything and merge it."""
    collection.refresh_all()
    collection.snapshot()


def timed(work: Callable[[], object]) -> float:
    """Time one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def run_bare(commands: Sequence[Sequence[str]]) -> None:
    """Run the commands as a shell loop would, and throw their output away."""
    environment = child_environment()
    for argv in commands:
        subprocess.run(argv, env=environment, capture_output=True, check=False)


def measure_run(seconds: int) -> None:
    """Let `run` work for a while and read its own figures from /proc."""
    with tempfile.TemporaryDirectory() as state:
        argv = [
            *(sys.executable, "-m", "exporter", "run"),
            *("--web.listen-address", ADDRESS, "--state.directory", state),
        ]
        process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        try:
            wait_until_ready()
            scrape()
            before, began = own_seconds(process.pid), time.monotonic()
            while time.monotonic() < began + seconds:
                time.sleep(min(15.0, seconds))
                scrape()
            used, took = own_seconds(process.pid) - before, time.monotonic() - began
            say(f"run, {took:.0f} s, scraped every 15 s:")
            say(f"  own CPU:  {100 * used / took:.3f} % of a core")
            say(f"  RSS:      {status_kib(process.pid, 'VmRSS') / 1024:.1f} MiB")
            say(f"  peak RSS: {status_kib(process.pid, 'VmHWM') / 1024:.1f} MiB")
            say(f"  threads:  {status_kib(process.pid, 'Threads')}")
        finally:
            process.terminate()
            process.wait()


def wait_until_ready() -> None:
    """Wait for the first complete Snapshot."""
    ends_at = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://{ADDRESS}/-/ready", timeout=5):
                return
        except OSError:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.2)


def scrape() -> None:
    """Fetch the metrics."""
    with urllib.request.urlopen(f"http://{ADDRESS}/metrics", timeout=10) as page:
        page.read()


def yardstick_seconds() -> float:
    """Time a fixed piece of Python, at its best of three."""
    return min(timed(lambda: sum(range(YARDSTICK_ROUNDS))) for _ in range(3))


def own_seconds(pid: int) -> float:
    """Read a process's CPU time without that of its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def status_kib(pid: int, key: str) -> int:
    """Read one number of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    sys.exit(main())
