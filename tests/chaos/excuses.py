"""When a pool need not be extended in time: because of what is wrong with it, and only then.

Whatever is wrong elsewhere is no excuse. What these say is the contract of the guard: which
fault may cost which pool its protection, and for how long.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from exporter.model import Collector, Reason
from tests.chaos import garbage
from tests.chaos.faults import Board, Effect, Fault, Placed
from tests.chaos.host import Truth
from tests.chaos.seams import READERS
from tests.chaos.service import Service
from tests.chaos.threads import Threads

# Until another thread takes over from one that waits in the kernel for a disk.
STEP_OVER_SECONDS = 4.0
# Until a device is asked again that could not be read.
AGAIN_SECONDS = 2.0
# Until LVM's account of a changed VG has been read: by the schedule, or after an event.
READ_AGAIN_SECONDS = 1.5
# From the start to the first decision: no hung source is waited for any longer.
START_SECONDS = 4.0
FOLLOW_SECONDS = 1.0
# A failed extension is held back for so long, and longer if it fails again.
LATCH_SECONDS = 25.0

HELD_BACK = frozenset(
    {Reason.LATCHED_REFUSED, Reason.LATCHED_INEFFECTIVE, Reason.INTERNAL_ERROR}
)
OF_DEVICES = frozenset({"kernel.status", "kernel.device"})
OF_POLICY = frozenset({"lvmconfig", "version"})


class Excuses:
    """Knows the faults, and when something changed that the guard has to find out."""

    def __init__(self, board: Board, threads: Threads) -> None:
        self._board = board
        self._threads = threads
        self._started_at = float("inf")
        self._settings_at = float("-inf")
        self._changed_at: dict[str, float] = {}

    def note_start(self, at: float) -> None:
        """Know when the present guard was started; infinity while there is none."""
        self._started_at = at

    def note_change(self, vg: str) -> None:
        """Know that somebody has changed a VG."""
        self._changed_at[vg] = time.monotonic()

    def note_settings(self) -> None:
        """Know that other settings are in force."""
        self._settings_at = time.monotonic()

    def is_changed(self, vg: str, seconds: float) -> bool:
        """Tell whether somebody else has changed a VG within so many seconds."""
        return time.monotonic() < self._changed_at.get(vg, float("-inf")) + seconds

    def of(self, truth: Truth, service: Service) -> str:
        """Say why a pool need not be extended now; "" if it must be."""
        now = time.monotonic()
        if now < self._started_at + START_SECONDS and service.settled_at is None:
            return "the guard has just been started"
        if now < self._settings_at + FOLLOW_SECONDS:
            return "the settings have just been changed"
        for placed in self._board.placed:
            if why := self._why(placed, truth, service, now):
                return f"{placed.fault}: {why}"
        return ""

    def is_held_back(self, label: str, service: Service) -> bool:
        """Tell whether an extension that a fault has spoilt is not repeated yet."""
        verdict = service.verdict(label)
        moment = time.monotonic() - LATCH_SECONDS
        return (
            verdict is not None
            and verdict.reason in HELD_BACK
            and any(at > moment for placed in self._board.placed for at in placed.hits)
        )

    def is_loop_hung(self, seconds: float) -> bool:
        """Tell whether the loop's thread waited in the kernel within so many seconds."""
        now = time.monotonic()
        return any(
            placed.fault.effect is Effect.HANG
            and placed.fault.call.startswith("kernel.")
            and any(at > now - seconds for at in placed.hits)
            for placed in self._board.placed
        )

    def is_read_hindered(self, seconds: float) -> bool:
        """Tell whether LVM or dmeventd could not be read within so many seconds."""
        moment = time.monotonic() - seconds
        return any(
            placed.fault.call in {"runner.run", "dmeventd"} and placed.was_active_since(moment)
            for placed in self._board.placed
        )

    def _why(self, placed: Placed, truth: Truth, service: Service, now: float) -> str:
        by_call: dict[str, Callable[[Placed, Truth, Service, float], str]] = {
            **dict.fromkeys(OF_DEVICES, self._why_device),
            "kernel.names": self._why_names,
            "runner.start": self._why_extension,
            "runner.run": self._why_lvm,
            "dmeventd": self._why_dmeventd,
        }
        why = by_call.get(placed.fault.call)
        return why(placed, truth, service, now) if why else ""

    def _why_dmeventd(self, placed: Placed, truth: Truth, service: Service, now: float) -> str:
        if not placed.was_active_since(now - AGAIN_SECONDS):
            return ""
        if placed.fault.effect is Effect.GARBAGE:
            return "dmeventd may monitor it"
        return self._why_unread(placed, truth, service)

    def _why_device(self, placed: Placed, truth: Truth, service: Service, now: float) -> str:
        fault = placed.fault
        if fault.effect is Effect.HANG:
            if any(at > now - STEP_OVER_SECONDS for at in placed.hits):
                return "the loop waits for a disk"
            if placed.is_active and self._threads.are_refused:
                return "no thread can take over from the one that waits for a disk"
        if fault.target not in {"", truth.device}:
            return ""
        if placed.was_active_since(now - AGAIN_SECONDS):
            return "it cannot be read"
        return self._why_held_back(placed, truth, service, now)

    def _why_names(self, placed: Placed, truth: Truth, _: Service, now: float) -> str:
        if not placed.was_active_since(now - AGAIN_SECONDS):
            return ""
        if placed.fault.effect in {Effect.GARBAGE, Effect.HANG}:
            return "the kernel does not list it"
        is_new = self._changed_since(placed.began_at - READ_AGAIN_SECONDS, truth.vg)
        return "it is not listed yet" if is_new else ""

    def _why_extension(self, placed: Placed, truth: Truth, service: Service, now: float) -> str:
        if placed.fault.target not in {"", truth.vg, truth.label, "lvextend"}:
            return ""
        if placed.hits and placed.was_active_since(now - AGAIN_SECONDS):
            return "lvextend does not work in its VG"
        return self._why_held_back(placed, truth, service, now)

    def _why_lvm(self, placed: Placed, truth: Truth, service: Service, now: float) -> str:
        fault = placed.fault
        is_of_lvm = fault.target in {"", "lvm", truth.vg, *READERS, *OF_POLICY}
        if not is_of_lvm or not placed.was_active_since(now - AGAIN_SECONDS):
            return ""
        if fault.effect is Effect.GARBAGE and _is_read_as_nothing(fault, truth):
            return "LVM does not tell of it"
        return self._why_unread(placed, truth, service)

    def _why_unread(self, placed: Placed, truth: Truth, service: Service) -> str:
        if self._changed_since(placed.began_at - READ_AGAIN_SECONDS, truth.vg):
            return "LVM has not been read since the last change"
        if not _has_read_lvm(service):
            return "LVM has not been read at all"
        return ""

    def _changed_since(self, moment: float, vg: str) -> bool:
        return max(self._changed_at.get(vg, float("-inf")), self._started_at) > moment

    def _why_held_back(self, placed: Placed, truth: Truth, service: Service, now: float) -> str:
        """Excuse an extension that has failed by this fault and is not repeated yet."""
        is_recent = any(at > now - LATCH_SECONDS for at in placed.hits)
        if is_recent and self.is_held_back(truth.label, service):
            return "its last extension has failed"
        return ""


def _is_read_as_nothing(fault: Fault, truth: Truth) -> bool:
    if fault.garbage.startswith(garbage.BLANK_CHUNK):
        return fault.garbage == f"{garbage.BLANK_CHUNK}{truth.vg}"
    return fault.garbage in garbage.EMPTY or fault.target in OF_POLICY


def _has_read_lvm(service: Service) -> bool:
    """Tell whether this guard has ever published what LVM and its policy are."""
    return any(
        all(
            published.snapshot.collectors[name].succeeded_at is not None
            for name in (Collector.LVM, Collector.POLICY)
        )
        for published in list(service.published)[-1:]
    )
