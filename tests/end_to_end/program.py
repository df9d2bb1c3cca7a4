"""Starts the real program as a user does, and asks it over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.waiting import wait_for

START_SECONDS = 30.0
STOP_SECONDS = 30.0
PROGRAM = (sys.executable, "-m", "exporter")


def run(
    *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command of the program to its end."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | dict(env or {}),
    )


class Process:
    """A command that runs on, from `with` to the end of its block."""

    flags: tuple[str, ...] = ("--log.format=json",)

    def __init__(
        self,
        *arguments: str,
        directory: Path,
        log: str = "log",
        state: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        flags = (*self.flags, f"--state.directory={state or directory}")
        self._log_path = directory / log
        with self._log_path.open("wb") as file:
            self.process = subprocess.Popen(
                [*PROGRAM, *arguments, *flags],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=os.environ | dict(env or {}),
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        if error is not None:
            sys.stderr.write(self.log_text())

    def log_text(self) -> str:
        """Return everything that it has logged."""
        return self._log_path.read_text()

    def events(self, name: str) -> list[dict[str, object]]:
        """Find its log lines of one event."""
        found = []
        for line in self.log_text().splitlines():
            fields = json.loads(line) if line.startswith("{") else {}
            if fields.get("event") == name:
                found.append(fields)
        return found

    def stop(self) -> int:
        """End it as systemd does, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


class Program(Process):
    """A serving command, at a port of its own."""

    flags = ("--web.listen-address=127.0.0.1:0", *Process.flags)

    def __enter__(self) -> Program:
        self.address = wait_for(self._address, seconds=START_SECONDS, what="serving")
        return self

    def wait_until_ready(self) -> Program:
        """Wait for the first complete Snapshot."""
        wait_for(self._is_ready, seconds=START_SECONDS, what="/-/ready")
        return self

    def get(self, path: str) -> tuple[int, str]:
        """Ask for a page; status and text."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self) -> dict[str, float]:
        """Scrape, by series as it is written."""
        return parse_metrics(self.get("/metrics")[1])

    def _address(self) -> str | None:
        assert self.process.poll() is None, self.log_text()
        lines = self.events("serving")
        addresses = lines[0]["addresses"] if lines else None
        return str(addresses[0]) if isinstance(addresses, list) else None

    def _is_ready(self) -> bool | None:
        return self.get("/-/ready")[0] == 200 or None


def parse_metrics(text: str) -> dict[str, float]:
    """Read an exposition into values by series."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    pairs = (line.rpartition(" ") for line in lines)
    return {series: float(value) for series, _, value in pairs}
