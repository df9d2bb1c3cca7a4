"""The web side over real HTTP: what each path answers, and how it holds up."""

from __future__ import annotations

import errno
import gzip
import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from exporter.exposition import Exposition
from exporter.model import CollectorState, GuardMode, GuardNote, Snapshot
from exporter.service.serving import CHEAP_POOLS, Serving, WebOptions
from exporter.web.app import App, build_app
from exporter.web.connection import Limits
from exporter.web.message import Request, Response
from exporter.web.server import WebServer
from tests.factories import (
    TAKEN_AT,
    make_collectors,
    make_guard_report,
    make_large_snapshot,
    make_snapshot,
)
from tests.fakes import FakeLog
from tests.waiting import eventually

ANY_PORT = "127.0.0.1:0"
OPTIONS = WebOptions(addresses=[ANY_PORT], telemetry_path="/metrics")


class Site:
    """A running web side, whose Snapshot the test sets."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.snapshot = snapshot
        self.now = TAKEN_AT
        self.exposition = Exposition(self.latest, wall=self.time)

    def latest(self) -> Snapshot | None:
        """Return the Snapshot."""
        return self.snapshot

    def time(self) -> float:
        """Tell the time, in seconds since the epoch."""
        return self.now

    def app(self, telemetry_path: str = "/metrics") -> App:
        """Make the application."""
        return build_app(
            self.exposition, self.latest, telemetry_path=telemetry_path, clock=self.time
        )


@pytest.fixture
def site() -> Site:
    """Return the article's host."""
    return Site(make_snapshot())


@pytest.fixture
def server(site: Site) -> Iterator[WebServer]:
    """Return a server that runs, with room for three connections."""
    server = WebServer(site.app(), [ANY_PORT], limits=Limits(connections=3, idle_seconds=2))
    server.start()
    yield server
    server.stop()
    assert not server.is_running


def connect(server: WebServer) -> socket.socket:
    """Open a connection of its own."""
    host, _, port = server.addresses[0].rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def fetch(
    server: WebServer | Serving, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """Send one request on a connection of its own."""
    with closing(http.client.HTTPConnection(server.addresses[0], timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()


def read_all(connection: socket.socket) -> bytes:
    """Read until the server ends the connection."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def test_serves_metrics(server: WebServer) -> None:
    """The telemetry path answers with the exposition."""
    response, body = fetch(server, "/metrics")

    assert response.status == 200
    assert response.getheader("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert response.getheader("content-length") == str(len(body))
    assert b"thinpool_data_used_bytes{" in body


def test_serves_openmetrics(server: WebServer) -> None:
    """Content is negotiated, and caches are told so."""
    accept = "application/openmetrics-text; version=1.0.0"
    response, body = fetch(server, "/metrics", Accept=accept)

    assert str(response.getheader("content-type")).startswith("application/openmetrics-text")
    assert response.getheader("vary") == "accept, accept-encoding"
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize("accept", ["*/*", "application/openmetrics-text; version=1.0.0"])
@pytest.mark.parametrize("count", [1, CHEAP_POOLS, CHEAP_POOLS + 1])
def test_serves_compressed(accept: str, count: int) -> None:
    """From the first scrape on, whether or not pages are rendered ahead, with each Snapshot."""
    serving = Serving(OPTIONS, log=FakeLog())
    serving.take(make_large_snapshot(count))
    serving.start()
    try:
        for _ in range(2):
            serving.take(make_large_snapshot(count))
            headers = {"Accept": accept}
            plain, expected = fetch(serving, "/metrics", **headers)
            packed, body = fetch(serving, "/metrics", **headers, **{"Accept-Encoding": "gzip"})

            assert plain.getheader("content-encoding") is None
            assert packed.getheader("content-encoding") == "gzip"
            assert packed.getheader("content-length") == str(len(body))
            assert pools_of(gzip.decompress(body)) == pools_of(expected) != []
    finally:
        serving.stop()


def pools_of(exposition: bytes) -> list[bytes]:
    """Take the lines about pools; those about this process change from one to the next."""
    return [line for line in exposition.splitlines() if line.startswith(b"thinpool_info{")]


def test_ignores_the_query(server: WebServer) -> None:
    """Parameters change nothing."""
    response, _ = fetch(server, "/metrics?name[]=up&x=%00")

    assert response.status == 200


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready", "/nothing"])
def test_head_is_get_without_a_body(server: WebServer, path: str) -> None:
    """HEAD answers the status and the length that GET does."""
    get, _ = fetch(server, path)
    head, body = fetch(server, path, "HEAD")

    assert (head.status, body) == (get.status, b"")
    assert head.getheader("content-type") == get.getheader("content-type")


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/ready"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_nothing_can_be_changed(server: WebServer, path: str, method: str) -> None:
    """Any other method is refused, and the allowed ones are named."""
    response, _ = fetch(server, path, method)

    assert response.status == 405
    assert response.getheader("allow") == "GET, HEAD"


@pytest.mark.parametrize(
    ("target", "status", "is_page"),
    [
        (b"http://x/metrics", b"200", False),
        (b"HTTPS://x:10128/metrics?a=b", b"200", False),
        (b"http://[::1]:10128/-/healthy", b"200", False),
        (b"http://x/%6detrics", b"200", False),
        (b"http://x", b"200", True),
        (b"http://x?a=b", b"200", True),
        (b"http://x/", b"200", True),
        (b"http://a%2fmetrics", b"200", True),  # the slash is the host's
        (b"http://x//metrics", b"404", False),
        (b"http://x/http://x/metrics", b"404", False),
        (b"/http://x/metrics", b"404", False),
        (b"ftp://x/metrics", b"404", False),
        (b"*", b"404", False),
        (b"metrics", b"404", False),
    ],
)
def test_understands_a_whole_address_as_its_target(
    server: WebServer, target: bytes, status: bytes, *, is_page: bool
) -> None:
    """As a client sends it that takes the server for a proxy (RFC 9112, 3.2.2: must)."""
    with connect(server) as connection:
        connection.sendall(
            b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answer = read_all(connection)

    assert answer.split()[1] == status
    assert (b"text/html" in answer) == is_page


@pytest.mark.parametrize(
    "path", ["/x", "/metrics/", "//metrics", "/../etc/passwd", "/%2e%2e", "/-/", "/%ff"]
)
def test_the_rest_is_not_found(server: WebServer, path: str) -> None:
    """Only exact paths are pages."""
    response, _ = fetch(server, path)

    assert response.status == 404


def test_status_page_leads_to_the_metrics() -> None:
    """The page names the program and links to the telemetry path, escaped."""
    path = '/m"><script>'
    request = Request(method="GET", path="/")
    response = Site(make_snapshot()).app(path).answer(request)
    body = response.body.decode()

    assert "thinpool-exporter" in body
    assert "docker/thinpool" in body
    assert 'href="/m&#34;&gt;&lt;script&gt;"' in body
    assert "Simulated host" not in body


def test_status_page_says_what_is_simulated(site: Site, server: WebServer) -> None:
    """A simulated host cannot be taken for a real one."""
    site.snapshot = make_snapshot(is_simulated=True)
    response, body = fetch(server, "/")

    assert b"Simulated host." in body
    assert response.getheader("x-content-type-options") == "nosniff"


def test_is_healthy_without_a_snapshot(site: Site, server: WebServer) -> None:
    """A process that answers is healthy, even before it has anything to show."""
    site.snapshot = None

    assert fetch(server, "/-/healthy")[0].status == 200
    assert fetch(server, "/")[0].status == 200
    assert fetch(server, "/metrics")[0].status == 200


def test_is_ready_once_every_source_was_tried(site: Site, server: WebServer) -> None:
    """Until then the answer is 503, with what is missing."""
    answers = []
    waiting = make_snapshot(collectors=make_collectors(lvm=CollectorState()))
    for snapshot in (None, waiting, make_snapshot()):
        site.snapshot = snapshot
        response, body = fetch(server, "/-/ready")
        answers.append((response.status, body.decode().strip()))

    assert answers == [
        (503, "thinpool-exporter is not ready: no snapshot yet."),
        (503, "thinpool-exporter is not ready: not read yet: lvm."),
        (200, "thinpool-exporter is ready."),
    ]


@pytest.mark.parametrize("mode", GuardMode)
def test_is_not_ready_while_the_guard_completes_no_cycle(site: Site, mode: GuardMode) -> None:
    """In any mode, since it looks at the pools in all of them; 200 once it works again."""
    note = GuardNote(pid=123, mode=mode)
    app, answers = site.app(), []
    for last_cycle_at in (None, TAKEN_AT - 31, TAKEN_AT - 30):
        report = make_guard_report(last_cycle_at=last_cycle_at, note=note)
        site.snapshot = make_snapshot(guard=report)
        response = app.answer(Request(method="GET", path="/-/ready"))
        answers.append((response.status, response.body.decode().strip()))

    assert answers == [
        (503, "thinpool-exporter is not ready: the guard has not looked at the pools yet."),
        (503, "thinpool-exporter is not ready: the guard has looked at no pool for 31s."),
        (200, "thinpool-exporter is ready."),
    ]


def test_all_pages_say_the_same_of_a_dead_guard(site: Site) -> None:
    """By one rule, without another Snapshot: no page goes on claiming protection."""
    app = site.app()

    def said(path: str) -> str:
        """Ask for a page."""
        query = "vg=docker&pool=thinpool"
        return app.answer(Request(method="GET", path=path, query=query)).body.decode()

    responsible = 'thinpool_guard_responsible{pool="thinpool",vg="docker"}'
    for age, is_protected in ((30, True), (31, False), (3600, False)):
        site.now = TAKEN_AT + age
        assert (f"{responsible} 1.0" in said("/metrics")) is is_protected
        assert (f"{responsible} 0.0" in said("/metrics")) is not is_protected
        for page in ("/", "/runbooks/ThinPoolGuardStale"):
            assert ("the guard publishes nothing" in said(page)) is not is_protected
            assert ("has looked at no pool for" in said(page)) is not is_protected
        assert ("is ready" in said("/-/ready")) is is_protected


def test_a_broken_page_is_an_error_500() -> None:
    """A page's fault ends its request, and nothing else."""

    def broken(_request: Request) -> Response:
        raise ZeroDivisionError

    assert App({"/": broken}).answer(Request(method="GET", path="/")).status == 500


def test_keeps_a_connection(server: WebServer) -> None:
    """Several requests go over one connection."""
    with closing(http.client.HTTPConnection(server.addresses[0], timeout=10)) as connection:
        for _ in range(5):
            connection.request("GET", "/-/healthy")
            response = connection.getresponse()
            response.read()
            assert response.status == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000, b"431"),
        (
            (
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                b"AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            ),
            b"403",
        ),
    ],
)
def test_refuses_what_is_not_http(server: WebServer, sent: bytes, status: bytes) -> None:
    """Malformed, oversized and foreign requests are answered and ended."""
    with connect(server) as connection:
        connection.sendall(sent)
        answer = read_all(connection)

    assert answer.split()[1] == status


def flood(connection: socket.socket, piece: bytes) -> None:
    """Send the same again and again, more than any buffer holds."""
    for _ in range(100_000):
        connection.sendall(piece)


@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"])
def test_a_body_of_many_chunks_ends_its_connection(server: WebServer, chunk: bytes) -> None:
    """A body without end is refused, however small its pieces are."""
    head = b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(server) as connection:
        connection.sendall(head)
        with pytest.raises(OSError, match=r"reset|pipe"):
            flood(connection, chunk * 100)

    assert fetch(server, "/-/healthy")[0].status == 200


def test_reads_a_body_that_is_of_no_use(server: WebServer) -> None:
    """A small body is skipped, and the connection goes on."""
    request = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    last = b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with connect(server) as connection:
        connection.sendall(request + last)
        answer = read_all(connection)

    assert answer.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("order", [1, -1])
def test_two_lengths_of_a_body_end_the_connection(server: WebServer, order: int) -> None:
    """Whoever reads the other one takes the rest for a request (RFC 9112, 6.1)."""
    lengths = (b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n")[::order]
    hidden = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    request = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(lengths) + b"\r\n0\r\n\r\n"
    with connect(server) as connection:
        connection.sendall(request + hidden)
        answer = read_all(connection)

    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


def test_cuts_off_a_client_that_sends_nothing(server: WebServer) -> None:
    """A request that does not come to its end in time loses its connection."""
    start = time.monotonic()
    with connect(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        read_all(connection)

    assert 1 < time.monotonic() - start < 8


def ask(connection: socket.socket) -> bytes:
    """Send a request on a connection that stays; "" where it does not."""
    answer = b""
    with suppress(ConnectionError):
        connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        while not answer.endswith(b"healthy.\n"):
            answer += connection.recv(65536) or b"healthy.\n"
    return answer if answer.startswith(b"HTTP") else b""


def test_above_the_limit_the_newcomer_is_served(server: WebServer) -> None:
    """Whoever was answered longest ago makes room, not whoever came first."""
    with ExitStack() as stack:
        first, second, third = crowd = [
            stack.enter_context(closing(connect(server))) for _ in range(3)
        ]
        for member in (*crowd, first):
            assert ask(member).startswith(b"HTTP/1.1 200")

        assert fetch(server, "/-/healthy")[0].status == 200
        assert ask(second) == b""
        assert ask(third).startswith(b"HTTP/1.1 200")
        assert ask(first).startswith(b"HTTP/1.1 200")


def test_those_who_say_a_little_hold_nobody_up(server: WebServer) -> None:
    """Requests that never end, to the limit, each a byte further now and then."""
    with ExitStack() as stack:
        crowd = [stack.enter_context(closing(connect(server))) for _ in range(3)]
        for _ in range(3):
            for member in crowd:
                with suppress(ConnectionError):
                    member.sendall(b"GET / HT")
            assert fetch(server, "/-/healthy")[0].status == 200


def test_the_silent_make_room_for_each_other(server: WebServer) -> None:
    """Above the limit the one that has waited longest goes; those who talk stay."""
    with ExitStack() as stack:
        talker = stack.enter_context(closing(connect(server)))
        assert ask(talker).startswith(b"HTTP/1.1 200")
        first, *others = (stack.enter_context(closing(connect(server))) for _ in range(4))

        assert read_all(first) == b""
        assert all(ask(other).startswith(b"HTTP/1.1 200") for other in others[:2])
        assert ask(talker).startswith(b"HTTP/1.1 200")


def test_hangs_up_on_the_silent(server: WebServer) -> None:
    """Who says nothing at all is as idle as who has said something."""
    with connect(server) as connection:
        assert read_all(connection) == b""


def descriptors() -> int:
    """Count what this process, and so the server in it, has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("how", ["half", "whole", "reset"])
def test_who_asks_and_leaves_is_forgotten(site: Site, how: str) -> None:
    """At once, and not when an idle connection would be: its end comes with its request."""
    server = WebServer(site.app(), [ANY_PORT])
    server.start()
    before = descriptors()
    for _ in range(20):
        with connect(server) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            if how == "half":
                connection.shutdown(socket.SHUT_WR)
                assert read_all(connection).startswith(b"HTTP/1.1 200")
            elif how == "reset":
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    assert eventually(lambda: descriptors() == before)
    server.stop()


def test_who_takes_no_answer_is_cut_off(site: Site) -> None:
    """A page is held for a slow reader for so long, and no longer."""
    site.snapshot = make_large_snapshot(100)
    server = WebServer(site.app(), [ANY_PORT], limits=Limits(answer_seconds=0.5))
    server.start()
    with connect(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 40)
        assert connection.recv(1) == b"H"
        assert eventually(lambda: error_of(connection) == errno.ECONNRESET)
    server.stop()


def error_of(connection: socket.socket) -> int:
    """Ask what has become of a connection, whatever of it is unread."""
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def test_speaks_no_http_2(server: WebServer) -> None:
    """Whoever begins with it is refused, whoever offers it gets HTTP/1."""
    with connect(server) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        answer = read_all(connection)
    upgrade = {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": ""}

    assert answer.startswith(b"HTTP/1.1 4")
    assert fetch(server, "/-/healthy", **upgrade)[0].status == 200


def test_many_connections_one_after_the_other(server: WebServer) -> None:
    """A connection that its client closed counts no longer, at once."""
    for _ in range(20):
        assert fetch(server, "/-/healthy")[0].status == 200
        time.sleep(0.01)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /metrics HTTP/1.1\r\nHo",
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 40,  # answers that nobody reads
    ],
)
def test_stops_in_time_with_open_connections(sent: bytes) -> None:
    """Idle, half a request, half a body, or a full pipe: stopping takes 2 s at most."""
    server = WebServer(Site(make_large_snapshot(20)).app(), [ANY_PORT])
    server.start()
    with connect(server) as connection:
        connection.sendall(sent)
        time.sleep(0.3)
        start = time.monotonic()
        server.stop(2)

        assert time.monotonic() - start < 2
        assert not server.is_running
    with pytest.raises(ConnectionRefusedError):
        connect(server)


def test_finishes_an_answer_that_is_under_way() -> None:
    """Stopping leaves a slow reader some time."""
    server = WebServer(Site(make_large_snapshot(100)).app(), [ANY_PORT])
    server.start()
    with connect(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        start = connection.recv(1000)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        answer = start + read_all(connection)
        stopping.join()

    length = int(answer.partition(b"content-length: ")[2].split()[0])
    assert len(answer.partition(b"\r\n\r\n")[2]) == length


def test_is_silent(capfd: pytest.CaptureFixture[str], server: WebServer) -> None:
    """The server itself writes nothing, whatever comes in."""
    for path in ("/metrics", "/nothing"):
        fetch(server, path)
    with connect(server) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        read_all(connection)
    server.stop()

    assert capfd.readouterr() == ("", "")


def test_stopping_what_never_ran_does_nothing() -> None:
    """A server may be stopped before its start, and twice."""
    server = WebServer(Site().app(), [ANY_PORT])
    server.stop()
    server.start()
    server.stop()
    server.stop()

    assert not server.is_running
