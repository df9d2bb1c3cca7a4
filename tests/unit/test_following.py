"""The web process: it ends, and says which part has ended, where it could only pretend."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.errors import ExporterError
from exporter.notify import SILENT, Notifier
from exporter.publish import SnapshotWriter
from exporter.service.following import Following
from exporter.service.serving import WebOptions
from tests.factories import make_snapshot
from tests.fakes import FakeLog
from tests.threads import end_thread, thread_named
from tests.waiting import PATIENCE_SECONDS

OPTIONS = WebOptions(addresses=["127.0.0.1:0"], telemetry_path="/metrics")


class Web:
    """A web process in a thread, and how it has ended."""

    def __init__(self, directory: Path, notifier: Notifier = SILENT) -> None:
        self._notifier = notifier
        self.log = FakeLog()
        self.following = Following(directory, OPTIONS, log=self.log)
        self.stop = threading.Event()
        self.is_ready = threading.Event()
        self.end: Future[None] = Future()

    def run(self) -> None:
        """Be the process' main thread."""
        try:
            self.following.run(self.stop, self.is_ready.set, notifier=self._notifier)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.end.set_exception(error)
        else:
            self.end.set_result(None)

    def get(self, path: str) -> int:
        """Ask for a page; the status."""
        url = f"http://{self.following.addresses[0]}{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            status: int = answer.status
        return status


@contextmanager
def running(directory: Path, notifier: Notifier = SILENT) -> Iterator[Web]:
    """Run a web process until the end of the block."""
    SnapshotWriter(directory).write(make_snapshot())
    web = Web(directory, notifier)
    main = threading.Thread(target=web.run)
    main.start()
    try:
        assert web.is_ready.wait(PATIENCE_SECONDS)
        yield web
    finally:
        web.stop.set()
        main.join()


def test_ends_when_it_is_told_to(tmp_path: Path) -> None:
    """Without an error."""
    with running(tmp_path) as web:
        assert web.get("/metrics") == 200
        web.stop.set()
        assert web.end.result(PATIENCE_SECONDS) is None


def test_tells_systemd_that_it_lives(tmp_path: Path) -> None:
    """Each second, as its unit's watchdog wants to hear."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE_SECONDS)
        notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
        with running(tmp_path, notifier):
            assert [systemd.recv(100) for _ in range(2)] == [b"WATCHDOG=1"] * 2


def test_ends_when_the_web_server_has_ended(tmp_path: Path) -> None:
    """A process that nobody can scrape would be taken for a host without trouble."""
    with running(tmp_path) as web:
        end_thread(thread_named("web"), lambda: web.get("/metrics"))

        with pytest.raises(ExporterError, match="the web server has ended: SystemExit"):
            web.end.result(PATIENCE_SECONDS)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file's end
def test_ends_when_nobody_reads_snapshots_any_more(tmp_path: Path) -> None:
    """It would serve the last one for ever."""
    with running(tmp_path) as web:
        end_thread(thread_named("follow"))  # within a second: it wakes by itself

        with pytest.raises(ExporterError, match="that reads Snapshots has ended"):
            web.end.result(PATIENCE_SECONDS)


def test_a_host_without_room_for_a_thread_is_told(tmp_path: Path) -> None:
    """As an error of this program's; its port is free again."""
    web = Web(tmp_path)
    usual = threading.stack_size(1 << 47)
    try:
        web.run()
    finally:
        threading.stack_size(usual)

    with pytest.raises(ExporterError, match="cannot start"):
        web.end.result(0)
    with pytest.raises(OSError, match="refused"):
        web.get("/metrics")
