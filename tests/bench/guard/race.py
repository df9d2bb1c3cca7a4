"""The race, repeated: is a small pool extended in time while a writer fills it.

`python -m tests.bench race` boots a virtual machine, and has dmeventd and the guard take
turns there. In each run one of them protects a fresh pool of 500 MiB (profile 80/20), and
fio writes to a thin volume as fast as the device takes it. With `error`, a full pool fails
the write and the run is lost; with `queue` the write waits, and that wait is measured.

Every run is kept as it ends. If the machine dies, another one is booted and goes on.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.guard import race_table, race_trial
from tests.bench.guard.race_table import DEVICE, Run
from tests.bench.guard.race_trial import Course, Keep, Side
from tests.bench.guard.table import say
from tests.vm.image import cached_image, missing_tools
from tests.vm.machine import Hardware, Machine, MachineError
from tests.vm.recipe import RELEASES
from tests.vm.ssh import GuestCommandError, GuestTimeoutError

ROOT = Path(__file__).resolve().parents[3]
RUNS = 20
DEVICE_RUNS = 3
WRITTEN_MIB = 3072
# A quick SATA disk. Files in this host's memory take several times as much, and would fill
# the pool before anybody's lvextend has started.
DEVICE_MIB = 450
WARM_UP = 0
RUNS_FILE = "runs.jsonl"
DEPTH = 8
BOOTS = 10
# A run that gave no report (ValueError) tells no more than a machine that died.
MACHINE_ERRORS = (
    MachineError,
    GuestTimeoutError,
    GuestCommandError,
    subprocess.SubprocessError,
    OSError,
    ValueError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One run that is to be done."""

    course: Course
    side: Side
    number: int


def measure(arguments: Sequence[str]) -> bool:
    """Run the race as the flags say; whether the guard lost no run."""
    options = parse(arguments)
    if options.report:
        runs = race_table.load(options.report)
    else:
        if missing := missing_tools():
            say(f"LEFT OUT: the machine needs {', '.join(missing)}")
            return False
        runs = _race(options)
    say(race_table.table(runs))
    say(race_table.circumstances(runs))
    guards = [run for run in runs if run.side not in {DEVICE, race_trial.DMEVENTD_SIDE}]
    return not any(run.is_lost for run in guards)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the flags."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench race",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="of each side (%(default)s)")
    parser.add_argument(
        "--sides",
        default="dmeventd,guard",
        help="%(default)s; one that is named twice has twice as many runs",
    )
    parser.add_argument("--guests", default="idle,busy", help="%(default)s")
    parser.add_argument("--when-full", default="error,queue", help="%(default)s")
    parser.add_argument(
        "--mib", type=int, default=WRITTEN_MIB, help="written in each run (%(default)s)"
    )
    parser.add_argument(
        "--depth", type=int, default=DEPTH, help="writes at the same time (%(default)s)"
    )
    parser.add_argument(
        "--device-mib",
        type=int,
        default=DEVICE_MIB,
        help="what the disk takes each second (%(default)s); 0: as much as this host can",
    )
    parser.add_argument("--release", choices=sorted(RELEASES), default="bookworm")
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME:LINE[;LINE…]",
        help="one more side: the guard with these lines added to its unit, as in "
        "`--variant 'plain:Nice=0;CPUWeight=100'`; may be given several times",
    )
    parser.add_argument("--out", type=Path, help="folder of runs.jsonl and journals")
    parser.add_argument(
        "--keep-journals", action="store_true", help="of every run, not of lost ones alone"
    )
    parser.add_argument("--trace", action="store_true", help="keep each pool's time line")
    parser.add_argument("--report", type=Path, help="print the table of this runs.jsonl")
    return parser.parse_args(arguments)


def turns_of(options: argparse.Namespace) -> Iterator[Turn]:
    """Put the runs in order: condition by condition, the device first, the sides in turn."""
    sides = [Side(name=name) for name in options.sides.split(",") if name]
    for variant in options.variant:
        name, _, lines = variant.partition(":")
        sides.append(Side(name=name, lines=tuple(lines.split(";"))))
    for guest, when_full in itertools.product(
        options.guests.split(","), options.when_full.split(",")
    ):
        course = Course(guest=guest, when_full=when_full, mib=options.mib, depth=options.depth)
        yield from _turns_of(course, [Side(name=DEVICE)] * DEVICE_RUNS)
        yield from _turns_of(course, sides * options.runs)


def _turns_of(course: Course, sides: Sequence[Side]) -> Iterator[Turn]:
    """Give each run its number among those of its side."""
    counts: Counter[Side] = Counter()
    for side in sides:
        counts[side] += 1
        yield Turn(course=course, side=side, number=counts[side])


def _race(options: argparse.Namespace) -> list[Run]:
    """Do every turn, in as few boots as possible; returns what was measured."""
    out = options.out or ROOT / "build" / "race" / time.strftime("%Y%m%d-%H%M%S")
    out.mkdir(parents=True, exist_ok=True)
    file = out / RUNS_FILE
    say(f"every run is kept in {file}; the table of it: --report {file}")
    turns = list(turns_of(options))
    for boot in range(1, BOOTS + 1):
        try:
            _do(turns, options, out, boot=boot)
        except MACHINE_ERRORS as error:
            say(f"boot {boot} ends: {error}")
        if not turns:
            break
    else:
        say(f"{len(turns)} runs were not done")
    return race_table.load(file)


def _do(turns: list[Turn], options: argparse.Namespace, out: Path, *, boot: int) -> None:
    """Do turns in one boot, and take each off the list as it ends."""
    keep = Keep(out=out, journals=options.keep_journals, traces=options.trace)
    hardware = Hardware(is_preallocated=True, write_mib_per_second=options.device_mib)
    with Machine(cached_image(options.release), hardware) as machine:
        try:
            race_trial.install(machine)
            say(f"-- boot {boot}, {options.release}: {race_trial.settings(machine)}")
            for turn in _first_of_each_side(turns):
                _run(machine, turn, boot, keep)
            while turns:
                run = _run(machine, turns[0], boot, keep)
                race_table.append(out / RUNS_FILE, run)
                turns.pop(0)
        except MACHINE_ERRORS:
            machine.collect_logs(out / f"boot-{boot}")
            raise


def _first_of_each_side(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Choose runs that are not counted: in them, code is translated that all others run."""
    seen = set()
    for turn in turns:
        if turn.side not in seen:
            seen.add(turn.side)
            yield replace(turn, number=WARM_UP)


def _run(machine: Machine, turn: Turn, boot: int, keep: Keep) -> Run:
    run = race_trial.run(
        machine, turn.course, turn.side, boot=boot, number=turn.number, keep=keep
    )
    say(race_table.account(run))
    return run
