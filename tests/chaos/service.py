"""The service part of the program in this process: started, watched, stopped.

It runs in real time with all its threads. What it publishes, logs and tells systemd is kept.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, cast

from exporter.config import Settings
from exporter.config.settings import CollectSettings, GuardSettings
from exporter.exposition import Exposition
from exporter.guard import Clocks
from exporter.guard.memory import MemoryFile
from exporter.model import PoolGuard, Snapshot, ThinPool
from exporter.notify import Notifier
from exporter.service.guarding import Guarding
from exporter.service.reloading import Reloading
from tests.chaos.faults import Board
from tests.chaos.host import ChaosHost
from tests.chaos.seams import Calls, Seam, chaotic
from tests.chaos.threads import ignore_exits, start_ours
from tests.waiting import wait_for

# Far beyond what anything here may take; what is slower fails by its own bound.
PATIENCE_SECONDS = 20.0
SNAPSHOTS_KEPT = 1000

# Everything is read often, and nothing is waited for long.
QUICK = Settings(
    guard=GuardSettings(anticipate=False, takeover_after_seconds=1.0),
    collect=CollectSettings(
        lvm_interval_seconds=0.5,
        policy_interval_seconds=1.0,
        docker_interval_seconds=1.0,
        lvm_deadline_seconds=1.0,
        docker_deadline_seconds=0.5,
        extend_deadline_seconds=1.0,
    ),
)
# Nothing is read again unless the guard wants it.
STILL = Settings(
    guard=GuardSettings(anticipate=False),
    collect=CollectSettings(
        lvm_interval_seconds=3600.0,
        policy_interval_seconds=3600.0,
        docker_interval_seconds=3600.0,
    ),
)


class FastClock:
    """Real time, faster: what takes minutes by the guard's clock is tried in seconds.

    `ahead_seconds` is how much later it is than on the machine's clock.
    """

    def __init__(self, speed: float = 1.0, *, ahead_seconds: float = 0.0) -> None:
        self.speed = speed
        self._start = time.monotonic()
        self._ahead = ahead_seconds

    def __call__(self) -> float:
        """Tell the time."""
        now = time.monotonic()
        return self._start + self._ahead + (now - self._start) * self.speed


class HeldUpClock(FastClock):
    """A clock that holds up one thread, as if the processor were taken from it."""

    def __init__(self, *, seconds: float = 0.015) -> None:
        super().__init__()
        self._seconds = seconds
        self.holds_up: Callable[[], int | None] = lambda: None

    def __call__(self) -> float:
        """Tell the time, late."""
        if self.holds_up() == threading.get_ident():
            threading.Event().wait(self._seconds)
        return super().__call__()


class WallClock:
    """The wall clock, which somebody sets."""

    def __init__(self) -> None:
        self.offset_seconds = 0.0

    def __call__(self) -> float:
        """Tell the time of day."""
        return time.time() + self.offset_seconds


class Lines:
    """A log that keeps the last lines. Thread-safe."""

    def __init__(self) -> None:
        self.lines: deque[tuple[float, str, dict[str, object]]] = deque(maxlen=5000)

    def info(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self.lines.append((time.monotonic(), event, fields))

    warning = error = exception = info

    def events(self, *names: str) -> list[dict[str, object]]:
        """Find the fields of these events."""
        return [fields for _, event, fields in list(self.lines) if event in names]


class Systemd(Notifier):
    """What systemd would have been told, and when."""

    def __init__(self) -> None:
        super().__init__({})
        self.told: dict[str, list[float]] = {}

    def ready(self) -> None:
        """See Notifier.ready."""
        self._note("ready")

    def alive(self) -> None:
        """See Notifier.alive."""
        self._note("alive")

    def reloading(self) -> None:
        """See Notifier.reloading."""
        self._note("reloading")

    def _note(self, what: str) -> None:
        self.told.setdefault(what, []).append(time.monotonic())

    def times(self, what: str) -> list[float]:
        """List when it was told this."""
        return list(self.told.get(what, ()))


class Published(NamedTuple):
    """A Snapshot, and when it was published (monotonic seconds)."""

    at: float
    snapshot: Snapshot


class Service:
    """One guard on a host that others may share after it; `speed` is that of `clock`."""

    def __init__(
        self,
        host: ChaosHost,
        settings: Settings = QUICK,
        *,
        board: Board | None = None,
        state: Path | None = None,
        clock: FastClock | None = None,
        wall: WallClock | None = None,
    ) -> None:
        self.board = board or Board()
        self.calls = Calls()
        self._seam = Seam(self.board, self.calls)
        self.log = Lines()
        self.systemd = Systemd()
        self.published: deque[Published] = deque(maxlen=SNAPSHOTS_KEPT)
        self.wanted = settings  # what a reload finds in the file
        self.ended: BaseException | str = ""  # why its main thread has ended
        self.started_at = time.monotonic()
        self.settled_at: float | None = None  # when it had read all and judged all
        self.clock = clock or FastClock()
        wall = wall or WallClock()
        self._stop = threading.Event()
        self._latest: Snapshot | None = None
        self._exposition = Exposition(lambda: self._latest)
        self.reloading = Reloading(lambda: self.wanted, wall_clock=wall, log=self.log)
        self.guarding = Guarding(
            chaotic(host, self._seam, speed=self.clock.speed),
            settings,
            publish=self._publish,
            reloading=self.reloading,
            clocks=Clocks(monotonic=self.clock, wall=wall),
            log=self.log,
        )
        if state is not None:
            file = ChaoticFile(MemoryFile(state), self._seam)
            self.guarding.remember_in(lambda: cast("Any", file))
        self._thread = threading.Thread(target=self._run, name="chaos-main", daemon=True)

    def start(self) -> Service:
        """Do what the command does, in a thread of the test's."""
        self.started_at = time.monotonic()
        start_ours(self._thread)
        return self

    def settle(self) -> Service:
        """Wait for a Snapshot in which everything has been read and every pool judged."""
        self.wait(
            lambda: self.settled_at is not None, what="every source read, every pool judged"
        )
        return self

    def stop(self) -> float:
        """Stop as at SIGTERM; returns how long that took."""
        began = time.monotonic()
        ignore_exits()
        self._stop.set()
        self._thread.join(PATIENCE_SECONDS)
        self._seam.is_over = True
        return time.monotonic() - began

    def __enter__(self) -> Service:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.board.heal()
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether its main thread lives."""
        return self._thread.is_alive()

    @property
    def latest(self) -> Snapshot | None:
        """The last Snapshot that was published."""
        return self._latest

    def snapshot(self) -> Snapshot:
        """Give the last Snapshot that was published."""
        assert self._latest is not None, "nothing was published"
        return self._latest

    def exposition(self) -> str:
        """Render the last Snapshot as a scrape gets it."""
        self._exposition.invalidate()
        return self._exposition.page().decode()

    def pool(self, label: str) -> ThinPool | None:
        """Find a pool in the last Snapshot."""
        pools = self._latest.pools if self._latest else ()
        return next((pool for pool in pools if pool.label == label), None)

    def used(self, label: str) -> int | None:
        """Tell how much of a pool is in use by the last Snapshot; None if it does not say."""
        pool = self.pool(label)
        return pool.data.used_blocks if pool and pool.data else None

    def verdict(self, label: str) -> PoolGuard | None:
        """Find what the guard said last of a pool."""
        guard = self._latest.guard if self._latest else None
        return guard.pools.get(label) if guard else None

    def wait(
        self, fact: Callable[[], bool], *, what: str, seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Wait until a fact holds; AssertionError with the last log lines at the deadline."""
        try:
            wait_for(lambda: fact() or None, seconds=seconds, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from error

    def wait_for_snapshot(self) -> Snapshot:
        """Wait for a Snapshot that was begun after now, and give it."""
        # The next one may have been made already, and wait to be published.
        seen = len(self.published)
        self.wait(lambda: len(self.published) >= seen + 2, what="two more Snapshots")
        return self.snapshot()

    def visible_failures(self) -> int:
        """Count all failures that the metrics show; it only ever grows."""
        guard = self._latest.guard if self._latest else None
        if guard is None:
            return 0
        counters = [each for pool in guard.pools.values() for each in pool.counters.values()]
        failures = sum(sum(each.failures.values()) for each in counters)
        return failures + sum(guard.errors.values())

    def tail(self, lines: int = 30) -> str:
        """Show the end of the log."""
        return "\n".join(
            f"  {at - self.started_at:7.3f} {event} {fields}"
            for at, event, fields in list(self.log.lines)[-lines:]
        )

    def _is_settled(self) -> bool:
        snapshot = self._latest
        if snapshot is None or snapshot.guard is None:
            return False
        states = snapshot.collectors.values()
        judged = {pool.label for pool in snapshot.pools} <= set(snapshot.guard.pools)
        return judged and all(state.attempted_at is not None for state in states)

    @property
    def has_begun(self) -> bool:
        """Whether all its threads have been started, or it has ended."""
        return self.calls.count("publish") > 0 or not self.is_running

    def _publish(self, snapshot: Snapshot) -> None:
        self._seam("publish", (), lambda: self._take(snapshot))

    def _take(self, snapshot: Snapshot) -> None:
        self._latest = snapshot
        self.published.append(Published(time.monotonic(), snapshot))
        if self.settled_at is None and self._is_settled():
            self.settled_at = time.monotonic()

    def _run(self) -> None:
        try:
            self.guarding.start(self._stop)
            self.guarding.watch(self._stop, self.systemd)
        except BaseException as error:  # noqa: BLE001 - it is the test that says what is wrong
            self.ended = error
        else:
            self.ended = "returned"
        finally:
            self._stop.set()
            self._stop_guarding()

    def _stop_guarding(self) -> None:
        try:
            self.guarding.stop()
        except Exception as error:  # noqa: BLE001 - as above
            self.ended = error


class ChaoticFile:
    """What the guard keeps through a restart, with the board in between."""

    def __init__(self, file: MemoryFile, seam: Seam) -> None:
        self._file = file
        self._seam = seam

    def load(self) -> object:
        """See MemoryFile.load."""
        return self._seam("state_file.load", (), self._file.load)

    def save(self, *args: Any) -> None:  # noqa: ANN401 - whatever the guard keeps
        """See MemoryFile.save."""
        self._seam("state_file.save", (), lambda: self._file.save(*args))
