"""What goes wrong, where and for how long: one board of faults for the whole host.

A call of the host is named by its method ("kernel.status", "runner.run", "publish") and by
what it is about: a device, a VG, a command.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from exporter.errors import CommandFailedError, CommandStuckError, HostError, KernelError

T = TypeVar("T")


class Effect(Enum):
    """How a call goes wrong."""

    FAIL = "fail"
    HANG = "hang"  # until the fault is healed
    LATE = "late"
    GARBAGE = "garbage"


def _os_error(number: int) -> Callable[[], Exception]:
    return lambda: OSError(number, errno.errorcode[number])


# What a call can raise: the host's own errors, the system's, and faults of ours.
ERRORS: dict[str, Callable[[], Exception]] = {
    "host": lambda: HostError("chaos: the host"),
    "kernel": lambda: KernelError("chaos: device-mapper request 12: Cannot allocate memory"),
    "failed": lambda: CommandFailedError(("chaos",), 5, "chaos: something went wrong"),
    "stuck": lambda: CommandStuckError(("chaos",), 5.0),
    "ENOMEM": _os_error(errno.ENOMEM),
    "EIO": _os_error(errno.EIO),
    "EPERM": _os_error(errno.EPERM),
    "RuntimeError": lambda: RuntimeError("chaos: a bug"),
    "ValueError": lambda: ValueError("chaos: a bug"),
    "ZeroDivisionError": lambda: ZeroDivisionError("chaos: a bug"),
}
# How long a call hangs if nobody heals it: the test has failed long before.
LONGEST_HANG_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: `target` "" is every call of this name, `times` 0 until it is healed."""

    call: str
    effect: Effect
    target: str = ""
    error: str = "host"
    seconds: float = 0.0
    garbage: str = ""
    times: int = 0

    def __str__(self) -> str:
        details = {
            Effect.FAIL: self.error,
            Effect.HANG: "",
            Effect.LATE: f"{self.seconds:g} s",
            Effect.GARBAGE: repr(self.garbage),
        }
        where = f"{self.call}({self.target})"
        times = f" × {self.times}" if self.times else ""
        return f"{where}: {self.effect.value} {details[self.effect]}{times}"


@dataclass(kw_only=True)
class Placed:
    """A fault on the board: when it came, was met, and went (monotonic seconds)."""

    fault: Fault
    began_at: float
    left: int
    ended_at: float | None = None
    hits: list[float] = field(default_factory=list)
    healed: threading.Event = field(default_factory=threading.Event)

    @property
    def is_active(self) -> bool:
        """Whether a call meets it, or still suffers from it."""
        return self.was_active_since(time.monotonic())

    @property
    def is_meetable(self) -> bool:
        """Whether the next call meets it."""
        return not self.healed.is_set() and (not self.fault.times or self.left > 0)

    def was_active_since(self, moment: float) -> bool:
        """Whether it was there at some time after `moment`."""
        return self.ended_at is None or self.ended_at > moment

    def meet(self, now: float) -> None:
        """Count a call that meets it; the last one ends it, unless that call hangs."""
        self.hits.append(now)
        self.left -= 1
        if self.left == 0 and self.fault.effect is not Effect.HANG:
            self.ended_at = now + self.fault.seconds


class Board:
    """The faults of one host, past ones included. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._placed: list[Placed] = []

    def put(self, fault: Fault) -> Placed:
        """Let calls meet this fault from now on."""
        placed = Placed(fault=fault, began_at=time.monotonic(), left=fault.times)
        with self._lock:
            self._placed.append(placed)
        return placed

    def heal(self, placed: Placed | None = None) -> None:
        """End one fault or all; what hangs goes on."""
        with self._lock:
            ended = [placed] if placed else self._placed
            for each in ended:
                each.ended_at = each.ended_at or time.monotonic()
                each.healed.set()

    @property
    def placed(self) -> tuple[Placed, ...]:
        """Every fault that there is or was."""
        with self._lock:
            return tuple(self._placed)

    @property
    def active(self) -> tuple[Placed, ...]:
        """Every fault that a call can meet now."""
        return tuple(placed for placed in self.placed if placed.is_active)

    @staticmethod
    def error_of(fault: Fault) -> Exception:
        """Make the exception that a call ends with."""
        return ERRORS[fault.error]()

    def meet(self, call: str, about: Collection[str]) -> Placed | None:
        """Find the first fault for a call, and count that it was met."""
        now = time.monotonic()
        with self._lock:
            for placed in self._placed:
                fault = placed.fault
                is_meant = fault.call == call and (not fault.target or fault.target in about)
                if is_meant and placed.is_meetable:
                    placed.meet(now)
                    return placed
        return None

    def apply(
        self,
        call: str,
        about: Collection[str],
        ask: Callable[[], T],
        *,
        garble: Callable[[T, str], T] = lambda answer, _: answer,
        deadline_seconds: float = LONGEST_HANG_SECONDS,
    ) -> T:
        """Make a call as the board wants it to go.

        A call with a deadline that hangs ends there with CommandStuckError, as the real
        runner does.
        """
        placed = self.meet(call, about)
        if placed is None:
            return ask()
        fault = placed.fault
        if fault.effect is Effect.FAIL:
            raise self.error_of(fault)
        if fault.effect is Effect.GARBAGE:
            return garble(ask(), fault.garbage)
        longest = fault.seconds if fault.effect is Effect.LATE else LONGEST_HANG_SECONDS
        is_released = placed.healed.wait(min(longest, deadline_seconds))
        if deadline_seconds < longest and not is_released:
            raise CommandStuckError(tuple(about) or (call,), deadline_seconds)
        return ask()
