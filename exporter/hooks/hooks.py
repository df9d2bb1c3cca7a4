"""Runs the user's command, each pool's in a thread of its own, out of the guard's way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from exporter.bulkhead import Bulkheads
from exporter.command import Runner
from exporter.events import Log
from exporter.hooks.agenda import Agenda, Task
from exporter.hooks.caller import Caller, subject
from exporter.hooks.happening import LASTING, Happening, HookEvent
from exporter.hooks.trust import ROOT_ALONE, Trust
from exporter.model import Device, Stage, ThinPool

KEEPER = "hooks"
DONE, FAILED = "done", "failed"  # outcomes of a call
RETRY_SECONDS = 1.0  # after an error of the keeper's own


class Hooks:
    """Calls one command, at most once at a time for each pool; None: never any.

    `call` and `settle` are for the guard's loop: they never raise, wait, or start a thread.
    A thread that is started ahead, the keeper, starts a thread for each call that is due.
    """

    def __init__(  # noqa: PLR0913 - the last two have defaults
        self,
        runner: Runner,
        command: str | None,
        *,
        deadline_seconds: float,
        clock: Callable[[], float],
        log: Log,
        trust: Trust = ROOT_ALONE,
        bulkheads: Bulkheads | None = None,
    ) -> None:
        self._runner = runner
        self._trust = trust
        self._clock = clock
        self._log = log
        self._bulkheads = bulkheads or Bulkheads(log, clock)
        self._changed = threading.Condition()
        self._agendas: dict[str, Agenda] = {}
        self._running: set[str] = set()
        self._keeper: threading.Thread | None = None
        self._starting = threading.Lock()
        self._caller: Caller | None = None
        self._calls = {DONE: 0, FAILED: 0}
        self.use(command, deadline_seconds)

    def use(self, command: str | None, deadline_seconds: float) -> None:
        """Call this command from now on, for what waits to be called again as well."""
        caller = None
        if command is not None:
            caller = Caller(
                self._runner,
                command,
                deadline_seconds=deadline_seconds,
                clock=self._clock,
                log=self._log,
                trust=self._trust,
            )
        self._caller = caller
        self.supervise()

    @property
    def calls(self) -> dict[str, int] | None:
        """Calls since the start, by outcome; None if there is no command."""
        with self._changed:
            return dict(self._calls) if self._caller else None

    @property
    def is_alive(self) -> bool:
        """Whether the keeper lives."""
        return self._keeper is not None and self._keeper.is_alive()

    def supervise(self) -> None:
        """Start the keeper if there is a command and no keeper; not for the guard's loop.

        To be repeated: one that cannot be started is counted and tried again.
        """
        with self._starting, self._bulkheads.contain(Stage.HOOK, KEEPER):
            if self._caller is not None and not self.is_alive:
                # A daemon, as all threads here: our end must not wait for a hook.
                keeper = threading.Thread(target=self._keep, name=KEEPER, daemon=True)
                keeper.start()
                self._keeper = keeper

    def call(
        self,
        pool: ThinPool,
        event: HookEvent,
        reason: str,
        *,
        added_bytes: Mapping[Device, int] | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Have the command run, soon and until it exits 0. Returns at once, never raises.

        For a state that lasts it may be called in every cycle, and once again has an
        effect after `settle`.
        """
        if self._caller is None:
            return
        with self._bulkheads.contain(Stage.HOOK, pool.label):
            self._put(
                Happening(
                    event=event,
                    reason=str(reason),
                    pool=pool,
                    added_bytes=added_bytes or {},
                    seconds_left=seconds_left,
                )
            )

    def settle(self, pool_label: str, *events: HookEvent) -> None:
        """Forget states that have passed: both that can last, or those named.

        For a pool that is gone, name every event. Never raises.
        """
        if pool_label not in self._agendas:
            return  # as in nearly every cycle
        with self._bulkheads.contain(Stage.HOOK, pool_label), self._changed:
            agenda = self._agendas.get(pool_label)
            if agenda is not None:
                agenda.drop(events or LASTING)
                if not agenda:
                    del self._agendas[pool_label]

    def _put(self, happening: Happening) -> None:
        label = happening.pool.label
        with self._changed:
            agenda = self._agendas.setdefault(label, Agenda())
            lost = agenda.put(happening, self._clock())
            task = agenda.next()
            if task is not None and task.due_at <= self._clock():
                self._changed.notify_all()
        if lost is not None:
            added = {f"{name}_added_bytes": size for name, size in lost.added_bytes.items()}
            self._log.warning("hook_superseded", **subject(lost), **added)

    def _keep(self) -> None:
        """Start what is due, for ever."""
        while True:
            with self._bulkheads.contain(Stage.HOOK, KEEPER) as bulkhead:
                for label, task in self._take_due():
                    self._start(label, task)
            if bulkhead.error is not None:
                time.sleep(RETRY_SECONDS)

    def _take_due(self) -> list[tuple[str, Task]]:
        """Wait until tasks are due, of pools whose hook does not run; mark these as running."""
        with self._changed:
            while True:
                waiting = [
                    (label, task)
                    for label, agenda in self._agendas.items()
                    if label not in self._running and (task := agenda.next()) is not None
                ]
                now = self._clock()
                due = [(label, task) for label, task in waiting if task.due_at <= now]
                if due:
                    break
                soonest = min((task.due_at for _, task in waiting), default=None)
                self._changed.wait(None if soonest is None else soonest - now)
            for label, task in due:
                task.is_running = True
                self._running.add(label)
        return due

    def _start(self, label: str, task: Task) -> None:
        with self._bulkheads.contain(Stage.HOOK, label) as bulkhead:
            threading.Thread(
                target=self._run, args=(label, task), name=f"hook-{label}", daemon=True
            ).start()
        if bulkhead.error is not None:  # no more threads, or no memory
            self._finish(label, task, is_ok=False)

    def _run(self, label: str, task: Task) -> None:
        """Run the command for one task; what it raises is a failed call as any other."""
        happening, caller = task.happening, self._caller
        if caller is None:  # there is no command any more
            self._finish(label, task, is_ok=True)
            return
        ended, pause = None, None
        try:
            with self._bulkheads.contain(Stage.HOOK, label):
                ended = caller.run(happening)
        finally:
            is_ok = ended is not None and not ended.problem
            pause = self._finish(label, task, is_ok=is_ok)
        if ended is not None:
            caller.narrate(happening, ended, pause)

    def _finish(self, label: str, task: Task, *, is_ok: bool) -> float | None:
        with self._changed:
            self._calls[DONE if is_ok else FAILED] += 1
            self._running.discard(label)
            agenda = self._agendas.get(label, Agenda())
            pause = agenda.finish(task, self._clock(), is_ok=is_ok)
            if not agenda:
                self._agendas.pop(label, None)
            self._changed.notify_all()
        return pause
