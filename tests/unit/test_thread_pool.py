"""Threads that are started ahead: what they survive, and how they are replaced."""

from __future__ import annotations

import threading

import pytest

from exporter.bulkhead import Bulkheads
from exporter.model import Stage
from exporter.simulation import ManualClock
from exporter.thread_pool import STUCK_SECONDS, ThreadPool
from tests.fakes import FakeLog

WAIT_SECONDS = 10.0


def pool_of(size: int, max_threads: int = 8) -> tuple[ThreadPool, Bulkheads, ManualClock]:
    """Make a pool that has its threads."""
    clock = ManualClock()
    bulkheads = Bulkheads(FakeLog(), clock)
    pool = ThreadPool("test", size, max_threads=max_threads, bulkheads=bulkheads, clock=clock)
    pool.supervise()
    return pool, bulkheads, clock


def test_work_needs_no_new_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done although no thread can be started any more."""
    pool, _, _ = pool_of(1)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert pool.submit(lambda: 7).result(WAIT_SECONDS) == 7


def test_a_thread_that_cannot_be_started_is_counted_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The caller goes on."""
    bulkheads = Bulkheads(FakeLog(), ManualClock())
    pool = ThreadPool("test", 1, max_threads=2, bulkheads=bulkheads)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        pool.supervise()
    assert bulkheads.counts[Stage.THREAD] == 1

    pool.supervise()
    assert pool.submit(lambda: 7).result(WAIT_SECONDS) == 7


def test_a_thread_survives_what_its_job_raises() -> None:
    """It is counted, and the next job runs."""
    pool, bulkheads, _ = pool_of(1)

    pool.run(lambda: 1 / 0)  # type: ignore[arg-type]

    assert pool.submit(lambda: 7).result(WAIT_SECONDS) == 7
    assert bulkheads.counts[Stage.THREAD] == 1
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result(WAIT_SECONDS)


def test_jobs_that_hang_have_their_threads_replaced_up_to_a_limit() -> None:
    """And the surplus ends when they are back."""
    pool, _, clock = pool_of(1, max_threads=3)
    release = threading.Event()
    began = threading.Semaphore(0)

    def hang() -> None:
        began.release()
        release.wait(WAIT_SECONDS)

    for _ in range(2):
        pool.run(hang)
        assert began.acquire(timeout=WAIT_SECONDS)
        clock.now += STUCK_SECONDS + 1
        pool.supervise()
    assert pool.submit(lambda: 7).result(WAIT_SECONDS) == 7

    pool.run(hang)
    assert began.acquire(timeout=WAIT_SECONDS)
    clock.now += STUCK_SECONDS + 1
    pool.supervise()
    waiting = pool.submit(lambda: 8)
    assert not waiting.done()

    release.set()
    assert waiting.result(WAIT_SECONDS) == 8
