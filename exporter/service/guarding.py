"""The side that touches the host: sources on their schedule, the guard, and a publisher."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from msgspec import structs

from exporter.bulkhead import Bulkheads
from exporter.collection import Collection, HostAccess
from exporter.config import Commands, Settings
from exporter.errors import ConfigError, ExporterError, HostError, quote
from exporter.events import Log
from exporter.guard import Clocks, Guard
from exporter.guard.memory import MemoryFile
from exporter.log import supervise as supervise_log
from exporter.model import Collector, CollectorState, ProcessFigures, Snapshot, Stage
from exporter.notify import Notifier
from exporter.schedule import Schedule, Tick
from exporter.service.pacing import HEALTH_SECONDS, publish_pause
from exporter.service.reloading import Reloading
from exporter.service.wiring import intervals, make_extender, make_hooks, programs, rules
from exporter.thread_pool import ThreadPool
from exporter.watch import FilesWatch, backup_files, configuration_files

WATCH_SECONDS = 2.0
NAMES_SECONDS = 5.0  # a container that has just been started is soon known by its name
FIRST_READING_SECONDS = 3.0
WORKER_GRACE_SECONDS = 1.0
SAVE_SECONDS = 1.0
MAX_LOOPS = 64  # each but two waits for a disk
# Between two looks at whether the loop waits for a disk, once it has: under that disk there
# may be more pools.
HASTY_SECONDS, HASTY_LOOKS = 0.05, 40

Publish = Callable[[Snapshot], None]
Part = Callable[[], "str | None"]


class Guarding:
    """Collector and guard of one host; each Snapshot is given to `publish`.

    `reloading` tells when other settings are to be put into force.
    """

    def __init__(
        self,
        host: HostAccess,
        settings: Settings,
        *,
        publish: Publish,
        reloading: Reloading,
        clocks: Clocks,
        log: Log,
    ) -> None:
        self._host = host
        self._commands = settings.commands
        self._log = log
        self._give = publish
        self._reloading = reloading
        self._configuration = FilesWatch(configuration_files)
        self._groups = FilesWatch(backup_files)
        self._bulkheads = Bulkheads(log, clocks.monotonic)
        self._collection = Collection(
            host,
            programs(settings),
            wall_clock=clocks.wall,
            clock=clocks.monotonic,
            on_change=self._say_state,
            bulkheads=self._bulkheads,
        )
        # What the guard has changed, it reads at once: no reason to read all again.
        self._collection.on_group = self._groups.know
        self._collection.max_volumes = settings.collect.top_volumes
        self._extender = make_extender(host, settings, self._collection, clocks=clocks)
        self._hooks = make_hooks(
            host, settings, clocks=clocks, log=log, bulkheads=self._bulkheads
        )
        self._guard = Guard(
            self._collection,
            self._extender,
            kernel=host.kernel,
            rules=rules(settings),
            clocks=clocks,
            log=log,
        )
        self._guard.call(self._hooks)
        self._memory: Callable[[], MemoryFile | None] = lambda: None
        # What each Snapshot tells of this process besides.
        self.is_memory_locked: Callable[[], bool | None] = lambda: None
        self.own_figures: Callable[[], ProcessFigures | None] = lambda: None
        self.maintenance: Callable[[Snapshot], Snapshot] = lambda snapshot: snapshot
        self._schedule = Schedule(
            self._ticks(settings), clock=clocks.monotonic, bulkheads=self._bulkheads
        )
        self._threads: dict[str, threading.Thread] = {}
        # One runs the loop, and another one is there to take over from it.
        self._loops = ThreadPool(
            "guard",
            1,
            max_threads=MAX_LOOPS,
            bulkheads=self._bulkheads,
            clock=clocks.monotonic,
            stuck_seconds=0.0,
        )
        self._loop: Future[None] = Future()
        self._has_published_all = threading.Event()
        self._is_publishing_well = True

    def remember_in(self, memory: Callable[[], MemoryFile | None]) -> None:
        """Keep through a restart what the guard must not forget; before `start`."""
        self._memory = memory
        self._guard.remember_in(memory)

    def start(self, stop: threading.Event) -> None:
        """Read everything once, but wait for no hung source, and start to guard."""
        self._loops.supervise()
        self._start_collecting()
        # Published is what the guard has seen: every pool, but for a kernel that waits.
        self._start_guard(stop).wait(FIRST_READING_SECONDS)
        self._loops.supervise()  # now that one is busy
        self._start_thread("publish", lambda: self._publish(stop))
        self._start_thread("state-file", lambda: self._save(stop))

    def watch(
        self, stop: threading.Event, notifier: Notifier, parts: Sequence[Part] = ()
    ) -> None:
        """Supervise every thread, and tell systemd how it goes, until `stop` is set.

        Ready is said after the first Snapshot in which every source has been tried, alive
        as long as no cycle of the guard is overdue. Each of `parts` returns why it has ended,
        None while it lives. Raises ExporterError if a part has ended: systemd starts all anew.
        """
        has_said_ready = False
        hasty = 0
        while not stop.wait(HASTY_SECONDS if hasty else HEALTH_SECONDS):
            hasty = max(0, hasty - 1)
            if self._guard.step_over():
                self._start_guard(stop)
                hasty = HASTY_LOOKS
            self._loops.supervise()
            self._guard.supervise()
            self._hooks.supervise()
            supervise_log()
            loop = "the guard's loop has ended" if self._loop.done() else None
            threads = map(_end_of, self._threads.values())
            for why in (loop, *threads, *(part() for part in parts)):
                if why:
                    raise ExporterError(f"{why}; its log line is above")
            if not has_said_ready and self._has_published_all.is_set():
                has_said_ready = True
                notifier.ready()
            if self._guard.is_cycling():
                notifier.alive()
            if self._reloading.take_request():
                # In a thread: a file that cannot be read must not look like a dead guard.
                with self._bulkheads.contain(Stage.THREAD, "reload"):
                    threading.Thread(
                        target=self._reload, args=(notifier,), name="reload", daemon=True
                    ).start()

    def _reload(self, notifier: Notifier) -> None:
        notifier.reloading()
        with self._bulkheads.contain(Stage.THREAD, "reload"):
            self._reloading.reload(self.follow)
        notifier.ready()

    def follow(self, settings: Settings) -> None:
        """Go by other settings from now on. Raises ConfigError, and then nothing changes."""
        fixed = [
            f"commands.{name}: takes effect at the next start only"
            for name in Commands.__struct_fields__
            if getattr(settings.commands, name) != getattr(self._commands, name)
        ]
        if fixed:
            raise ConfigError(fixed)
        settings = self._reloading.permit(settings)
        # Before the rules: one that may extend from now on must know what failed before.
        self._guard.remember_in(self._memory)
        self._collection.programs = programs(settings)
        self._collection.max_volumes = settings.collect.top_volumes
        self._extender.deadline_seconds = settings.collect.extend_deadline_seconds
        self._hooks.use(settings.hook.command, settings.hook.deadline_seconds)
        self._schedule.follow(intervals(settings))
        self._guard.follow(rules(settings))

    def stop(self) -> None:
        """End; an lvextend under way goes on by itself. `stop` of `start` is set already."""
        self._schedule.stop()
        self._host.close()
        if not self._guard.join_workers(WORKER_GRACE_SECONDS):
            # It has its own session and keeps its output in memory: it goes on without us.
            self._log.warning("stopped_while_extending")

    def snapshot(self) -> Snapshot:
        """Make the Snapshot as of now, the guard's account included."""
        snapshot = self._guard.report(self._collection.snapshot(self._guard.live_pools()))
        if snapshot.guard:
            guard = structs.replace(
                snapshot.guard,
                process=self.own_figures(),
                is_memory_locked=self.is_memory_locked(),
                hook_calls=self._hooks.calls,
            )
            snapshot = structs.replace(snapshot, guard=guard)
        return self.maintenance(structs.replace(snapshot, configuration=self._reloading.state))

    def _start_collecting(self) -> None:
        """Read once before the guard's first cycle, which no hung source delays for long."""
        first = threading.Thread(target=self._read_first, name="collect", daemon=True)
        with self._bulkheads.contain(Stage.THREAD, "collect"):
            first.start()
            first.join(FIRST_READING_SECONDS)
        self._schedule.start()

    def _read_first(self) -> None:
        self._guard.keep_ready()
        self._collection.refresh_all()

    def _start_guard(self, stop: threading.Event) -> threading.Event:
        """Run the guard in a thread that was started ahead; return what its cycles set."""
        has_cycled = threading.Event()
        self._loop = self._loops.submit(self._guard.run, stop, has_cycled.set)
        return has_cycled

    def _start_thread(self, name: str, run: Callable[[], None]) -> None:
        self._threads[name] = threading.Thread(target=run, name=name, daemon=True)
        self._threads[name].start()

    def _publish(self, stop: threading.Event) -> None:
        """Make the Snapshot that scrapes get, until `stop` is set."""
        pause = 0.0
        while not stop.wait(pause):
            began = time.thread_time()
            is_complete = self._collection.is_complete
            if self._publish_one() and is_complete:
                self._has_published_all.set()
            pause = publish_pause(time.thread_time() - began, is_awaited=not is_complete)
            for name in self._schedule.repair():
                self._log.warning("schedule_repaired", source=name)

    def _save(self, stop: threading.Event) -> None:
        """Keep what the next guard must know; a file that hangs holds up nobody else."""
        while not stop.is_set():
            self._guard.has_news.wait(SAVE_SECONDS)
            self._guard.has_news.clear()
            self._guard.save()

    def _publish_one(self) -> bool:
        """Publish a Snapshot; return whether that succeeded, and log each change."""
        with self._bulkheads.contain(Stage.PUBLISH, expected=(ExporterError,)) as bulkhead:
            self._give(self.snapshot())
        error = bulkhead.error
        if (error is None) != self._is_publishing_well:
            self._is_publishing_well = error is None
            if error is None:
                self._log.info("publishing_again")
            else:
                self._log.error("publishing_failed", error=quote(str(error) or repr(error)))
        return error is None

    def _ticks(self, settings: Settings) -> tuple[Tick, ...]:
        sources = tuple(
            Tick(name=name, interval_seconds=seconds, run=self._reader(Collector(name)))
            for name, seconds in intervals(settings).items()
        )
        watch = Tick(name="watch", interval_seconds=WATCH_SECONDS, run=self._look_at_files)
        names = Tick(
            name="names", interval_seconds=NAMES_SECONDS, run=self._collection.name_volumes
        )
        return (*sources, watch, names)

    def _reader(self, name: Collector) -> Callable[[], object]:
        return lambda: self._collection.refresh(name)

    def _look_at_files(self) -> None:
        self._guard.keep_ready()
        if self._configuration.has_changed():
            self._log.info("lvm_configuration_changed")
            self._collection.refresh(Collector.POLICY, is_patient=True)
        # Somebody may have made the space that a pool waits for.
        changed = self._groups.changed()
        if changed and not self._has_read_alone(changed):
            self._collection.refresh(Collector.LVM, is_patient=True)

    def _has_read_alone(self, names: frozenset[str]) -> bool:
        """Read a VG that is known and alone has changed; whether that was all there is."""
        layout = self._collection.readings.lvm
        known = {group.name for group in layout.volume_groups} if layout else set()
        if len(names) > 1 or not names <= known:
            return False
        try:
            self._collection.refresh_group(*names)
        except HostError:
            return False  # gone, or LVM does not answer: that shows when all is read
        return True

    def _say_state(self, name: Collector, state: CollectorState) -> None:
        if state.is_ok:
            self._log.info("source_readable", source=str(name))
        elif state.absence and not state.is_required:
            self._log.info("source_absent", source=str(name), absence=str(state.absence))
        else:
            self._log.warning("source_failed", source=str(name), error=state.error)


def _end_of(thread: threading.Thread) -> str | None:
    """Say that a thread has ended, which none of ours does by itself."""
    return None if thread.is_alive() else f"the thread {thread.name} has ended"
