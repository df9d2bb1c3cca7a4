"""What a process needs to be the host's guard: lock, memory file, locked memory, priority."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from msgspec import structs

from exporter.config import Settings
from exporter.events import Log
from exporter.guard.lock import PATIENCE_SECONDS, GuardLock, Patience
from exporter.guard.memory import MemoryFile
from exporter.model import GuardMode, GuardNote
from exporter.service.wiring import rules

# As in systemd/thinpool-guard.service. LVM itself goes to -18 while devices are suspended.
NICENESS = -15


def raise_priority(log: Log, niceness: int = NICENESS) -> None:
    """Give all threads of this process, and the commands they will start, more priority.

    A busy host must not delay an extension until the pool is full. Does nothing if
    somebody has chosen a niceness, as systemd does by the unit. Logs a refusal.
    """
    if os.getpriority(os.PRIO_PROCESS, 0) != 0:
        return
    try:
        # Linux keeps a niceness for each thread; new threads and children inherit it.
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.setpriority(os.PRIO_PROCESS, int(thread.name), niceness)
    except OSError as error:
        log.warning(
            "priority_not_raised",
            error=str(error),
            next_step="run as root, in a container with --cap-add=SYS_NICE",
        )


class Protection:
    """Held from the first `take` with settings that may extend until `release`.

    `stay_resident` is called once, when it becomes the guard.
    """

    def __init__(self, directory: Path, stay_resident: Callable[[], None], *, log: Log) -> None:
        self._lock = GuardLock(directory)
        self._directory = directory
        self._stay_resident = stay_resident
        self._log = log
        self.memory: MemoryFile | None = None

    def take(
        self, settings: Settings, patience: Patience = lambda: PATIENCE_SECONDS
    ) -> Settings:
        """Become the host's one guard; returns settings that only observe where that fails.

        Raises GuardRunningError when another guard protects this host, and has not ended
        within the seconds that `patience` returns.
        """
        if not rules(settings).may_extend:
            return settings
        modes = {label: pool.mode for label, pool in settings.pools.items() if pool.mode}
        try:
            note = GuardNote(pid=os.getpid(), mode=settings.guard.mode, pools=modes)
            self._lock.take(note, patience)
        except OSError as error:
            self._log.error("guard_only_observes", error=str(error), next_step="run as root")
            return _observing(settings)
        if self.memory is None:
            raise_priority(self._log)
            self._stay_resident()
            self.memory = MemoryFile(self._directory)
        return settings

    def release(self) -> None:
        """Let another guard begin."""
        self._lock.release()


def _observing(settings: Settings) -> Settings:
    pools = {label: structs.replace(pool, mode=None) for label, pool in settings.pools.items()}
    guard = structs.replace(settings.guard, mode=GuardMode.OBSERVE)
    return structs.replace(settings, guard=guard, pools=pools)
