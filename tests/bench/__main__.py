"""Every benchmark: `python -m tests.bench`; those of a real host run in the machine.

`python -m tests.bench guard` runs those of the guard beside dmeventd alone, and
`python -m tests.bench guard FIGURE…` some of these (tests/bench/guard/figures.py).
`python -m tests.bench fleet` measures what a fleet asks of one Prometheus.
`python -m tests.bench rules OLD` weighs the rules beside earlier ones.
`python -m tests.bench abuse` measures scrapes under abuse beside other exporters, and
`python -m tests.bench start` how long the program takes to begin and to end; `python -m
tests.bench units` does that, and weighs both processes, under the units in the machine.
`python -m tests.bench volumes` times a reading of a thousand thin volumes.
`python -m tests.bench udev` times lvextend with and without waiting for udev.
`python -m tests.bench race` counts how often a writer at full speed fills a small pool before
it is extended, by dmeventd or by the guard; `race --help` tells its flags.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench import start, units
from tests.bench.abuse import abuse
from tests.bench.fleet import cost, fleet
from tests.bench.guard import figures, race, udev
from tests.bench.guard.table import table
from tests.bench.host import yardstick_seconds
from tests.bench.volumes import volumes
from tests.vm import payload, scenarios
from tests.vm.image import cached_image, missing_tools
from tests.vm.machine import Machine

HERE = Path(__file__).resolve().parent
GUEST_SCRIPT = "/root/host.py"
# What is measured alone; each says whether it keeps to its goals.
ALONE: dict[str, Callable[[], bool]] = {
    "abuse": abuse.measure,
    "fleet": fleet.measure,
    "start": start.measure,
    "udev": udev.measure,
    "units": units.measure,
    "volumes": volumes.measure,
}


def main() -> int:
    """Run what is asked for one after the other: two at a time would measure each other."""
    what, *names = sys.argv[1:] or ("all",)
    if what == "race":
        return 0 if race.measure(names) else 1
    if what == "rules":
        return 0 if cost.measure(names) else 1
    if what in ALONE and not names:
        return 0 if ALONE[what]() else 1
    if unknown := set(names) - figures.FIGURES.keys() or {what} - {"all", "guard"}:
        say(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(figures.FIGURES)}")
        return 2
    if what == "all":
        measure_exporter_alone()
    if not names:
        measure_guard_alone()
    if missing := missing_tools():
        say(f"LEFT OUT: what needs the machine, for want of {', '.join(missing)}")
        return 1
    if what == "all":
        measure_real_host()
    say("== the guard beside dmeventd (emulated CPU: ratios hold, absolute times do not)")
    say(table(figures.measure(names)))
    return 0


def measure_exporter_alone() -> None:
    """Measure what needs no machine."""
    say("== a scrape, with 100 pools and 1,000 thin volumes")
    if run("scrape.py"):
        say("the goal of 10 ms is missed here")
    say("== idle with one pool, on the simulated host, which costs next to nothing")
    run("idle.py")


def measure_guard_alone() -> None:
    """Measure what of the guard needs no machine."""
    say("== idle with 100 pools, on the simulated host, which costs next to nothing")
    run("idle.py", "--pools", "100")
    say("== a decision, with 100 pools on the simulated host")
    if run("guard/decision.py"):
        say("the goal of 10 ms is missed here")


def measure_real_host() -> None:
    """Measure the program on a host with Docker on one pool of the article's layout."""
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


def run(script: str, *flags: str) -> int:
    """Run a benchmark in a process of its own; returns its exit status."""
    return subprocess.run((sys.executable, HERE / script, *flags), check=False).returncode


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
