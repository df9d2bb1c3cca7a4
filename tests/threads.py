"""Ends threads from outside, as nothing but an error of ours would."""

from __future__ import annotations

import ctypes
import threading


def end_thread(thread: threading.Thread) -> None:
    """Raise SystemExit in a thread, as soon as it does something; it ends without a word."""
    set_error = ctypes.pythonapi.PyThreadState_SetAsyncExc
    set_error(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))


def thread_named(name: str) -> threading.Thread:
    """Find the one thread of this name."""
    (thread,) = (found for found in threading.enumerate() if found.name == name)
    return thread
