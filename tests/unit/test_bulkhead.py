"""What a bulkhead catches, counts and logs."""

from __future__ import annotations

import pytest

from exporter.bulkhead import MAX_SUBJECTS, Bulkheads, LogThrottle
from exporter.errors import KernelError
from exporter.model import Stage
from exporter.simulation import ManualClock
from tests.fakes import FakeLog


def test_an_exception_is_counted_logged_and_stops_there() -> None:
    """The line names the stage and the thing; the caller can ask what it was."""
    log = FakeLog()
    bulkheads = Bulkheads(log, ManualClock())

    with bulkheads.contain(Stage.POLL, "docker-thinpool") as bulkhead:
        raise KernelError("request 12: Cannot allocate memory")

    assert isinstance(bulkhead.error, KernelError)
    assert bulkheads.counts[Stage.POLL] == 1
    assert sum(bulkheads.counts.values()) == 1
    (line,) = log.events("failed")
    assert (line["stage"], line["name"]) == ("poll", "docker-thinpool")
    assert "Cannot allocate memory" in str(line["error"])


def test_the_end_of_the_process_is_not_caught() -> None:
    """SystemExit and KeyboardInterrupt pass."""
    bulkheads = Bulkheads(FakeLog(), ManualClock())

    with pytest.raises(SystemExit), bulkheads.contain(Stage.CYCLE):
        raise SystemExit

    assert bulkheads.counts[Stage.CYCLE] == 0


def test_the_same_failure_is_logged_once_a_minute_and_counted_each_time() -> None:
    """Another message, or the first after it was over, is logged at once."""
    log, clock = FakeLog(), ManualClock()
    bulkheads = Bulkheads(log, clock)

    for _ in range(3):
        bulkheads.failed(Stage.DECIDE, "a/pool", ValueError("odd"))
    bulkheads.failed(Stage.DECIDE, "a/pool", ValueError("odder"))
    bulkheads.failed(Stage.DECIDE, "b/pool", ValueError("odd"))
    clock.now += 61
    bulkheads.failed(Stage.DECIDE, "a/pool", ValueError("odder"))
    bulkheads.is_over(Stage.DECIDE, "a/pool")
    bulkheads.failed(Stage.DECIDE, "a/pool", ValueError("odder"))

    assert bulkheads.counts[Stage.DECIDE] == 7
    assert len(log.events("failed")) == 5


def test_a_long_message_is_cut() -> None:
    """LVM's stderr may be megabytes."""
    log = FakeLog()
    Bulkheads(log, ManualClock()).failed(Stage.EXTEND, "a/pool", ValueError("x" * 2_000_000))

    assert len(str(log.events("failed")[0]["error"])) < 600


def test_subjects_that_come_and_go_do_not_fill_the_memory() -> None:
    """Old ones are forgotten; of too many new ones all are logged."""
    clock = ManualClock()
    throttle = LogThrottle(clock)

    for number in range(3 * MAX_SUBJECTS):
        clock.now += 0.1
        assert throttle.is_due(f"vg{number}", "gone")

    assert not throttle.is_due(f"vg{3 * MAX_SUBJECTS - 1}", "gone")
    assert len(throttle._said) <= MAX_SUBJECTS  # noqa: SLF001 - what is bounded
