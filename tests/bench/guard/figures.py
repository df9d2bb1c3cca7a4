"""Every figure of the guard's by its name, as the command line takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tests.bench.guard import both, burst, idle, metadata, rate, reaction, stall
from tests.bench.guard.table import Row, say, table
from tests.vm import payload, scenarios
from tests.vm.image import cached_image
from tests.vm.machine import Hardware, Machine

# In this order: those at the end take snapshots, after which disks are slower.
FIGURES: dict[str, Callable[[Machine], list[Row]]] = {
    "rate": rate.measure,
    "stall": stall.measure,
    "burst": burst.measure,
    "reaction-data": partial(reaction.measure, kind="data"),
    "reaction-metadata": partial(reaction.measure, kind="metadata"),
    "both": both.measure,
    "idle": idle.measure,
    "metadata-4k": partial(metadata.measure, block="4k"),
    "metadata-64k": partial(metadata.measure, block="64k"),
}


def measure(names: Sequence[str]) -> list[Row]:
    """Measure these figures, or all, in one boot."""
    chosen = [name for name in FIGURES if name in names or not names]
    rows: list[Row] = []
    with Machine(cached_image("bookworm"), Hardware(is_preallocated=True)) as machine:
        payload.install(machine)
        scenarios.mask_dmeventd(machine)
        for name in chosen:
            say(f"-- {name}")
            rows += FIGURES[name](machine)
            say(table(rows[-2:]))
    return rows
