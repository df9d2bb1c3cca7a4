"""Every benchmark: `python -m tests.bench`; those of a real host run in the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench.host import yardstick_seconds
from tests.vm import payload, scenarios
from tests.vm.image import cached_image, missing_tools
from tests.vm.machine import Machine

HERE = Path(__file__).resolve().parent
GUEST_SCRIPT = "/root/host.py"


def main() -> int:
    """Run them one after the other: two at a time would measure each other."""
    say("== a scrape, with 100 pools and 1,000 thin volumes")
    if run("scrape.py"):
        say("the goal of 10 ms is missed here")
    say("== idle with one pool, on the simulated host (whose cost is included)")
    run("idle.py")
    if missing := missing_tools():
        say(f"LEFT OUT: what needs the machine, for want of {', '.join(missing)}")
        return 1
    say("== a real host: Docker on one pool of the article's layout (emulated CPU)")
    with Machine(cached_image("bookworm")) as machine:
        payload.install(machine)
        scenarios.mask_dmeventd(machine)
        scenarios.article_pool(machine)
        scenarios.stop_dmeventd(machine)
        scenarios.docker_direct_lvm(machine)
        machine.put(HERE / "host.py", GUEST_SCRIPT)
        result = machine.run(
            (f"{payload.PREFIX}/bin/python", GUEST_SCRIPT), timeout_seconds=600
        )
        say(result.stdout)
    say(f"yardstick here:   {yardstick_seconds():.3f} s")
    return 0


def run(script: str) -> int:
    """Run a benchmark in a process of its own; returns its exit status."""
    return subprocess.run((sys.executable, HERE / script), check=False).returncode


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
