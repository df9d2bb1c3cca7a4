"""Slows down a unit that cannot start: systemd starts it again every two seconds, for ever.

A bad flag, configuration or address is still bad two seconds later, and each start costs seven
lines in the journal. After a crash, however, the guard must be back at once. RestartSteps= of
systemd cannot tell them apart: it counts all restarts since the unit was started by hand.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from exporter.command import HostRunner, Runner
from exporter.errors import HostError
from exporter.guard.lock import PATIENCE_SECONDS

# Below systemd's limit for a start, 90 s by default.
PAUSE_SECONDS = 60.0
ASK_SECONDS = 5.0


def lock_patience(unit: str, runner: Runner | None = None) -> float:
    """Return for how long to wait for another guard to end; seconds."""
    return PAUSE_SECONDS if was_restarted(unit, runner or HostRunner()) else PATIENCE_SECONDS


def delay_restart(
    unit: str, runner: Runner | None = None, sleep: Callable[[float], object] = time.sleep
) -> None:
    """Wait before this process ends, if systemd has started it by itself.

    Nobody waits for such a start. `systemctl start` and `systemctl restart` fail at once.
    """
    if was_restarted(unit, runner or HostRunner()):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # `systemctl stop` ends the pause
        sleep(PAUSE_SECONDS)


def was_restarted(unit: str, runner: Runner) -> bool:
    """Return whether systemd has restarted this unit since somebody started it.

    True if systemd does not tell, as before version 235; False without a unit.
    """
    if not unit:
        return False
    argv = ("systemctl", "show", "--property=NRestarts", unit)
    try:
        output = runner.run(argv, deadline_seconds=ASK_SECONDS)
    except HostError:
        return True
    return output.stdout.strip() != "NRestarts=0"
