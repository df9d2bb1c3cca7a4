"""The web server's own end: what it survives, and that nothing ends it unnoticed."""

from __future__ import annotations

import asyncio
import errno
import http.client
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.errors import ExporterError, ListenError
from exporter.simulation import ManualClock
from exporter.web.app import PLAIN, App
from exporter.web.live import WebSettings
from exporter.web.message import Request, Response, text
from exporter.web.server import WebServer
from tests.threads import end_thread, thread_named
from tests.waiting import PATIENCE_SECONDS, eventually

ANY_PORT = "127.0.0.1:0"
REPOSITORY = Path(__file__).parents[2]
Logged = list[dict[str, object]]


def hello(_request: Request) -> Response:
    """Answer."""
    return text("hello")


def stop_loop(_request: Request) -> Response:
    """End what runs this, as nobody should."""
    asyncio.get_running_loop().stop()
    return text("bye")


@pytest.fixture
def log() -> Iterator[Logged]:
    """Collect what is logged."""
    with capture_logs() as lines:
        yield lines  # type: ignore[misc]


@contextmanager
def serving(app: App | None = None) -> Iterator[WebServer]:
    """Run a server."""
    server = WebServer(app or App({"/": hello, "/stop": stop_loop}), [ANY_PORT])
    server.start()
    try:
        yield server
    finally:
        server.stop()


def ask(server: WebServer, path: str = "/") -> int:
    """Ask for a page, on a connection of its own; the status."""
    with closing(http.client.HTTPConnection(server.addresses[0], timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def connect(server: WebServer) -> socket.socket:
    """Open a connection."""
    host, _, port = server.addresses[0].rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def events(log: Logged) -> list[object]:
    """Name what was logged."""
    return [line["event"] for line in log]


def test_a_server_that_serves_has_not_ended(log: Logged) -> None:
    """Nor has one that never began, or that was told to stop."""
    server = WebServer(App({"/": hello}), [ANY_PORT])
    assert server.why_ended() is None
    server.start()
    assert (ask(server), server.why_ended()) == (200, None)
    server.stop()

    assert server.why_ended() is None
    assert log == []


def test_a_loop_that_ends_by_itself_is_told(log: Logged) -> None:
    """Clients are refused from then on, instead of waiting at a port that nobody serves."""
    with serving() as server:
        with suppress(http.client.HTTPException, OSError):
            ask(server, "/stop")

        assert eventually(lambda: server.why_ended() is not None)
        assert str(server.why_ended()).startswith("the web server has ended: RuntimeError(")
        assert eventually(lambda: not server.is_running)
        with pytest.raises(ConnectionRefusedError):
            connect(server)
    assert events(log) == ["web_server_ended"]


def test_a_thread_that_ends_without_a_word_is_told(log: Logged) -> None:
    """As SystemExit ends one."""
    with serving() as server:
        end_thread(thread_named("web"), lambda: connect(server).close())

        assert eventually(lambda: server.why_ended() is not None)
        assert "SystemExit" in str(server.why_ended())
    assert events(log) == ["web_server_ended"]


def test_a_loop_that_stands_still_is_told(log: Logged) -> None:
    """After half a minute of looks at it, with where it is; not once it goes on."""
    clock, has_begun, go_on = ManualClock(), threading.Event(), threading.Event()

    def hang(_request: Request) -> Response:
        """Keep the loop from running."""
        has_begun.set()
        assert go_on.wait(PATIENCE_SECONDS)
        return text("at last")

    server = WebServer(App({"/": hello, "/hang": hang}), [ANY_PORT], clock=clock)
    server.start()
    try:
        client = threading.Thread(target=ask, args=(server, "/hang"))
        client.start()
        assert has_begun.wait(PATIENCE_SECONDS)
        server.why_ended()  # has seen the last beat
        clock.now += 3600
        assert server.why_ended() is None  # its host was suspended
        seconds = 0
        while server.why_ended() is None:
            clock.now += 1
            seconds += 1
        assert 25 <= seconds <= 30
        assert "the web server has hung" in str(server.why_ended())
        go_on.set()
        client.join()
        assert eventually(lambda: server.why_ended() is None)
        assert ask(server) == 200
    finally:
        go_on.set()
        server.stop()
    assert set(events(log)) == {"web_server_hung"}
    assert "go_on.wait" in str(log[0]["stack"])


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open no file more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as opened:
        first = os.open(os.devnull, os.O_RDONLY)
        opened.callback(os.close, first)
        resource.setrlimit(resource.RLIMIT_NOFILE, (first + 50, hard))
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

        def take_all() -> None:
            while True:
                opened.callback(os.close, os.dup(first))

        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            take_all()
        yield


WITHOUT_A_LOOP = """
import contextlib, os, resource
from exporter.errors import ExporterError
from exporter.web.app import App
from exporter.web.server import WebServer
server = WebServer(App({}), ["127.0.0.1:0"])
resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
with contextlib.suppress(OSError):
    while True:
        last = os.dup(0)
os.close(last)  # for the port; a loop needs two more
try:
    server.start()
except ExporterError as error:
    print(error)
"""


def test_a_server_without_a_loop_does_not_start() -> None:
    """Out of descriptors right after it has begun to listen: the caller is told at once."""
    argv = [sys.executable, "-c", WITHOUT_A_LOOP]
    found = subprocess.run(
        argv,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )

    assert found.stdout.splitlines()[-1].startswith("the web server has ended: OSError(24,")


def test_a_server_without_a_thread_does_not_start() -> None:
    """Its port is given up, and it may be tried again."""
    server = WebServer(App({"/": hello}), [ANY_PORT])
    usual = threading.stack_size(1 << 47)
    try:
        with pytest.raises(ExporterError, match="web server cannot start"):
            server.start()
    finally:
        threading.stack_size(usual)
    with pytest.raises(ConnectionRefusedError):
        connect(server)

    server.start()
    assert ask(server) == 200
    server.stop()


def test_what_is_no_socket_is_refused() -> None:
    """By the number that systemd is said to have passed."""
    with open(os.devnull, "rb") as file:  # noqa: PTH123 - its descriptor is wanted
        descriptor = os.dup(file.fileno())
    try:
        with pytest.raises(ListenError, match=f"descriptor {descriptor}"):
            WebServer(App({}), descriptors=[descriptor]).start()
    finally:
        os.close(descriptor)


def test_accepting_begins_again_whatever_stopped_it(
    log: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of descriptors, and then out of memory for watching the port again."""
    watch, failures = asyncio.SelectorEventLoop.add_reader, 3

    def fail_at_first(loop: asyncio.SelectorEventLoop, *args: object) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        watch(loop, *args)  # type: ignore[arg-type]

    with serving() as server, socket.socket() as client:
        client.settimeout(10)
        host, _, port = server.addresses[0].rpartition(":")
        with no_descriptors():
            client.connect((host, int(port)))
            assert eventually(lambda: "web_accept_failed" in events(log))
            monkeypatch.setattr(asyncio.SelectorEventLoop, "add_reader", fail_at_first)
            assert eventually(lambda: failures == 0)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        assert client.recv(12) == b"HTTP/1.1 200"
        assert events(log) == ["web_accept_failed"]


def test_a_client_that_cannot_be_taken_is_hung_up_on(
    log: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is raised; those who come later are served."""
    made, failures = socket.socket.setblocking, [ValueError("odd"), OSError(12, "no memory")]

    def fail_at_first(client: socket.socket, is_blocking: bool) -> None:  # noqa: FBT001
        if failures and threading.current_thread().name == "web":
            raise failures.pop()
        made(client, is_blocking)

    with serving() as server:
        monkeypatch.setattr(socket.socket, "setblocking", fail_at_first)
        for _ in range(2):
            with connect(server) as client:
                assert client.recv(1) == b""

        assert ask(server) == 200
        assert set(events(log)) == {"web_accept_failed"}


class FailingSettings:
    """Settings whose every second look fails: the one for a connection's request."""

    def __init__(self) -> None:
        self.looks = 0

    def present(self) -> WebSettings:
        """Look."""
        self.looks += 1
        if self.looks % 2 == 0:
            raise KeyError("settings")
        return PLAIN.present()


def test_a_request_that_fails_before_its_page_is_logged(log: Logged) -> None:
    """With an answer to the client; the same once a minute."""
    with serving(App({"/": hello}, FailingSettings().present)) as server:
        assert [ask(server), ask(server)] == [500, 500]

    assert events(log) == ["web_connection_failed"]
    assert log[0]["error"] == "KeyError('settings')"


def no_settings() -> WebSettings:
    """Fail to look."""
    raise KeyError("settings")


def test_a_connection_that_fails_before_its_request_is_logged(log: Logged) -> None:
    """The client is hung up on, and the server goes on."""
    with serving(App({}, no_settings)) as server:
        for _ in range(2):
            with connect(server) as client:
                client.sendall(b"GET / HTTP/1.1\r\n")
                with suppress(ConnectionResetError):
                    assert client.recv(1) == b""

        assert server.why_ended() is None
    assert events(log) == ["web_connection_failed"]
