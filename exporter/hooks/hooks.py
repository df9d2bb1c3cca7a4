"""Runs the user's command, each pool's in a thread of its own, out of the guard's way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from exporter.command import Runner
from exporter.events import Log
from exporter.hooks.agenda import Agenda, Task
from exporter.hooks.caller import Caller, subject
from exporter.hooks.happening import LASTING, Happening, HookEvent
from exporter.hooks.trust import ROOT_ALONE, Trust
from exporter.model import Device, ThinPool


class Hooks:
    """Calls one command, at most once at a time for each pool; None: never any."""

    def __init__(
        self,
        runner: Runner,
        command: str | None,
        *,
        deadline_seconds: float,
        clock: Callable[[], float],
        log: Log,
        trust: Trust = ROOT_ALONE,
    ) -> None:
        self._runner = runner
        self._trust = trust
        self._clock = clock
        self._log = log
        self._changed = threading.Condition()
        self._agendas: dict[str, Agenda] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._caller: Caller | None = None
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
        happening = Happening(
            event=event,
            reason=str(reason),
            pool=pool,
            added_bytes=added_bytes or {},
            seconds_left=seconds_left,
        )
        with self._changed:
            agenda = self._agendas.setdefault(pool.label, Agenda())
            lost = agenda.put(happening, self._clock())
            self._attend(pool.label, agenda)
        if lost is not None:
            added = {f"{name}_added_bytes": size for name, size in lost.added_bytes.items()}
            self._log.warning("hook_superseded", **subject(lost), **added)

    def settle(self, pool_label: str, *events: HookEvent) -> None:
        """Forget states that have passed: both that can last, or those named.

        For a pool that is gone, name every event.
        """
        if pool_label not in self._agendas:
            return  # as in nearly every cycle
        with self._changed:
            agenda = self._agendas.get(pool_label)
            if agenda is not None:
                agenda.drop(events or LASTING)
                self._changed.notify_all()
                if not agenda:
                    del self._agendas[pool_label]

    def _attend(self, label: str, agenda: Agenda) -> None:
        """See to it that there is a thread where there is a task."""
        self._changed.notify_all()
        thread = self._threads.get(label)
        if agenda.next() is None or (thread is not None and thread.is_alive()):
            return
        # A daemon: our end must not wait for a hook.
        thread = threading.Thread(
            target=self._serve, args=(label,), name=f"hook-{label}", daemon=True
        )
        self._threads[label] = thread
        try:
            thread.start()
        except RuntimeError as error:  # no more threads: at the next call, perhaps
            del self._threads[label]
            self._log.error("hook_not_started", pool=label, error=str(error))

    def _serve(self, label: str) -> None:
        """Do a pool's tasks as they come due, until there is none."""
        while (task := self._next(label)) is not None:
            happening, caller = task.happening, self._caller
            if caller is None:  # there is no command any more
                self._finish(label, task, is_ok=True)
                continue
            ended = caller.run(happening)
            pause = self._finish(label, task, is_ok=not ended.problem)
            caller.narrate(happening, ended, pause)

    def _next(self, label: str) -> Task | None:
        """Wait for the next task to be due."""
        with self._changed:
            while (agenda := self._agendas.get(label)) and (task := agenda.next()):
                left = task.due_at - self._clock()
                if left <= 0:
                    task.is_running = True
                    return task
                self._changed.wait(left)
            del self._threads[label]
        return None

    def _finish(self, label: str, task: Task, *, is_ok: bool) -> float | None:
        with self._changed:
            agenda = self._agendas.get(label, Agenda())
            return agenda.finish(task, self._clock(), is_ok=is_ok)
