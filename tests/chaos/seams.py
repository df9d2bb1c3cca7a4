"""Every way to the host, with the board of faults in between: a HostAccess of its own.

Names of calls: kernel.* and runner.* for their methods, the field's name for the rest.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TypeVar

from msgspec import structs

from exporter.collection import HostAccess
from exporter.command import Output, Running
from exporter.devmapper import DmDevice, DmStatus
from exporter.model import Dmeventd, DockerInfo, LoopBacking, StorageReading, VolumeOwner
from tests.chaos import garbage
from tests.chaos.faults import LONGEST_HANG_SECONDS, Board, Effect, Placed
from tests.chaos.host import ChaosHost

T = TypeVar("T")

# Longer than any window that a test counts in.
CALLS_KEPT = 50_000
READERS = frozenset({"lvs", "vgs", "pvs"})


class Calls:
    """When each call was made, and about what. Thread-safe."""

    def __init__(self) -> None:
        self._made: dict[str, deque[tuple[float, frozenset[str]]]] = {}
        self._threads: dict[str, int] = {}
        self._lock = threading.Lock()

    def note(self, call: str, about: Iterable[str] = ()) -> None:
        """Count a call."""
        with self._lock:
            made = self._made.setdefault(call, deque(maxlen=CALLS_KEPT))
            made.append((time.monotonic(), frozenset(about)))
            self._threads[call] = threading.get_ident()

    def times(self, call: str, *about: str) -> list[float]:
        """List when a call was made about all of these."""
        with self._lock:
            made = list(self._made.get(call, ()))
        return [at for at, words in made if words.issuperset(about)]

    def count(self, call: str, *about: str) -> int:
        """Count the calls about all of these."""
        return len(self.times(call, *about))

    def thread_of(self, call: str) -> int | None:
        """Tell which thread has made a call last."""
        return self._threads.get(call)

    def busiest(self, call: str, seconds: float) -> int:
        """Find the most calls within so many seconds."""
        return busiest(self.times(call), seconds)


def busiest(times: Sequence[float], seconds: float) -> int:
    """Find the most of these times that lie within so many seconds."""
    most = first = 0
    for last, at in enumerate(times):
        while times[first] < at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


class Seam:
    """What all calls of one guard pass; after its end they end the thread that makes them.

    A process that has ended takes its threads along; here they are left over.
    """

    def __init__(self, board: Board, calls: Calls) -> None:
        self.board = board
        self.calls = calls
        self.is_over = False

    def __call__(
        self,
        call: str,
        about: Collection[str],
        ask: Callable[[], T],
        *,
        garble: Callable[[T, str], T] = lambda answer, _: answer,
        deadline_seconds: float = LONGEST_HANG_SECONDS,
    ) -> T:
        """Make a call, as the board wants it to go."""
        self.calls.note(call, about)
        return self.board.apply(
            call,
            about,
            lambda: self.alive(ask),
            garble=garble,
            deadline_seconds=deadline_seconds,
        )

    def alive(self, ask: Callable[[], T]) -> T:
        """Make a call, unless the guard is over."""
        if self.is_over:
            raise SystemExit
        return ask()


class ChaoticKernel:
    """The simulated kernel as one guard sees it; `close` ends that guard's waits alone.

    A guard's clock may run faster than ours: its waits are then as much shorter.
    """

    is_quick = True

    def __init__(self, host: ChaosHost, seam: Seam, *, speed: float) -> None:
        self._host = host
        self._seam = seam
        self._speed = speed
        self._is_closed = False

    def names(self) -> Mapping[str, str]:
        """See Kernel.names."""
        return self._seam("kernel.names", (), self._host.names, garble=garbage.names)

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices."""
        return self._seam("kernel.devices", (), self._host.devices, garble=garbage.devices)

    def status(self, name: str) -> DmStatus | None:
        """See Kernel.status."""

        def garble(status: DmStatus | None, how: str) -> DmStatus | None:
            others = (self._host.status(other) for other in self._host.names() if other != name)
            return garbage.status(status, how, next(others, None))

        return self._seam(
            "kernel.status", (name,), lambda: self._host.status(name), garble=garble
        )

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        return self._seam(
            "kernel.device", (name,), lambda: self._host.device(name), garble=garbage.device
        )

    def arm(self) -> None:
        """See Kernel.arm."""
        # Once closed: the guard that comes next would miss its event.
        self._seam("kernel.arm", (), lambda: None if self._is_closed else self._host.arm())

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait."""
        seconds = timeout_seconds / self._speed
        return self._seam(
            "kernel.wait", (), lambda: self._is_closed or self._host.wait(seconds)
        )

    def wake(self) -> None:
        """See Kernel.wake."""
        self._seam("kernel.wake", (), self._host.wake)

    def close(self) -> None:
        """Let this guard's waits end at once from now on."""
        self._is_closed = True
        self._host.wake()


class ChaoticRunner:
    """The simulated host's commands."""

    def __init__(self, host: ChaosHost, seam: Seam) -> None:
        self._host = host
        self._seam = seam

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        return self._seam(
            "runner.run",
            about_of(argv),
            lambda: self._host.run(argv, deadline_seconds=deadline_seconds),
            garble=garbage.output,
            deadline_seconds=deadline_seconds,
        )

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """See Runner.start; one that hangs has been started, and does its work once healed."""
        about = about_of(argv)
        self._seam.calls.note("runner.start", about)
        placed = self._seam.board.meet("runner.start", about)

        def begin() -> Running:
            return self._seam.alive(lambda: self._host.start(argv, environment=environment))

        if placed is None:
            return begin()
        fault = placed.fault
        if fault.effect is Effect.FAIL:
            raise self._seam.board.error_of(fault)
        if fault.effect is Effect.GARBAGE:
            return garbage.running(begin, argv, fault.garbage)
        if fault.effect is Effect.LATE:
            placed.healed.wait(fault.seconds)
            return begin()
        return HangingRunning(placed, begin)

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """See Runner.keep_ready."""
        self._seam(
            "runner.keep_ready",
            (),
            lambda: self._host.keep_ready(program, environment=environment),
        )

    def call(
        self, argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float
    ) -> Output:
        """See Runner.call."""
        return self._seam(
            "runner.call",
            argv,
            lambda: self._host.call(
                argv, environment=environment, deadline_seconds=deadline_seconds
            ),
            deadline_seconds=deadline_seconds,
        )


class HangingRunning:
    """A command that waits for a lock until the fault is healed, and works then."""

    def __init__(self, placed: Placed, begin: Callable[[], Running]) -> None:
        self._placed = placed
        self._begin = begin
        self._begun: Running | None = None

    def wait(self, timeout_seconds: float) -> Output | None:
        """See Running.wait."""
        if not self._placed.healed.wait(timeout_seconds):
            return None
        self._begun = self._begun or self._begin()
        return self._begun.wait(timeout_seconds)


def about_of(argv: Sequence[str]) -> frozenset[str]:
    """Name a command, what it was given last, and the VG of that."""
    name = PurePath(argv[0]).name
    command = argv[1] if name == "lvm" and len(argv) > 1 else name
    return frozenset({command, argv[-1], argv[-1].partition("/")[0]})


def chaotic(host: ChaosHost, seam: Seam, *, speed: float = 1.0) -> HostAccess:
    """Give a guard its own access to the host, through the board."""
    kernel = ChaoticKernel(host, seam, speed=speed)

    def owners(root: Path, names: Iterable[str]) -> Mapping[str, VolumeOwner]:
        known = tuple(names)
        return seam(
            "volume_owners",
            (),
            lambda: host.volume_owners(root, known),
            garble=garbage.volume_owners,
        )

    def docker_socket(seconds: float) -> str | None:
        return seam(
            "docker_socket",
            (),
            lambda: None,
            garble=lambda _, how: garbage.text(how),
            deadline_seconds=seconds,
        )

    def storage(said: DockerInfo | None) -> StorageReading:
        return seam("storage", (), lambda: host.storage(said), garble=garbage.storage)

    def loop_backing(number: str) -> LoopBacking | None:
        return seam(
            "loop_backing", (), lambda: host.loop_backing(number), garble=garbage.nothing
        )

    def activity(_: Dmeventd) -> Mapping[str, object]:
        return seam("dmeventd_activity", (), lambda: {"state": "S"}, garble=garbage.activity)

    def close() -> None:
        kernel.close()
        seam("close", (), lambda: None)

    return structs.replace(
        host.access(),
        runner=ChaoticRunner(host, seam),
        kernel=kernel,
        loop_backing=loop_backing,
        dmeventd=lambda: seam("dmeventd", (), host.dmeventd, garble=garbage.dmeventd),
        dmeventd_activity=activity,
        no_space_timeout=lambda: seam(
            "no_space_timeout", (), lambda: 60.0, garble=garbage.number
        ),
        can_archive=lambda _: seam("can_archive", (), lambda: True, garble=garbage.flag),
        volume_owners=owners,
        has_devices_of_dmeventd=lambda: seam(
            "has_devices_of_dmeventd", (), lambda: False, garble=garbage.flag
        ),
        docker_socket=docker_socket,
        is_docker_running=lambda: seam(
            "is_docker_running", (), lambda: True, garble=garbage.flag
        ),
        storage=storage,
        close=close,
    )
