"""Ends threads from outside, as nothing but an error of ours would."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tests.waiting import PATIENCE_SECONDS, wait_for

AGAIN_SECONDS = 2.0


def end_thread(thread: threading.Thread, wake: Callable[[], object] = lambda: None) -> None:
    """Raise SystemExit in a thread, wake it, and wait for its end.

    This thread is not traced meanwhile: as long as another thread has such an exception to
    come, CPython 3.11 never gets into a traced function, and would stay here for ever.
    """
    set_error = ctypes.pythonapi.PyThreadState_SetAsyncExc
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        ends_at = time.monotonic() + PATIENCE_SECONDS
        # Again if it was met by something that catches whatever is raised.
        while thread.is_alive() and time.monotonic() < ends_at:
            set_error(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
            with suppress(OSError):
                wake()
            thread.join(AGAIN_SECONDS)
    finally:
        sys.settrace(trace)
    assert not thread.is_alive()


def thread_named(name: str) -> threading.Thread:
    """Find the one thread of this name, once those of tests before have ended."""

    def only() -> threading.Thread | None:
        found = [thread for thread in threading.enumerate() if thread.name == name]
        return found[0] if len(found) == 1 else None

    return wait_for(only, seconds=PATIENCE_SECONDS, what=f"one thread {name}")
