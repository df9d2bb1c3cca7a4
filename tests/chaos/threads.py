"""Threads: those of the test, and a machine that gives no more of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OURS = "chaos-"
_START = threading.Thread.start


def start_ours(thread: threading.Thread) -> None:
    """Start a thread of the test's, whatever happens to those of the program."""
    _START(thread)


class Threads:
    """Decides whether the program gets another thread, and keeps what threads died of."""

    def __init__(self) -> None:
        self.are_refused = False
        self.refused = 0
        self.died: list[str] = []

    @contextmanager
    def in_force(self) -> Iterator[Threads]:
        """Stand between the program and its threads."""
        before = threading.excepthook
        threads = self

        def start(self: threading.Thread) -> None:
            if threads.are_refused and not self.name.startswith(OURS):
                threads.refused += 1
                raise RuntimeError("can't start new thread")
            _START(self)

        def note(args: threading.ExceptHookArgs) -> None:
            name = args.thread.name if args.thread else "?"
            self.died.append(f"{name}: {args.exc_value!r}")

        threading.Thread.start = start  # type: ignore[method-assign]
        threading.excepthook = QuietHook(note)
        try:
            yield self
        finally:
            threading.Thread.start = _START  # type: ignore[method-assign]
            threading.excepthook = before
            ignore_exits()


def ignore_exits() -> None:
    """Let threads end with SystemExit from now on, as Python itself does; pytest does not.

    Threads that a fault has held up end so after their guard: see Seam.
    """
    if not isinstance(threading.excepthook, QuietHook):
        threading.excepthook = QuietHook(threading.excepthook)


Hook = Callable[[threading.ExceptHookArgs], object]


class QuietHook:
    """A hook that ignores SystemExit, as Python's own does."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    def __call__(self, args: threading.ExceptHookArgs) -> None:
        """See threading.excepthook."""
        if args.exc_type is not SystemExit:
            self._hook(args)
