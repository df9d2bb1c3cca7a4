"""One process that collects, guards and serves: wires the parts and runs them to the end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from exporter.collection import Collection, HostAccess, Programs
from exporter.config import Settings
from exporter.errors import ExporterError
from exporter.events import Log
from exporter.exposition import Exposition
from exporter.extend import Extender
from exporter.guard import Clocks, Guard, PoolRule, Rules
from exporter.guard.memory import MemoryFile
from exporter.hooks import Hooks
from exporter.model import Collector, CollectorState, Snapshot
from exporter.schedule import Schedule, Tick
from exporter.watch import FilesWatch, backup_files, configuration_files
from exporter.web.app import build_app
from exporter.web.server import SWITCH_INTERVAL_SECONDS, WebServer
from exporter.web.traffic import Traffic

WATCH_SECONDS = 2.0
PUBLISH_SECONDS = 1.0
# A hundred pools take tens of milliseconds to render: at most this share of one core, but
# on a slow one no figure becomes older than a scrape interval.
PUBLISH_SHARE, PUBLISH_LATEST_SECONDS = 0.01, 10.0
CHEAP_POOLS = 5  # about a millisecond each
HEALTH_SECONDS = 1.0
FIRST_READING_SECONDS = 3.0
WORKER_GRACE_SECONDS = 1.0


class WebOptions(Struct, frozen=True, kw_only=True):
    """Where to serve."""

    addresses: Sequence[str]
    telemetry_path: str


def programs(settings: Settings) -> Programs:
    """Take what the sources need from the settings."""
    return Programs(
        lvm=settings.commands.lvm,
        docker=settings.commands.docker,
        lvm_deadline_seconds=settings.collect.lvm_deadline_seconds,
        docker_deadline_seconds=settings.collect.docker_deadline_seconds,
    )


def rules(settings: Settings) -> Rules:
    """Take what the guard needs from the settings."""
    return Rules(
        mode=settings.guard.mode,
        reserve_bytes=settings.guard.reserve_bytes,
        takeover_after_seconds=settings.guard.takeover_after_seconds,
        anticipate=settings.guard.anticipate,
        horizon_seconds=settings.guard.horizon_seconds,
        interval_seconds=settings.guard.interval_seconds,
        pools={
            label: PoolRule(
                mode=pool.mode,
                max_size_bytes=pool.max_size_bytes,
                anticipate=pool.anticipate,
            )
            for label, pool in settings.pools.items()
        },
    )


def make_guard(
    host: HostAccess, settings: Settings, collection: Collection, *, clocks: Clocks, log: Log
) -> Guard:
    """Wire the guard to what changes the host, and to the user's hook."""
    extender = Extender(
        host.runner,
        settings.commands.lvm,
        deadline_seconds=settings.collect.extend_deadline_seconds,
        clock=clocks.monotonic,
        can_archive=host.can_archive,
    )
    guard = Guard(
        collection,
        extender,
        kernel=host.kernel,
        rules=rules(settings),
        clocks=clocks,
        log=log,
    )
    hooks = Hooks(
        host.runner,
        settings.hook.command,
        deadline_seconds=settings.hook.deadline_seconds,
        clock=clocks.monotonic,
        log=log,
    )
    guard.call(hooks)
    return guard


class Service:
    """Collector, guard and web side of one host."""

    def __init__(
        self, host: HostAccess, settings: Settings, web: WebOptions, *, clocks: Clocks, log: Log
    ) -> None:
        self._host = host
        self._log = log
        self._latest: Snapshot | None = None
        self._configuration = FilesWatch(configuration_files)
        self._groups = FilesWatch(backup_files)
        self._collection = Collection(
            host,
            programs(settings),
            wall_clock=clocks.wall,
            clock=clocks.monotonic,
            on_change=self._say_state,
            # What the guard has changed, it reads at once: no reason to read all again.
            on_group=self._groups.know,
        )
        self._guard = make_guard(host, settings, self._collection, clocks=clocks, log=log)
        self._schedule = Schedule(self._ticks(settings), clock=clocks.monotonic)
        traffic = Traffic()
        self._exposition = Exposition(lambda: self._latest, pause=traffic.give_way)
        app = build_app(
            self._exposition, lambda: self._latest, telemetry_path=web.telemetry_path
        )
        self._server = WebServer(app, web.addresses, traffic=traffic)

    def remember_in(self, memory: MemoryFile) -> None:
        """Keep through a restart what the guard must not forget; before `run`."""
        self._guard.remember_in(memory)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the web side listens, once it does."""
        return self._server.addresses

    def run(self, stop: threading.Event, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop` is set. Raises ListenError, or ExporterError if a part dies."""
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        # First, so that a port that is taken is said before anything is touched.
        self._server.start()
        self._guard.keep_ready()
        try:
            self._start_collecting()
            threads = self._start_threads(stop)
            on_ready()
            while not stop.wait(HEALTH_SECONDS):
                if not all(thread.is_alive() for thread in threads):
                    raise ExporterError("a part of the service has died; its log line is above")
        finally:
            stop.set()
            self._stop()

    def _start_threads(self, stop: threading.Event) -> tuple[threading.Thread, ...]:
        """Start the guard, and the publisher once the guard has seen every pool."""
        has_looked = threading.Event()
        guard = threading.Thread(
            target=self._guard.run, args=(stop, has_looked.set), name="guard", daemon=True
        )
        publisher = threading.Thread(
            target=self._publish, args=(stop,), name="publish", daemon=True
        )
        guard.start()
        has_looked.wait(FIRST_READING_SECONDS)
        publisher.start()
        return guard, publisher

    def _start_collecting(self) -> None:
        """Read once before the guard's first cycle, which no hung source delays for long."""
        first = threading.Thread(
            target=self._collection.refresh_all, name="collect", daemon=True
        )
        first.start()
        first.join(FIRST_READING_SECONDS)
        self._schedule.start()

    def _stop(self) -> None:
        self._schedule.stop()
        self._host.close()
        self._server.stop()
        if not self._guard.join_workers(WORKER_GRACE_SECONDS):
            # It has its own session and keeps its output in memory: it goes on without us.
            self._log.warning("stopped_while_extending")

    def _ticks(self, settings: Settings) -> tuple[Tick, ...]:
        collect = settings.collect
        intervals = {
            Collector.DEVICE_MAPPER: collect.lvm_interval_seconds,
            Collector.LVM: collect.lvm_interval_seconds,
            Collector.POLICY: collect.policy_interval_seconds,
            Collector.DOCKER: collect.docker_interval_seconds,
        }
        sources = tuple(
            Tick(name=str(name), interval_seconds=seconds, run=self._reader(name))
            for name, seconds in intervals.items()
        )
        watch = Tick(name="watch", interval_seconds=WATCH_SECONDS, run=self._look_at_files)
        return (*sources, watch)

    def _reader(self, name: Collector) -> Callable[[], object]:
        return lambda: self._collection.refresh(name)

    def _look_at_files(self) -> None:
        self._guard.keep_ready()
        if self._configuration.has_changed():
            self._log.info("lvm_configuration_changed")
            self._collection.refresh(Collector.POLICY)
        if self._groups.has_changed():
            # Somebody may have made the space that a pool waits for.
            self._collection.refresh(Collector.LVM)

    def _publish(self, stop: threading.Event) -> None:
        """Make the Snapshot that scrapes get, until `stop` is set."""
        pause = 0.0
        while not stop.wait(pause):
            snapshot = self._collection.snapshot(self._guard.live_pools())
            self._latest = self._guard.report(snapshot)
            self._guard.save()
            spare = self._render(len(self._latest.pools)) / PUBLISH_SHARE
            # Somebody waits until everything has been read once.
            longest = PUBLISH_LATEST_SECONDS if self._collection.is_complete else 0.0
            pause = max(PUBLISH_SECONDS, min(spare, longest))
            for name in self._schedule.repair():
                self._log.warning("schedule_repaired", source=name)

    def _render(self, pools: int) -> float:
        """Render ahead where that takes long, else leave it to the scrape; returns CPU seconds.

        Most renderings are never fetched: on a host with a few pools they would be most
        of what this program costs.
        """
        if pools <= CHEAP_POOLS:
            self._exposition.invalidate()
            return 0.0
        began = time.thread_time()
        self._exposition.refresh()
        return time.thread_time() - began

    def _say_state(self, name: Collector, state: CollectorState) -> None:
        if state.is_ok:
            self._log.info("source_readable", source=str(name))
        else:
            self._log.warning("source_failed", source=str(name), error=state.error)
