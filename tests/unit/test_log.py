"""Log lines: their form, and that no stream however broken holds up who writes them."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest
import structlog

from exporter.errors import ConfigError
from exporter.log import (
    FORMATS,
    LEVELS,
    QUEUED_LINES,
    configure,
    dropped_lines,
    flush,
    supervise,
)
from tests.waiting import PATIENCE_SECONDS, eventually

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
PIPE_BYTES = 65536
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    apscheduler_level = logging.getLogger("apscheduler").level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("apscheduler").setLevel(apscheduler_level)
    structlog.reset_defaults()


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """Open a pipe: where to read, and the stream to log to."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)


def logged(level: str, log_format: str, act: Callable[[], object]) -> str:
    """Log to a string."""
    stream = io.StringIO()
    configure(level, log_format, stream)
    act()
    flush()
    return stream.getvalue()


def example() -> None:
    """Log an event with one of each kind of value."""
    structlog.get_logger().info(
        "pool_extended", vg="docker", extents=5, is_clamped=False, to=None
    )


def fail() -> None:
    """Log an exception."""
    secret = "a pass" + "word"
    try:
        int(f"broken {len(secret)}")
    except ValueError:
        structlog.get_logger().exception("cycle_failed")


def test_json_is_an_object_a_line() -> None:
    """With time, level, event and the values as they are."""
    line = json.loads(logged("info", "json", example))

    assert TIMESTAMP.fullmatch(line.pop("timestamp"))
    assert line == {
        "event": "pool_extended",
        "level": "info",
        "vg": "docker",
        "extents": 5,
        "is_clamped": False,
        "to": None,
    }


def test_logfmt_begins_with_time_level_and_event() -> None:
    """In this order, and with words for booleans."""
    line = logged("info", "logfmt", example)

    time_pair, _, rest = line.partition(" ")
    assert TIMESTAMP.fullmatch(time_pair.removeprefix("timestamp="))
    assert rest.startswith("level=info event=pool_extended ")
    assert set(rest.split()[2:]) == {"vg=docker", "extents=5", "is_clamped=false", "to="}


def test_console_is_for_a_person() -> None:
    """Without colours where there is no terminal."""
    line = logged("info", "console", example)

    assert re.search(
        r"\[info +\] pool_extended +extents=5 is_clamped=False to=None vg='docker'", line
    )
    assert "\x1b" not in line


def test_foreign_text_does_not_move_the_cursor() -> None:
    """What a host's tool printed is shown, not obeyed."""
    for log_format in ("json", "console"):
        line = logged(
            "info", log_format, lambda: structlog.get_logger().info("x", text="\x1b[2J\n")
        )
        assert "\x1b" not in line
        assert line.count("\n") == 1


@pytest.mark.parametrize("log_format", ["json", "logfmt", "console"])
def test_an_exception_has_its_traceback_but_no_variables(log_format: str) -> None:
    """Values of variables may be large, or secret."""
    text = logged("info", log_format, fail)

    assert "ValueError" in text
    assert "broken" in text
    assert "a password" not in text


@pytest.mark.parametrize("log_format", ["json", "logfmt"])
def test_an_exception_is_one_line(log_format: str) -> None:
    """Where lines are for machines."""
    assert logged("info", log_format, fail).count("\n") == 1


@pytest.mark.parametrize("level", LEVELS)
def test_the_level_is_the_least_that_is_logged(level: str) -> None:
    """Ours and the libraries' alike."""

    def act() -> None:
        for word in LEVELS:
            getattr(structlog.get_logger(), word)("ours")
            getattr(logging.getLogger("library"), word)("theirs")

    lines = [json.loads(line) for line in logged(level, "json", act).splitlines()]

    expected = LEVELS[LEVELS.index(level) :]
    assert [line["level"] for line in lines if line["event"] == "ours"] == list(expected)
    assert [line["level"] for line in lines if line["event"] == "theirs"] == list(expected)


def test_a_librarys_line_names_its_logger() -> None:
    """And is otherwise like ours."""
    line = json.loads(
        logged("info", "json", lambda: logging.getLogger("hypercorn.error").info("%d up", 2))
    )

    assert TIMESTAMP.fullmatch(line.pop("timestamp"))
    assert line == {"event": "2 up", "level": "info", "logger": "hypercorn.error"}


@pytest.mark.parametrize("level", ["debug", "info", "warning"])
def test_the_scheduler_is_quiet(level: str) -> None:
    """Its news of each run of each job would be most of the log."""

    def act() -> None:
        scheduler = logging.getLogger("apscheduler.executors.default")
        scheduler.info("Running job")
        scheduler.warning("skipped: maximum number of running instances reached")
        scheduler.error("Job raised an exception")

    assert [json.loads(line)["event"] for line in logged(level, "json", act).splitlines()] == [
        "Job raised an exception"
    ]


def test_bound_values_are_in_every_line() -> None:
    """As a cycle's number is."""
    with structlog.contextvars.bound_contextvars(cycle=7):
        assert json.loads(logged("info", "json", example))["cycle"] == 7


def test_auto_is_json_off_a_terminal(pipe: tuple[int, TextIO]) -> None:
    """For the journal, a container's log or a file."""
    reading, stream = pipe
    configure("info", "auto", stream)

    example()
    flush()

    assert json.loads(os.read(reading, PIPE_BYTES))["event"] == "pool_extended"


def test_auto_is_console_on_a_terminal() -> None:
    """With colours."""
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as stream, os.fdopen(leader, "rb", buffering=0) as terminal:
        configure("info", "auto", stream)
        example()
        flush()

        assert b"\x1b[1mpool_extended" in terminal.read(PIPE_BYTES)


@pytest.mark.parametrize(
    ("level", "log_format", "fault"),
    [
        ("loud", "json", f'log.level: "loud" is not one of {", ".join(LEVELS)}'),
        ("info", "xml", f'log.format: "xml" is not one of {", ".join(FORMATS)}'),
    ],
)
def test_unknown_words_are_faults(level: str, log_format: str, fault: str) -> None:
    """Each with the words that there are."""
    with pytest.raises(ConfigError) as caught:
        configure(level, log_format, io.StringIO())

    assert caught.value.faults == (fault,)


def test_a_second_configuration_replaces_the_first() -> None:
    """No line comes twice, and none is lost."""
    first, second = io.StringIO(), io.StringIO()
    configure("info", "json", first)
    structlog.get_logger().info("one")
    configure("info", "json", second)
    structlog.get_logger().info("two")
    flush()

    assert eventually(lambda: first.getvalue().count("\n") == 1)
    assert json.loads(second.getvalue())["event"] == "two"


def journal_of(stream: TextIO) -> str:
    """Name the stream as systemd does."""
    status = os.fstat(stream.fileno())
    return f"{status.st_dev}:{status.st_ino}"


def test_the_journal_is_told_each_lines_priority(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a text of several lines each has it, or the rest would lose it."""
    reading, stream = pipe
    monkeypatch.setenv("JOURNAL_STREAM", journal_of(stream))
    configure("debug", "console", stream)

    for word in ("debug", "info", "warning", "error", "critical"):
        getattr(structlog.get_logger(), word)("event")
    fail()
    flush()

    prefixes = [line[:3] for line in os.read(reading, PIPE_BYTES).decode().splitlines()]
    assert prefixes[:5] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert len(prefixes) > 7
    assert set(prefixes[5:]) == {"<3>"}


@pytest.mark.parametrize("variable", [None, "", "8:1", "nonsense"])
def test_others_see_no_priority(
    variable: str | None, pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable reaches a shell that a service started, whose stderr is another."""
    reading, stream = pipe
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    if variable is not None:
        monkeypatch.setenv("JOURNAL_STREAM", variable)
    configure("info", "json", stream)

    example()
    flush()

    assert os.read(reading, PIPE_BYTES).startswith(b"{")


@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_stream_that_takes_nothing_holds_up_nobody(
    pipe: tuple[int, TextIO], *, is_blocking: bool
) -> None:
    """The oldest lines are dropped and counted; who reads again learns how many."""
    reading, stream = pipe
    os.set_blocking(stream.fileno(), is_blocking)
    configure("info", "json", stream)
    begins_at = time.monotonic()
    for number in range(2 * QUEUED_LINES):
        structlog.get_logger().info("event", number=number, text="x" * 100)
    waited = time.monotonic() - begins_at

    dropped = dropped_lines()
    os.set_blocking(reading, False)
    text = b""

    def read_on() -> bool:
        nonlocal text
        with contextlib.suppress(BlockingIOError):
            text += os.read(reading, PIPE_BYTES)
        return b"log_lines_dropped" in text and text.endswith(b"\n")

    assert eventually(read_on)
    lines = [json.loads(line) for line in text.splitlines()]
    numbers = [line["number"] for line in lines if line["event"] == "event"]
    assert waited < PATIENCE_SECONDS
    assert 0 < dropped <= QUEUED_LINES
    assert numbers == sorted(numbers)
    assert numbers[-1] == 2 * QUEUED_LINES - 1
    assert len(numbers) + dropped == 2 * QUEUED_LINES
    assert (lines[-1]["event"], lines[-1]["count"]) == ("log_lines_dropped", dropped)


def test_a_stream_without_a_reader_costs_only_the_lines(pipe: tuple[int, TextIO]) -> None:
    """EPIPE is counted."""
    reading, stream = pipe
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, reading)  # closes the only reading end
    os.close(nothing)
    configure("info", "json", stream)

    example()
    example()
    flush()

    assert dropped_lines() == 2


def test_a_closed_stream_costs_only_the_lines() -> None:
    """One that is no file of the kernel's."""
    stream = io.StringIO()
    configure("info", "json", stream)
    stream.close()

    example()
    flush()

    assert dropped_lines() == 1


def test_a_stream_that_was_closed_before_costs_only_the_lines(tmp_path: Path) -> None:
    """Even its descriptor cannot be had."""
    with (tmp_path / "log").open("w") as stream:
        pass
    configure("info", "json", stream)

    example()
    flush()

    assert dropped_lines() == 1


def test_a_closed_descriptor_is_not_taken_for_its_successor(tmp_path: Path) -> None:
    """A number that another file has got since must not receive our lines."""
    with (tmp_path / "log").open("w") as stream:
        configure("info", "json", stream)
        number = stream.fileno()
    with (tmp_path / "other").open("w") as other:
        assert other.fileno() == number
        example()
        flush()

    assert (tmp_path / "other").read_text() == ""
    assert "pool_extended" in (tmp_path / "log").read_text()


def test_without_a_standard_error_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has none where the descriptor was closed at the start."""
    monkeypatch.setattr(sys, "stderr", None)
    configure("info")

    example()
    flush()

    assert dropped_lines() == 0


class FailingStream(io.StringIO):
    """Raises what it is told to, each time once."""

    def __init__(self, *errors: BaseException) -> None:
        super().__init__()
        self._failures = list(errors)

    def write(self, text: str) -> int:
        """Fail, or write."""
        if self._failures:
            raise self._failures.pop(0)
        return super().write(text)


def test_a_stream_that_raises_anything_costs_only_the_lines() -> None:
    """Also what no stream should raise."""
    stream = FailingStream(RuntimeError("odd"), MemoryError())
    configure("info", "json", stream)

    for _ in range(3):
        example()
    flush()

    assert dropped_lines() == 2
    assert stream.getvalue().count("pool_extended") == 1
    assert stream.getvalue().count("log_lines_dropped") == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_has_died_is_replaced() -> None:
    """The log says so, and nothing that was logged meanwhile is lost."""
    stream = FailingStream(SystemExit())
    configure("info", "json", stream)
    example()
    assert eventually(lambda: not writers())
    example()

    supervise()

    assert eventually(lambda: "log_writer_died" in stream.getvalue())
    assert stream.getvalue().count("pool_extended") == 1
    assert len(writers()) == 1
    supervise()
    assert len(writers()) == 1


def test_a_writer_that_cannot_be_started_costs_nobody_anything() -> None:
    """What is logged waits for it."""
    stream = io.StringIO()
    usual = threading.stack_size(1 << 47)
    try:
        configure("info", "json", stream)
        example()
        supervise()
    finally:
        threading.stack_size(usual)
    assert stream.getvalue() == ""

    supervise()

    assert eventually(lambda: "pool_extended" in stream.getvalue())


def test_a_closed_log_is_not_revived() -> None:
    """Its writer has ended for good."""
    configure("info", "json", io.StringIO())
    (old,) = logging.getLogger().handlers[-1:]
    configure("info", "json", io.StringIO())
    assert eventually(lambda: len(writers()) == 1)

    old.flush()

    assert len(writers()) == 1


def writers() -> list[threading.Thread]:
    """Find the threads that write."""
    return [thread for thread in threading.enumerate() if thread.name == "log-writer"]


class Unprintable:
    """Fails when it is looked at."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "act",
    [
        lambda: structlog.get_logger().info("event", value=Unprintable()),
        lambda: logging.getLogger("library").info("%d", "text"),
        lambda: logging.getLogger("library").info("%s", Unprintable()),
    ],
    ids=["ours", "arguments", "theirs"],
)
def test_an_event_that_cannot_be_written_costs_only_itself(act: Callable[[], object]) -> None:
    """A log call never raises."""
    logging.getLogger().handlers.clear()  # pytest's own do raise

    assert logged("info", "json", act) == ""
    assert dropped_lines() == 1


def test_any_text_can_be_written(pipe: tuple[int, TextIO]) -> None:
    """Even what no encoding has."""
    reading, stream = pipe
    configure("info", "logfmt", stream)

    structlog.get_logger().info("event", text="\udcff\x00")
    flush()

    assert b"\\udcff" in os.read(reading, PIPE_BYTES)


END = """
import os, sys
import structlog
from exporter.log import configure
configure("info", "json")
for number in range(500):
    structlog.get_logger().info("event", number=number, text="x" * int(sys.argv[1]))
"""


def run_to_its_end(text_characters: int, stderr: int) -> subprocess.CompletedProcess[bytes]:
    """Run a program that logs and ends at once."""
    argv = [sys.executable, "-c", END, str(text_characters)]
    return subprocess.run(
        argv, stderr=stderr, cwd=REPOSITORY, timeout=PATIENCE_SECONDS, check=True
    )


def test_the_end_of_the_program_loses_nothing() -> None:
    """What was logged just before is written."""
    lines = run_to_its_end(1000, subprocess.PIPE).stderr.splitlines()

    assert [json.loads(line)["number"] for line in lines] == list(range(500))


def test_the_program_ends_though_nobody_reads(pipe: tuple[int, TextIO]) -> None:
    """A stuck standard error does not keep it alive."""
    _, stream = pipe

    assert run_to_its_end(1000, stream.fileno()).returncode == 0
