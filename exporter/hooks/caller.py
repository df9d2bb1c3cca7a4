"""Runs the user's command once, if its file is to be trusted, and tells how that went."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from msgspec import Struct

from exporter.command import Runner
from exporter.errors import CommandStuckError, HostError, quote
from exporter.events import Log
from exporter.hooks.happening import Happening, environment
from exporter.hooks.trust import Trust, refusal

LOGGED_CHARACTERS = 2000


class Ended(Struct, frozen=True):
    """One call, ended: what went wrong, in the log's terms, and what was printed."""

    problem: Mapping[str, object]
    said: str = ""
    seconds: float = 0.0
    is_told: bool = False  # in a line of its own, which would be the same each time


class Caller:
    """Runs one command; several threads may do so at the same time."""

    def __init__(
        self,
        runner: Runner,
        command: str,
        *,
        deadline_seconds: float,
        clock: Callable[[], float],
        log: Log,
        trust: Trust,
    ) -> None:
        self._runner = runner
        self._command = command
        self._deadline_seconds = deadline_seconds
        self._clock = clock
        self._log = log
        self._trust = trust
        self._lock = threading.Lock()
        self._refusal = ""

    def run(self, happening: Happening) -> Ended:
        """Run the command for one happening, and wait for its end."""
        why_not = refusal(self._command, self._trust)
        self._say_refusal(why_not)
        if why_not:
            return Ended({"error": why_not}, is_told=True)
        began = self._clock()
        problem, said = self._call(happening)
        return Ended(problem, said, self._clock() - began)

    def narrate(self, happening: Happening, ended: Ended, pause: float | None) -> None:
        """Tell how a call ended, and when it is tried again, if it is."""
        if ended.is_told:
            return
        say = self._log.warning if ended.problem else self._log.info
        said = quote(ended.said, LOGGED_CHARACTERS)
        say(
            "hook_failed" if ended.problem else "hook_done",
            **subject(happening),
            seconds=round(ended.seconds, 3),
            **ended.problem,
            **({"output": said} if said else {}),
            **({"again_in_seconds": pause} if pause is not None else {}),
        )

    def _call(self, happening: Happening) -> tuple[Mapping[str, object], str]:
        try:
            output = self._runner.call(
                (self._command, happening.pool.label),
                environment=environment(happening),
                deadline_seconds=self._deadline_seconds,
            )
        except CommandStuckError as error:
            return {"deadline_seconds": self._deadline_seconds}, error.stdout
        except (HostError, OSError) as error:
            return {"error": str(error)}, ""
        return {"exit_status": output.status} if output.status else {}, output.stdout

    def _say_refusal(self, why_not: str) -> None:
        """Tell a refusal once, however often it stands in the way."""
        with self._lock:
            is_news, self._refusal = why_not != self._refusal, why_not
        if is_news and why_not:
            self._log.error("hook_refused", command=self._command, error=why_not)


def subject(happening: Happening) -> dict[str, object]:
    """Name what a line is about."""
    pool = happening.pool
    names = {"vg": pool.vg_name, "pool": pool.name}
    return {**names, "on": str(happening.event), "reason": happening.reason}
