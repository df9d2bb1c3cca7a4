"""Waits, with a deadline, for what other threads and processes do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 30.0  # for what takes milliseconds where nothing else runs


def wait_for(probe: Callable[[], T | None], *, seconds: float, what: str) -> T:
    """Ask again until there is an answer; AssertionError at the deadline."""
    ends_at = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        answer = probe()
        if answer is not None:
            return answer
        assert time.monotonic() < ends_at, f"not within {seconds} s: {what}"
        pause.wait(0.1)


def eventually(fact: Callable[[], bool]) -> bool:
    """Wait until the fact holds."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.005)
    return True
