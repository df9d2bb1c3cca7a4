"""What one pool's hook is still to be called for: no clock, no thread, no process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from exporter.hooks.happening import LASTING, Happening, HookEvent

# dmeventd looks every 10 s and waits for twice as many looks after each failure; seen with
# 2.03.16: it tried again after 10, 20, 40 s. The last is its "up to 42 minutes".
FIRST_PAUSE_SECONDS = 10.0
LAST_PAUSE_SECONDS = 2560.0


def pause_seconds(failures: int) -> float:
    """Wait so long after that many failures in a row."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 8), LAST_PAUSE_SECONDS)


@dataclass(slots=True)
class Task:
    """One call that is due at a time, and what became of it so far."""

    happening: Happening
    due_at: float
    failures: int = 0
    is_running: bool = False
    is_done: bool = False


class Agenda:
    """At most one task for each event.

    A pool that cannot grow and is full has both, in every cycle: they must not push each
    other out. A later growth replaces an earlier one, later figures those of a state.
    """

    def __init__(self) -> None:
        self._tasks: dict[HookEvent, Task] = {}

    def put(self, happening: Happening, now: float) -> Happening | None:
        """Take up a happening; returns the earlier growth that it has pushed out."""
        task = self._tasks.get(happening.event)
        if task is not None and happening.event in LASTING:
            task.happening = happening
            return None
        self._tasks[happening.event] = Task(happening, now)
        return task.happening if task is not None and not task.is_running else None

    def drop(self, events: Iterable[HookEvent]) -> None:
        """Forget these; one that is running ends by itself."""
        for event in events:
            self._tasks.pop(event, None)

    def next(self) -> Task | None:
        """Find the task that is due first, in the future perhaps."""
        tasks = (task for task in self._tasks.values() if not task.is_done)
        return min(tasks, key=lambda task: task.due_at, default=None)

    def finish(self, task: Task, now: float, *, is_ok: bool) -> float | None:
        """Note how a call ended; returns the pause until it is tried again, if it is."""
        task.is_running = False
        event = task.happening.event
        if self._tasks.get(event) is not task:
            return None  # its state has passed, or there is a later growth
        if not is_ok:
            task.failures += 1
            pause = pause_seconds(task.failures)
            task.due_at = now + pause
            return pause
        task.is_done = True
        if event not in LASTING:
            del self._tasks[event]
        return None

    def __len__(self) -> int:
        return len(self._tasks)
