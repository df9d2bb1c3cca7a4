"""Log lines to a stream that may be slow, full or gone, without ever waiting for it.

The caller's thread formats, a thread of its own writes. Events of ours (structlog) and
of libraries (logging) become the same lines. Whatever fails here costs lines, never a caller.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TextIO

import structlog
from structlog import dev, processors
from structlog.stdlib import ProcessorFormatter, add_logger_name
from structlog.typing import Processor

from exporter.errors import ConfigError

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "json", "logfmt", "console")
QUEUED_LINES = 1000
FLUSH_SECONDS = 1.0
# sd-daemon(3): the prefix <N> tells journald a line's priority
PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
STAMPS = (processors.add_log_level, processors.TimeStamper(fmt="iso", utc=True))
LAST_LINE = b""


def configure(level: str, log_format: str = "auto", stream: TextIO | None = None) -> None:
    """Send every event of `level` and above to `stream` (standard error) from now on.

    `auto` is console on a terminal and json elsewhere.
    Raises ConfigError for a level or a format that does not exist.
    """
    for key, word, words in (("log.level", level, LEVELS), ("log.format", log_format, FORMATS)):
        if word not in words:
            raise ConfigError([f'{key}: "{word}" is not one of {", ".join(words)}'])
    root = logging.getLogger()
    for old in _handlers():
        root.removeHandler(old)
        old.close()
    root.addHandler(_Handler(stream or sys.stderr, log_format))
    root.setLevel(level.upper())
    # At INFO it reports each run of each job, at WARNING each that is skipped since the
    # one before still runs: a slow source shows in its metrics, not in a line a tick.
    logging.getLogger("apscheduler").setLevel(max(logging.ERROR, root.level))
    # At WARNING it says of each client that has left while it was being answered.
    logging.getLogger("asyncio").setLevel(max(logging.ERROR, root.level))
    merge = structlog.contextvars.merge_contextvars
    structlog.configure(
        processors=[merge, *STAMPS, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def dropped_lines() -> int:
    """Count the lines lost since `configure`: too many at a time, or not to be written."""
    return sum(handler.writer.dropped for handler in _handlers())


def flush() -> None:
    """Wait until all is written, but no longer than FLUSH_SECONDS."""
    for handler in _handlers():
        handler.flush()


def supervise() -> None:
    """Start the writing thread if it could not be started before, or has died.

    To be called again and again by a thread that may wait for another one to start.
    """
    for handler in _handlers():
        handler.writer.supervise()


def _handlers() -> list[_Handler]:
    return [found for found in logging.getLogger().handlers if isinstance(found, _Handler)]


def _renderers(log_format: str, *, is_terminal: bool) -> list[Processor]:
    if log_format == "logfmt":
        order = ("timestamp", "level", "event")
        line = processors.LogfmtRenderer(key_order=order, drop_missing=True, bool_as_flag=False)
        return [processors.format_exc_info, line]
    if log_format == "console" or (log_format == "auto" and is_terminal):
        # repr: a host's text must not move the terminal's cursor
        lines = dev.ConsoleRenderer(
            colors=is_terminal, repr_native_str=True, exception_formatter=dev.plain_traceback
        )
        return [lines]
    # Without the values of variables: they may be large, or secret.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [processors.ExceptionRenderer(tracebacks), processors.JSONRenderer()]


class _Handler(logging.Handler):
    """Formats records and leaves them to its writer."""

    def __init__(self, stream: TextIO | None, log_format: str) -> None:
        super().__init__()
        descriptor = _descriptor(stream)
        is_terminal = descriptor is not None and os.isatty(descriptor)
        lines = _renderers(log_format, is_terminal=is_terminal)
        self.formatter = ProcessorFormatter(
            foreign_pre_chain=[add_logger_name, *STAMPS],
            processors=[ProcessorFormatter.remove_processors_meta, *lines],
        )
        self._is_journal = descriptor is not None and _is_journal(descriptor)
        self.writer = _Writer(_sink(stream, descriptor))
        self.writer.supervise()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record's line. Never raises: logging is no reason to fail."""
        try:
            self.writer.put(self._lines(record))
        except Exception:  # noqa: BLE001 - any object may be in an event
            self.writer.count_dropped()

    def _lines(self, record: logging.LogRecord) -> bytes:
        prefix = f"<{PRIORITIES.get(record.levelname, 6)}>" if self._is_journal else ""
        lines = "".join(f"{prefix}{line}\n" for line in self.format(record).split("\n"))
        return lines.encode("utf-8", "backslashreplace")

    def flush(self) -> None:
        """See the module's flush."""
        self.writer.supervise()
        self.writer.flush()

    def close(self) -> None:
        """Let the writer end when it has written what it holds."""
        self.writer.close()
        super().close()


class _Writer:
    """Writes queued lines in a thread; of too many the oldest are dropped.

    Without the thread lines wait in the queue, and whoever logs goes on.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._is_closed = False
        self._lines: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._is_writing = False
        self._untold = 0
        self.dropped = 0

    def supervise(self) -> None:
        """Start the thread where there is none. One that cannot be started is no error."""
        with self._starting:
            last = self._thread
            if self._is_closed or (last is not None and last.is_alive()):
                return
            thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
            with contextlib.suppress(RuntimeError):  # no more threads, or no memory
                thread.start()
                self._thread = thread
        if last is not None:
            structlog.get_logger().error(
                "log_writer_died", is_replaced=last is not self._thread
            )

    def close(self) -> None:
        """Let the thread end after the last line that is queued."""
        self._is_closed = True
        self.put(LAST_LINE)

    def put(self, line: bytes) -> None:
        """Queue a line."""
        with self._changed:
            if len(self._lines) >= QUEUED_LINES:
                self._lines.popleft()
                self.count_dropped()
            self._lines.append(line)
            self._changed.notify_all()

    def count_dropped(self) -> None:
        """Note that a line is lost."""
        with self._changed:
            self.dropped += 1
            self._untold += 1

    def flush(self) -> None:
        """Wait for the queue to empty, but not for a stream that takes nothing."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._lines or self._is_writing), FLUSH_SECONDS)

    def _run(self) -> None:
        """Write to the last line."""
        for line in iter(self._next, LAST_LINE):
            try:
                self._write(line)
            except Exception:  # noqa: BLE001 - a closed pipe, a full disk, any stream's error
                self.count_dropped()
            else:
                self._tell_dropped()

    def _next(self) -> bytes:
        with self._changed:
            self._is_writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._lines)
            line = self._lines.popleft()
            self._is_writing = line != LAST_LINE
            return line

    def _tell_dropped(self) -> None:
        with self._changed:
            # Later while lines still wait: the news would displace one of them.
            count = 0 if self._lines else self._untold
            self._untold -= count
        if count:
            structlog.get_logger().warning("log_lines_dropped", count=count)


def _descriptor(stream: TextIO | None) -> int | None:
    """Copy the stream's descriptor: a closed one's number soon belongs to another file."""
    with contextlib.suppress(OSError, ValueError):
        return os.dup(stream.fileno()) if stream else None
    return None


def _sink(stream: TextIO | None, descriptor: int | None) -> Callable[[bytes], object]:
    """Choose how to write: past Python's buffer, whose lock a stuck write would hold."""
    if descriptor is not None:
        return partial(_write_all, descriptor)
    if stream is None:  # started with a closed standard error
        return len
    return lambda line: (stream.write(line.decode()), stream.flush())


def _write_all(descriptor: int, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # whoever shares the terminal may set O_NONBLOCK
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def _is_journal(descriptor: int) -> bool:
    """Whether it is systemd's; the variable alone also reaches a user's shell."""
    status = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
