"""What the runs of the race gave: kept line by line in a file, and laid out as a table.

A run is one writer at full speed into a small pool that one side has to extend in time.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

DEVICE = "device"
HEADINGS = (
    "guest",
    "when full",
    "side",
    "runs",
    "lost",
    "MiB/s, median (worst)",
    "of the device's own",
    "longest wait of a write, median (worst)",
    "extensions per run",
)
NOTHING = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run. Side `device` is a pool that is large enough from the start."""

    boot: int
    guest: str
    when_full: str
    side: str
    number: int
    mib_per_second: float
    written_mib: float
    longest_wait_seconds: float
    extensions: int
    # The writer's error, as fio names it (28 is ENOSPC); 0 for a run that went well.
    error: int
    # Of this machine, before the writer began; what else it did was a minute ago at most.
    load: float
    # Where the guard's journal of this run is kept; empty if it is not.
    journal: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether the writer got an error."""
        return bool(self.error)


def append(file: Path, run: Run) -> None:
    """Keep a run; what was kept before survives whatever happens next."""
    with file.open("a") as lines:
        lines.write(json.dumps(asdict(run)) + "\n")


def load(file: Path) -> list[Run]:
    """Read every run of a file, which the first run makes."""
    if not file.exists():
        return []
    return [Run(**json.loads(line)) for line in file.read_text().splitlines()]


def account(run: Run) -> str:
    """Tell of one run in one line."""
    outcome = f"LOST (error {run.error}) after {run.written_mib:.0f} MiB" if run.error else "ok"
    return (
        f"{run.guest:4} {run.when_full:5} {run.side:12} {run.number:2}: "
        f"{run.mib_per_second:4.0f} MiB/s, longest wait {run.longest_wait_seconds:.3f} s, "
        f"{run.extensions} extensions, {outcome}"
    )


def table(runs: Iterable[Run]) -> str:
    """Lay the runs out in Markdown: a line for each side in each condition.

    Throughput and waits are those of the runs that were not lost.
    """
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.guest, run.when_full, run.side), []).append(run)
    rows = [
        _row(group, groups.get((guest, when_full, DEVICE), ()))
        for (guest, when_full, _), group in sorted(groups.items(), key=_order)
    ]
    cells = [HEADINGS, tuple("---" for _ in HEADINGS), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def circumstances(runs: Sequence[Run]) -> str:
    """Tell what the figures depend on, and where the journals of lost runs are."""
    if not runs:
        return "no run was done"
    boots, loads = {run.boot for run in runs}, [run.load for run in runs]
    load = f"median {statistics.median(loads):.1f}, highest {max(loads):.1f}"
    lines = [f"{len(boots)} boot(s); load of this machine before a run: {load}"]
    lines += [f"lost: {run.journal}" for run in runs if run.is_lost and run.journal]
    return "\n".join(lines)


def _order(item: tuple[tuple[str, str, str], Sequence[Run]]) -> tuple[bool, str, bool, str]:
    """Sort: an idle guest first, the device first within a condition."""
    (guest, when_full, side), _ = item
    return guest != "idle", when_full, side != DEVICE, side


def _row(group: Sequence[Run], device: Sequence[Run]) -> tuple[str, ...]:
    one = group[0]
    well = [run for run in group if not run.is_lost]
    is_device = one.side == DEVICE
    return (
        one.guest,
        one.when_full,
        "the device's own speed" if is_device else one.side,
        str(len(group)),
        NOTHING if is_device else str(len(group) - len(well)),
        *_throughput(well, device),
        _spread([run.longest_wait_seconds for run in well], max, "{:.3f} s"),
        NOTHING if is_device else _extensions(group),
    )


def _throughput(well: Sequence[Run], device: Sequence[Run]) -> tuple[str, str]:
    speeds = [run.mib_per_second for run in well]
    own = statistics.median(run.mib_per_second for run in device) if device else 0.0
    ratios = [speed / own for speed in speeds] if own else []
    return _spread(speeds, min, "{:.0f}"), _spread(ratios, min, "{:.2f}")


def _spread(
    values: Sequence[float], worst: Callable[[Sequence[float]], float], form: str
) -> str:
    if not values:
        return NOTHING
    return f"{form.format(statistics.median(values))} ({form.format(worst(values))})"


def _extensions(group: Sequence[Run]) -> str:
    counts = [run.extensions for run in group]
    return f"{statistics.median(counts):g} ({min(counts)} to {max(counts)})"
