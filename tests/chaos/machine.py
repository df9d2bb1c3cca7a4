"""Chaos as a state machine: what happens next is drawn, what must hold is checked after it.

Time is real, so a failure that Hypothesis has found may not come again: the message of the
first one has every step with its time.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import structs

from exporter.model import GuardMode
from exporter.simulation.figures import MIB
from tests.chaos import garbage
from tests.chaos.faults import ERRORS, Effect, Fault
from tests.chaos.invariants import STOP_SECONDS, Invariants, explain
from tests.chaos.threads import Threads
from tests.chaos.world import FOREIGN, LABELS, SETTINGS, WATCHED, World
from tests.waiting import wait_for

VGS = ("a", "b")
MAX_POOLS = 9
# Far beyond every bound, each of which fails by itself.
PATIENCE_SECONDS = 30.0
# From the end of all faults until every pool has what it needs.
RECOVERED_SECONDS = 10.0
# What an example does beside its steps takes about as long.
PAUSES = st.sampled_from([0.0, 0.05, 0.15, 0.4])
PLACES = st.integers(0, MAX_POOLS - 1)

_TIMES = st.sampled_from([1, 3, 0])
_FAILS = st.sampled_from(sorted(ERRORS))
_DEVICES = ("", "a-one", "a-two", "b-big", FOREIGN)
_COMMANDS = ("lvs", "vgs", "pvs", "lvmconfig", "version", "docker", "a", "b", "c", "")


def _faults(
    call: str,
    *garbled: str,
    targets: tuple[str, ...] = ("",),
    late_seconds: float = 2.0,
    can_hang: bool = True,
) -> st.SearchStrategy[Fault]:
    """Draw a fault of one call; one that is not `garbled` is never garbage."""
    target = st.sampled_from(targets)
    late = st.sampled_from([0.01, 0.1, late_seconds])
    ways = [
        st.builds(
            Fault,
            call=st.just(call),
            target=target,
            effect=st.just(Effect.FAIL),
            error=_FAILS,
            times=_TIMES,
        ),
        st.builds(
            Fault,
            call=st.just(call),
            target=target,
            effect=st.just(Effect.LATE),
            seconds=late,
            times=_TIMES,
        ),
    ]
    if can_hang:
        hang = st.builds(
            Fault, call=st.just(call), target=target, effect=st.just(Effect.HANG), times=_TIMES
        )
        ways.append(hang)
    if garbled:
        mad = st.builds(
            Fault,
            call=st.just(call),
            target=target,
            effect=st.just(Effect.GARBAGE),
            garbage=st.sampled_from(garbled),
            times=_TIMES,
        )
        ways.append(mad)
    return st.one_of(ways)


KERNEL_FAULTS = st.one_of(
    _faults("kernel.status", *garbage.STATUS, targets=_DEVICES, late_seconds=0.3),
    _faults("kernel.device", *garbage.DEVICE, targets=_DEVICES, late_seconds=0.3),
    _faults("kernel.names", *garbage.NAMES, late_seconds=0.3),
    _faults("kernel.devices", *garbage.DEVICES),
    _faults("kernel.arm", late_seconds=0.3, can_hang=False),
    _faults("kernel.wait", late_seconds=0.3, can_hang=False),
    _faults("kernel.wake", late_seconds=0.3, can_hang=False),
)
BLANK_CHUNKS = tuple(f"{garbage.BLANK_CHUNK}{vg}" for vg in "abc")
COMMAND_FAULTS = st.one_of(
    _faults(
        "runner.run", *garbage.UNREADABLE, *garbage.EMPTY, *BLANK_CHUNKS, targets=_COMMANDS
    ),
    _faults(
        "runner.start", *garbage.RUNNING, targets=("a", "b", "b/big", ""), late_seconds=0.5
    ),
    _faults("runner.keep_ready"),
    _faults("runner.call"),
)
OTHER_FAULTS = st.one_of(
    _faults("loop_backing", "none"),
    _faults("dmeventd", *garbage.DMEVENTD),
    _faults("dmeventd_activity", "odd"),
    _faults("no_space_timeout", *garbage.NUMBER),
    _faults("can_archive", "no"),
    _faults("volume_owners", "odd"),
    _faults("has_devices_of_dmeventd", "yes"),
    _faults("docker_socket", *garbage.UNREADABLE),
    _faults("is_docker_running", "no"),
    _faults("storage", "odd"),
    _faults("state_file.save"),
    _faults("publish"),
    _faults("close", can_hang=False),
)


class Chaos(RuleBasedStateMachine):
    """A guard in real time, and everything that may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory(prefix="chaos-")
        self._patch = Threads().in_force()
        threads = self._patch.__enter__()
        self.world = World(Path(self._directory.name), threads)
        self.contract = Invariants(self.world)
        self.labels = [*LABELS]
        self.made = 0
        self.has_failed = False
        self.world.start()

    def _note(self, step: str, after: float = 0.0) -> None:
        self.world.note(step)
        self.world.pass_time(after)

    def _label(self, place: int) -> str:
        return self.labels[place % len(self.labels)]

    def _check(self) -> None:
        broken = self.contract.check()
        if broken:
            self._fail(broken)

    def _fail(self, broken: list[str]) -> NoReturn:
        """End with what was done; printed as well, since Hypothesis tries failures again."""
        self.has_failed = True
        story = explain(self.world, broken)
        sys.stderr.write(f"\n{story}\n")
        raise AssertionError(story)

    def _go_wrong(self, fault: Fault, after: float) -> None:
        self.world.note(str(fault))
        self.contract.baseline(self.world.put(fault))
        self.world.pass_time(after)

    @rule(fault=KERNEL_FAULTS, after=PAUSES)
    def kernel_goes_wrong(self, fault: Fault, after: float) -> None:
        """Let device-mapper go wrong."""
        self._go_wrong(fault, after)

    @rule(fault=COMMAND_FAULTS, after=PAUSES)
    def command_goes_wrong(self, fault: Fault, after: float) -> None:
        """Let a command go wrong."""
        self._go_wrong(fault, after)

    @rule(fault=OTHER_FAULTS, after=PAUSES)
    def something_goes_wrong(self, fault: Fault, after: float) -> None:
        """Let anything else go wrong."""
        self._go_wrong(fault, after)

    @rule(after=PAUSES)
    def refuse_threads(self, after: float) -> None:
        """Give no more threads to the program."""
        self.world.threads.are_refused = True
        self._note("no more threads", after)

    @rule(after=PAUSES)
    def storm(self, after: float) -> None:
        """Let containers come and go."""
        self.world.blow(per_second=300)
        self._note("300 events a second", after)

    @rule(place=PLACES, after=PAUSES)
    def heal_one(self, place: int, after: float) -> None:
        """Let one thing go right again."""
        active = self.world.board.active
        if active:
            placed = active[place % len(active)]
            self.world.board.heal(placed)
            self._note(f"healed: {placed.fault}", after)

    @rule(after=PAUSES)
    def heal_all(self, after: float) -> None:
        """Let everything go right again."""
        self.world.heal()
        self._note("all healed", after)

    def _fill(self, place: int, ratio: float, after: float) -> None:
        label = self._label(place)
        self.world.watcher.seeing(lambda: self.world.host.fill_to(label, ratio))
        self._note(f"{label} is {ratio:.0%} full", after)

    @rule(place=PLACES, ratio=st.sampled_from([0.81, 0.9, 0.97, 1.0]), after=PAUSES)
    def cross(self, place: int, ratio: float, after: float) -> None:
        """Fill a pool above its threshold, at once."""
        self._fill(place, ratio, after)

    @rule(place=PLACES, ratio=st.sampled_from([0.1, 0.5, 0.79]), after=PAUSES)
    def empty(self, place: int, ratio: float, after: float) -> None:
        """Leave a pool below its threshold."""
        self._fill(place, ratio, after)

    @rule(place=PLACES, mib=st.sampled_from([0, 20, 200, 1000]), after=PAUSES)
    def write(self, place: int, mib: int, after: float) -> None:
        """Fill a pool at a rate."""
        label = self._label(place)
        self.world.host.set_rate(label, mib * MIB)
        self._note(f"{label} is written to with {mib} MiB/s", after)

    @rule(place=PLACES, ratio=st.sampled_from([0.2, 0.74, 0.76, 0.9]), after=PAUSES)
    def fill_metadata(self, place: int, ratio: float, after: float) -> None:
        """Fill a pool's metadata."""
        label = self._label(place)
        self.world.watcher.seeing(lambda: self.world.host.fill_metadata_to(label, ratio))
        self._note(f"{label} has {ratio:.0%} of its metadata full", after)

    @rule(after=PAUSES)
    def dmeventd_extends(self, after: float) -> None:
        """Let dmeventd do its work, late."""
        host = self.world.host
        if host.truth(WATCHED).is_above:
            self.world.change("b", lambda: host.extend_as_dmeventd(WATCHED))
            self._note(f"dmeventd extends {WATCHED}", after)

    @precondition(lambda self: len(self.labels) < MAX_POOLS)
    @rule(vg=st.sampled_from(VGS), used=st.sampled_from([0.0, 0.85]), after=PAUSES)
    def make(self, vg: str, used: float, after: float) -> None:
        """Make a pool, empty or restored from a backup."""
        self.made += 1
        label = f"{vg}/made{self.made}"
        self.world.change(vg, lambda: self.world.make_pool(label, used=used))
        self.labels.append(label)
        self._note(f"{label} is made, {used:.0%} full", after)

    @precondition(lambda self: self.made)
    @rule(place=PLACES, is_made_anew=st.booleans(), after=PAUSES)
    def rename(self, place: int, after: float, *, is_made_anew: bool) -> None:
        """Rename a pool that was made, and perhaps make another one under its name."""
        own = [label for label in self.labels if "made" in label]
        if not own:
            return
        label = own[place % len(own)]
        vg, _, _ = label.partition("/")
        self.made += 1

        def act() -> None:
            new = self.world.host.rename_pool(label, f"made{self.made}")
            self.labels[self.labels.index(label)] = new
            if is_made_anew:
                self.world.make_pool(label)
                self.labels.append(label)

        self.world.change(vg, act)
        self._note(f"{label} is renamed to made{self.made}, anew: {is_made_anew}", after)

    @precondition(lambda self: self.made)
    @rule(place=PLACES, after=PAUSES)
    def remove(self, place: int, after: float) -> None:
        """Remove a pool that was made."""
        own = [label for label in self.labels if "made" in label]
        if own:
            label = own[place % len(own)]
            self.world.change(label[0], lambda: self.world.host.remove_pool(label))
            self.labels.remove(label)
            self._note(f"{label} is removed", after)

    @rule(vg=st.sampled_from(["a", "b", "c"]), after=PAUSES)
    def vgextend(self, vg: str, after: float) -> None:
        """Give a VG another disk."""
        self.world.change(vg, lambda: self.world.host.vgextend(vg, 500))
        self._note(f"{vg} has 500 extents more", after)

    @rule(seconds=st.sampled_from([-86400.0, -30.0, 3600.0]), after=PAUSES)
    def set_clock(self, seconds: float, after: float) -> None:
        """Set the wall clock."""
        self.world.wall.offset_seconds += seconds
        self._note(f"the wall clock is set by {seconds} s", after)

    @rule(
        mode=st.sampled_from([GuardMode.AUTO, GuardMode.AUTO, GuardMode.OBSERVE]),
        reserve_mib=st.sampled_from([0, 400]),
        is_by_signal=st.booleans(),
        after=PAUSES,
    )
    def reload(
        self, mode: GuardMode, reserve_mib: int, after: float, *, is_by_signal: bool
    ) -> None:
        """Put other settings in force, as SIGHUP does or at once."""
        guard = structs.replace(SETTINGS.guard, mode=mode, reserve_bytes=reserve_mib * MIB)
        wanted = structs.replace(SETTINGS, guard=guard)
        service = self.world.service
        if is_by_signal and not self.world.threads.are_refused:
            reloads = len(service.systemd.times("reloading"))
            service.wanted = wanted
            service.reloading.request()
            self._wait(
                lambda: len(service.systemd.times("reloading")) > reloads or None,
                seconds=5.0,
                what="SIGHUP is followed",
            )
        else:
            service.guarding.follow(wanted)
        self.world.use(wanted)
        self._note(f"{mode}, {reserve_mib} MiB reserve, SIGHUP: {is_by_signal}", after)

    @rule(is_forgetful=st.booleans(), after=PAUSES)
    def restart(self, after: float, *, is_forgetful: bool) -> None:
        """Stop the guard and start another; what the first one has kept may be nonsense."""
        if is_forgetful:
            for path in Path(self._directory.name).iterdir():
                path.write_bytes(b"{\x00")
        self.world.note(f"restart, forgetful: {is_forgetful}")
        self._assert_stopped_soon(self.world.stop())
        self.world.start_again()
        service = self.world.service
        self._wait(lambda: service.has_begun or None, seconds=10.0, what="the guard begins")
        self.world.pass_time(after)

    @invariant()
    def holds(self) -> None:
        """Check everything that must hold."""
        self._check()

    def _assert_stopped_soon(self, seconds: float) -> None:
        if seconds > STOP_SECONDS:
            self._fail([f"I0: the guard has taken {seconds:.1f} s to stop"])

    def teardown(self) -> None:
        """See that all pools that need it are extended in time, and that the guard ends."""
        try:
            if not self.has_failed:
                self._end()
        finally:
            self.world.close()
            self._patch.__exit__(None, None, None)
            self._directory.cleanup()

    def _wait(self, probe: Callable[[], bool | None], *, seconds: float, what: str) -> None:
        try:
            wait_for(probe, seconds=seconds, what=what)
        except AssertionError as error:
            if self.has_failed:
                raise
            self._fail([str(error)])

    def _end(self) -> None:
        """See that nothing is owed as things are, and that all recovers once they are well."""
        self.world.note("the end")
        ended_at = time.monotonic()

        def is_over() -> bool | None:
            self._check()
            return self.contract.is_settled(ended_at) or None

        self._wait(is_over, seconds=PATIENCE_SECONDS, what="all that is owed is given")
        self.world.heal()
        self.world.note("all healed")

        def is_recovered() -> bool | None:
            self._check()
            return self.contract.is_recovered() or None

        self._wait(is_recovered, seconds=RECOVERED_SECONDS, what="all pools recover")
        self._assert_stopped_soon(self.world.close())


def run_chaos(
    machine: type[Chaos], *, examples: int, steps: int, derandomize: bool = False
) -> None:
    """Run so many examples of so many steps. Raises at the first that fails.

    Nothing is replayed or made smaller: in real time that shows something else.
    """
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=derandomize,
            database=None,
            phases=(Phase.generate,),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
