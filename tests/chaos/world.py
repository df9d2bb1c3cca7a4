"""One host, one guard after another, and everything that chaos does to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import structs

from exporter.config import Settings
from exporter.config.settings import GuardSettings, HookSettings, PoolSettings
from exporter.model import Dmeventd, GuardMode
from exporter.simulation import LoopPoolSpec, PoolSpec
from exporter.simulation.figures import MIB
from tests.chaos.excuses import Excuses
from tests.chaos.faults import Board, Fault, Placed
from tests.chaos.host import ChaosHost, Truth
from tests.chaos.service import QUICK, Service, WallClock
from tests.chaos.threads import Threads, start_ours
from tests.chaos.watcher import Watcher

FOREIGN = "docker-8:1-131-pool"
WATCHED = "b/watched"
LABELS = ("a/one", "a/two", "b/big", WATCHED, "c/tight")
MAX_SIZE_BYTES = 900 * MIB
EXTENT_BYTES = 4 * MIB
ROOM_EXTENTS = 200  # enough for another pool
TAKEOVER_SECONDS = 1.0
HORIZON_SECONDS = 2.0

SETTINGS = structs.replace(
    QUICK,
    guard=GuardSettings(
        takeover_after_seconds=TAKEOVER_SECONDS, horizon_seconds=HORIZON_SECONDS
    ),
    pools={
        # What LVM's policy does, and no more.
        "a/one": PoolSettings(anticipate=False),
        "b/big": PoolSettings(anticipate=False, max_size_bytes=MAX_SIZE_BYTES),
        WATCHED: PoolSettings(anticipate=False),
        "c/tight": PoolSettings(anticipate=False),
    },
    # It is never run, but it must be a file that root alone can have written.
    hook=HookSettings(command="/usr/bin/true", deadline_seconds=1.0),
)


class World:
    """Three VGs, one without room, with five pools of LVM's, and one pool that is not."""

    def __init__(self, state: Path, threads: Threads) -> None:
        self.began_at = time.monotonic()
        self.steps: list[str] = []
        self.threads = threads
        self.board = Board()
        self.wall = WallClock()
        self.state = state
        self.settings = SETTINGS
        self.settings_since = 0.0
        self.host = ChaosHost()
        self._build()
        self.excuses = Excuses(self.board, threads)
        self.watcher = Watcher(self.host, self.is_due)
        self._storm = threading.Event()
        self.service = self._new_service()

    def _build(self) -> None:
        host = self.host
        host.set_profile("p", threshold=80, percent=20)
        host.add_vg("a", extents=4000)
        host.add_vg("b", extents=4000)
        host.add_vg("c", extents=125 + 2 + 2 + 3)
        for label in LABELS:
            host.make_pool(label)
        foreign = PoolSpec(data_bytes=500 * MIB, metadata_bytes=8 * MIB, chunk_bytes=65536)
        host.add_loop_pool(FOREIGN, LoopPoolSpec(pool=foreign))
        host.set_docker(FOREIGN)
        host.add_docker_thin(FOREIGN, container="web")
        host.set_dmeventd(Dmeventd(is_alive=True, pid=7, state="S"))
        host.set_monitored(WATCHED)

    def _new_service(self) -> Service:
        return Service(
            self.host, self.settings, board=self.board, state=self.state, wall=self.wall
        )

    def start(self) -> None:
        """Start the guard, and watch it."""
        self.service.start()
        self.excuses.note_start(self.service.started_at)
        self.watcher.start()
        self.service.settle()

    def note(self, step: str) -> None:
        """Write a step down, with its time."""
        self.steps.append(f"{time.monotonic() - self.began_at:7.3f} {step}")

    def stop(self) -> float:
        """Stop the guard; returns how long that took."""
        self.threads.are_refused = False
        self.excuses.note_start(float("inf"))
        return self.service.stop()

    def start_again(self) -> None:
        """Start another guard, as systemd would until one gets its threads."""
        self.service = self._new_service()
        self.service.start()
        self.excuses.note_start(self.service.started_at)

    def make_pool(self, label: str, *, used: float = 0.0) -> None:
        """Make a pool, on another disk if the VG is full."""
        vg, _, _ = label.partition("/")
        if self.host.free_extents(vg) < ROOM_EXTENTS:
            self.host.vgextend(vg, 10 * ROOM_EXTENTS)
        self.host.make_pool(label, used=used)

    def put(self, fault: Fault) -> Placed:
        """Let something go wrong."""
        return self.board.put(fault)

    def change(self, vg: str, act: Callable[[], object]) -> None:
        """Change a VG from outside; LVM must be read again before the guard knows it."""
        with self.watcher.lock:
            act()
            self.excuses.note_change(vg)

    def use(self, settings: Settings) -> None:
        """Note that other settings are in force from now on, or soon."""
        self.settings, self.settings_since = settings, time.monotonic()
        self.excuses.note_settings()

    def mode_of(self, label: str) -> GuardMode:
        """Tell what the guard may do with a pool."""
        own = self.settings.pools.get(label, PoolSettings()).mode
        return own or self.settings.guard.mode

    def may_act(self, label: str) -> bool:
        """Tell whether the guard may extend a pool, in some circumstances at least."""
        return self.mode_of(label) in {GuardMode.AUTO, GuardMode.ALWAYS}

    def anticipates(self, label: str) -> bool:
        """Tell whether the guard may extend a pool before its threshold."""
        own = self.settings.pools.get(label, PoolSettings()).anticipate
        return self.settings.guard.anticipate if own is None else own

    def max_size_bytes(self, label: str) -> int | None:
        """Tell how large a pool's data may become."""
        return self.settings.pools.get(label, PoolSettings()).max_size_bytes

    @property
    def reserve_extents(self) -> int:
        """Extents that are to stay free in every VG."""
        return -(-self.settings.guard.reserve_bytes // EXTENT_BYTES)

    def is_due(self, truth: Truth) -> bool:
        """Tell whether a pool should be extended now, whatever goes wrong elsewhere."""
        return self.is_wanting(truth) and not self.excuses.of(truth, self.service)

    def is_wanting(self, truth: Truth) -> bool:
        """Tell whether a pool should be extended now if nothing at all is wrong."""
        return truth.is_above and self.may_act(truth.label) and self._has_room(truth)

    def _has_room(self, truth: Truth) -> bool:
        """Tell whether the whole step fits, by a wide margin."""
        data, metadata = truth.wanted_data_extents, truth.wanted_metadata_extents
        follows = max(0, truth.follow_extents - truth.metadata_extents)
        # The metadata, and its spare with it.
        needed = data + 3 * (metadata + follows) + 4
        limit = self.max_size_bytes(truth.label)
        size = (truth.data_extents + data) * truth.extent_bytes
        is_allowed = limit is None or size <= limit
        return is_allowed and truth.free_extents - self.reserve_extents >= needed

    def blow(self, *, per_second: float) -> None:
        """Begin a storm of device-mapper events."""
        self.calm()
        over = self._storm = threading.Event()

        def storm() -> None:
            while not over.wait(1 / per_second):
                self.host.raise_event()

        start_ours(threading.Thread(target=storm, name="chaos-storm", daemon=True))

    def calm(self) -> None:
        """End the storm."""
        self._storm.set()

    def heal(self) -> None:
        """End everything that is wrong."""
        self.calm()
        self.threads.are_refused = False
        self.board.heal()

    def pass_time(self, seconds: float) -> None:
        """Let things happen for so long."""
        threading.Event().wait(seconds)

    def close(self) -> float:
        """End all; returns how long the guard took to stop."""
        self.calm()
        took = self.service.stop()
        self.heal()
        self.watcher.stop()
        self.host.close()
        return took
