"""One run of the race: a fresh pool, one side that protects it, and a writer at full speed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.guard import sides
from tests.bench.guard.fio import MIB, Job, Written, argv_fio, parse_report
from tests.bench.guard.race_table import DEVICE, Run
from tests.vm import payload, scenarios, units
from tests.vm.guest import Guest
from tests.vm.machine import Machine
from tests.vm.scenarios import DMEVENTD, Pool

GUARD, DMEVENTD_SIDE = "guard", "dmeventd"
IDLE, BUSY = "idle", "busy"
ERROR, QUEUE = "error", "queue"
# Neither side is to be measured while it starts.
SETTLE_SECONDS = 5.0
READY_SECONDS = 90.0
WRITER_SECONDS = 300.0
SPINNER = ("sh", "-c", "while :; do :; done")
ARCHIVE = "/etc/lvm/archive"
LARGE = "8G"
WRITER = "race-writer"
ROOT = Path(__file__).resolve().parents[3]
CODE = "/root/race"
CODE_FILES = ("tests/bench/guard/race_trace.py",)
TRACER = "tests.bench.guard.race_trace"
TRACED = "/root/race/trace"
DM_NAME = "docker-thinpool-tpool"
_DROP_IN = f"/etc/systemd/system/{units.GUARD}.d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Who protects the pool: dmeventd, or the guard, with lines added to its unit."""

    name: str
    lines: tuple[str, ...] = ()

    @property
    def is_guard(self) -> bool:
        """Whether the guard's unit runs."""
        return self.name not in {DMEVENTD_SIDE, DEVICE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The conditions of a run."""

    guest: str
    when_full: str
    mib: int
    depth: int

    @property
    def pool(self) -> Pool:
        """The pool that is to be filled."""
        return replace(sides.SMALL, error_when_full=self.when_full == ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Where to keep journals and time lines: of lost runs only, or of all."""

    out: Path
    journals: bool = False
    traces: bool = False


def run(
    machine: Machine, course: Course, side: Side, *, boot: int, number: int, keep: Keep
) -> Run:
    """Fill a fresh pool that one side protects, and count what that took."""
    pool = course.pool if side.name != DEVICE else replace(course.pool, data=LARGE)
    since = machine.run("date +%s").stdout.strip()
    stem = f"{course.guest}-{course.when_full}-{side.name}-{boot}-{number}"
    with (
        sides.fresh_pool(machine, pool) as device,
        _protected(machine, side, pool),
        busy(machine, is_busy=course.guest == BUSY),
        _traced(machine, keep.out / f"{stem}.trace" if keep.traces else None),
    ):
        machine.run(f"rm -f {ARCHIVE}/*")
        time.sleep(SETTLE_SECONDS)
        load = os.getloadavg()[0]
        written = _write(machine, Job(device=device, mib=course.mib, depth=course.depth))
        # LVM archives a VG once for each command that changes it.
        extensions = int(machine.run(f"ls {ARCHIVE} | wc -l").stdout)
    journal = keep.out / f"{stem}.journal"
    is_kept = side.is_guard and (written.has_failed or keep.journals)
    if is_kept:
        _keep_journal(machine, journal, since)
    return Run(
        boot=boot,
        guest=course.guest,
        when_full=course.when_full,
        side=side.name,
        number=number,
        mib_per_second=written.mib_per_second,
        written_mib=written.bytes / MIB,
        longest_wait_seconds=written.longest_wait_seconds,
        extensions=extensions,
        error=written.error,
        load=load,
        journal=str(journal) if is_kept else "",
    )


def rest(machine: Machine) -> None:
    """Leave nothing of either side running, and nothing on the disks."""
    machine.run(f"systemctl stop {units.GUARD} {units.WEB}", check=False)
    scenarios.stop_dmeventd(machine)
    sides.wipe(machine)


@contextmanager
def _protected(machine: Machine, side: Side, pool: Pool) -> Iterator[None]:
    """Have one side protect the pool, until the end of the block; alone."""
    if side.name == DEVICE:
        scenarios.mask_dmeventd(machine)
        yield
    elif side.is_guard:
        with without_dmeventd(machine), _guarded(machine, side.lines, pool):
            yield
    else:
        scenarios.start_dmeventd(machine, pool.name)
        try:
            yield
        finally:
            scenarios.mask_dmeventd(machine)


@contextmanager
def without_dmeventd(machine: Machine) -> Iterator[None]:
    """Have no dmeventd on the host until the end of the block."""
    scenarios.without_dmeventd_binary(machine)
    try:
        yield
    finally:
        machine.run(f"test ! -e {DMEVENTD}.absent || mv {DMEVENTD}.absent {DMEVENTD}")


@contextmanager
def _guarded(machine: Machine, lines: Sequence[str], pool: Pool) -> Iterator[None]:
    """Run the units as the package has them, with these lines added to the guard's."""
    machine.run(f"rm -rf {_DROP_IN}; systemctl daemon-reload")
    if lines:
        units.drop_in(machine, units.GUARD, *lines)
    # Returns when both are ready: every source has been read.
    machine.run(f"systemctl start {units.GUARD} {units.WEB}", timeout_seconds=READY_SECONDS)
    try:
        labels = {"vg": pool.vg, "pool": pool.lv}
        guest = Guest(machine, units.WEB)
        guest.wait_for(READY_SECONDS, "thinpool_guard_responsible", 1, **labels)
        yield
    finally:
        machine.run(f"systemctl stop {units.GUARD} {units.WEB}", check=False)


@contextmanager
def busy(machine: Machine, *, is_busy: bool) -> Iterator[None]:
    """Keep every core busy at normal priority, each by a service of its own."""
    with ExitStack() as stack:
        for _ in range(machine.hardware.cpus if is_busy else 0):
            stack.callback(machine.stop, machine.start(SPINNER))
        yield


@contextmanager
def _traced(machine: Machine, file: Path | None) -> Iterator[None]:
    """Watch the pool's use and size until the end of the block, if a file is to have it."""
    if file is None:
        yield
        return
    python = f"{payload.PREFIX}/bin/python"
    unit = machine.start(
        f"exec env PYTHONPATH={CODE} {python} -m {TRACER} {DM_NAME} > {TRACED}"
    )
    try:
        yield
        machine.get(TRACED, file)
    finally:
        machine.stop(unit)


def _write(machine: Machine, job: Job) -> Written:
    """Write at full speed, in a service of its own as any program on a server is."""
    options = ("--quiet", "--collect", "--wait", "--pipe", f"--unit={WRITER}")
    argv = ("systemd-run", *options, *argv_fio(job))
    result = machine.run(argv, timeout_seconds=WRITER_SECONDS, check=False)
    return parse_report(result.stdout)


def _keep_journal(machine: Machine, file: Path, since: str) -> None:
    """Keep what the guard, the writer, systemd and the kernel said in this run."""
    line = f"journalctl --no-pager -o short-monotonic --since @{since}"
    file.write_text(machine.run(line).stdout)


def settings(machine: Machine) -> str:
    """Read the scheduling settings that systemd has in force for the guard."""
    names = ("Nice", "CPUWeight", "IOWeight", "IOSchedulingClass", "CPUSchedulingPolicy")
    argv = ("systemctl", "show", units.GUARD, *(f"--property={name}" for name in names))
    return " ".join(machine.run(argv).stdout.split())


def install(machine: Machine) -> None:
    """Install the present tree's package; its units are not started."""
    payload.install(machine)
    for name in CODE_FILES:
        machine.write(f"{CODE}/{name}", (ROOT / name).read_text())
    rest(machine)
    scenarios.mask_dmeventd(machine)
