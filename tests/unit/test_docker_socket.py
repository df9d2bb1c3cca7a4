"""Docker's socket: what is asked there, how long is waited, and what comes of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from exporter.cli.host import real_host
from exporter.config import Settings
from exporter.errors import ServiceError
from exporter.model import Absence
from exporter.sources.docker import parse_info_json, read
from exporter.sources.docker_daemon import DockerAbsentError
from exporter.sources.docker_socket import (
    DEFAULT_SOCKETS,
    DockerSocket,
    are_dockers_own,
    sockets_of,
)
from tests.waiting import eventually

INFO = b'{"Driver": "overlay2", "ServerVersion": "26.1.5", "DockerRootDir": "/data/docker"}'
PONG = b"HTTP/1.0 200 OK\r\n\r\nOK"
LONG_SECONDS, SHORT_SECONDS = 20.0, 0.5
MAX_BYTES = 80_000


def plain(body: bytes, status: str = "200 OK") -> bytes:
    """Answer in one piece."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunked(body: bytes, size: int = 7) -> bytes:
    """Answer in chunks, as Go does what is long."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


class Daemon:
    """Listens at a socket; answers by path, and lets wait what it has no answer for."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.answers: dict[str, bytes] = {"/info": plain(INFO), "/_ping": PONG}
        self.closes = True
        self.asked: list[str] = []
        self._waiting: list[tuple[str, socket.socket]] = []
        self._kept: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(file))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Die."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in (*self._kept, *(one for _, one in self._waiting)):
            connection.close()

    def drop(self) -> None:
        """Forget those that wait, as a daemon does that is killed."""
        waiting, self._waiting = self._waiting, []
        for _, connection in waiting:
            connection.close()

    def recover(self) -> None:
        """Answer those that wait."""
        waiting, self._waiting = self._waiting, []
        for path, connection in waiting:
            self._answer(path, connection)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            path = connection.recv(4096).split()[1].decode()
            self.asked.append(path)
            if path in self.answers:
                self._answer(path, connection)
            else:
                self._waiting.append((path, connection))

    def _answer(self, path: str, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the other side may have had enough
            connection.sendall(self.answers[path])
        if self.closes:
            connection.close()
        else:
            self._kept.append(connection)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Listen as Docker does."""
    with closing(Daemon(tmp_path / "docker.sock")) as daemon:
        yield daemon


def asking(daemon: Daemon) -> DockerSocket:
    """Ask that daemon; the first of the sockets is not there."""
    sockets = [daemon.file.with_name("none.sock"), daemon.file]
    return DockerSocket(sockets, max_bytes=MAX_BYTES)


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        plain(INFO),
        chunked(INFO),
        chunked(INFO, size=10_000),
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: %d\r\n\r\n%b"
        % (len(INFO), INFO),
    ],
    ids=["plain", "chunks", "chunk", "identity"],
)
def test_reads_any_whole_answer(daemon: Daemon, answer: bytes, *, closes: bool) -> None:
    """In chunks or not, and whether the connection is closed after it or not."""
    daemon.answers["/info"] = answer
    daemon.closes = closes

    body = asking(daemon).info(LONG_SECONDS)

    assert body is not None
    assert parse_info_json(body).root_directory == "/data/docker"
    assert daemon.asked == ["/info"]


def test_an_answer_may_end_with_its_connection(daemon: Daemon) -> None:
    """Without a length, as daemons of old answer to HTTP 1.0."""
    daemon.answers["/info"] = b"HTTP/1.0 200 OK\r\nServer: Docker\r\n\r\n" + INFO

    assert asking(daemon).info(LONG_SECONDS) == INFO.decode()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP answer"),
        (b"garbage\r\n\r\n", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{}", "cut short"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", "no length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "no chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "cut short"),
        (chunked(INFO)[:-5], "cut short"),
        (b"A" * 70_000, "no HTTP answer"),
        (plain(b'{"message":"denied by policy"}', "403 Forbidden"), "denied by policy"),
        (plain(b"x" * 100_000), "more than 80000 bytes"),
    ],
)
def test_what_is_no_answer_is_an_error(daemon: Daemon, answer: bytes, reason: str) -> None:
    """The error says what came; nothing is made of half an answer."""
    daemon.answers["/info"] = answer

    with pytest.raises(ServiceError, match=reason):
        asking(daemon).info(LONG_SECONDS)


def test_an_answer_without_end_is_given_up(daemon: Daemon) -> None:
    """At the deadline, whatever comes meanwhile."""
    daemon.answers["/info"] = plain(INFO)[:-1]
    daemon.closes = False

    with pytest.raises(ServiceError, match="does not come to its end"):
        asking(daemon).info(SHORT_SECONDS)


def test_a_docker_whose_storage_hangs_is_told_from_a_dead_one(daemon: Daemon) -> None:
    """By /_ping, in any version of it."""
    del daemon.answers["/info"]
    with closing(asking(daemon)) as asked:
        for pong in (PONG, plain(b"page not found", "404 Not Found")):
            daemon.answers["/_ping"] = pong
            with pytest.raises(ServiceError, match="its daemon lives"):
                asked.info(SHORT_SECONDS)

        del daemon.answers["/_ping"]
        with pytest.raises(ServiceError, match="stopped or dead"):
            asked.info(SHORT_SECONDS)


def test_a_docker_that_hangs_is_asked_no_second_time(daemon: Daemon) -> None:
    """Before it has answered the first; that answer counts if it comes while one waits."""
    answer = daemon.answers.pop("/info")
    asked = asking(daemon)
    for _ in range(3):
        with pytest.raises(ServiceError):
            asked.info(SHORT_SECONDS)
    assert daemon.asked.count("/info") == 1

    daemon.answers["/info"] = answer
    recovering = threading.Timer(SHORT_SECONDS, daemon.recover)
    recovering.start()
    assert asked.info(LONG_SECONDS) == INFO.decode()
    recovering.join()
    assert daemon.asked.count("/info") == 1
    assert asked.info(LONG_SECONDS) == INFO.decode()
    assert daemon.asked.count("/info") == 2


def test_an_answer_that_came_while_nobody_waited_is_too_old(daemon: Daemon) -> None:
    """It may be from long ago: another one is asked for."""
    del daemon.answers["/info"]
    asked = asking(daemon)
    with pytest.raises(ServiceError):
        asked.info(SHORT_SECONDS)
    daemon.answers["/info"] = plain(b'{"Driver": "old"}')
    daemon.recover()
    daemon.answers["/info"] = plain(INFO)

    assert asked.info(LONG_SECONDS) == INFO.decode()
    assert daemon.asked.count("/info") == 2


def test_a_docker_that_was_replaced_is_asked_anew(daemon: Daemon) -> None:
    """The connection to the old one has ended with it."""
    del daemon.answers["/info"]
    asked = asking(daemon)
    with pytest.raises(ServiceError):
        asked.info(SHORT_SECONDS)
    daemon.drop()
    daemon.answers["/info"] = plain(INFO)

    assert asked.info(LONG_SECONDS) == INFO.decode()
    assert daemon.asked.count("/info") == 2


def test_who_waits_is_let_go_at_the_end(daemon: Daemon) -> None:
    """Another thread ends the program: nobody waits for the deadline."""
    del daemon.answers["/info"]
    asked = asking(daemon)
    caught: list[ServiceError] = []

    def wait() -> None:
        try:
            asked.info(3 * LONG_SECONDS)
        except ServiceError as error:
            caught.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert eventually(lambda: daemon.asked == ["/info"])
    asked.close()

    waiting.join(LONG_SECONDS)
    assert "closed without an answer" in str(caught[0])
    with pytest.raises(ServiceError, match="the program is ending"):
        asked.info(LONG_SECONDS)


def test_without_a_socket_there_is_no_answer(tmp_path: Path) -> None:
    """So that the client is asked, which may know another way."""
    assert DockerSocket([tmp_path / "docker.sock"]).info(LONG_SECONDS) is None
    assert DockerSocket(()).info(LONG_SECONDS) is None


def test_a_socket_without_a_daemon_is_an_error(tmp_path: Path) -> None:
    """As left by one that was killed."""
    file = tmp_path / "docker.sock"
    with closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(file))

    with pytest.raises(ServiceError, match="Connection refused: is dockerd running"):
        DockerSocket([file], is_running=lambda: True).info(LONG_SECONDS)
    with pytest.raises(DockerAbsentError, match="not running"):
        DockerSocket([file]).info(LONG_SECONDS)


def test_nobody_is_asked_while_systemd_listens(daemon: Daemon) -> None:
    """A connection would start Docker; nor is the client run, which connects as well."""
    is_running: bool | None = False
    asked = DockerSocket([daemon.file], is_running=lambda: is_running)

    with pytest.raises(DockerAbsentError, match="not running") as absent:
        asked.info(LONG_SECONDS)
    assert absent.value.absence is Absence.NOT_RUNNING
    assert daemon.asked == []

    is_running = True
    assert asked.info(LONG_SECONDS) == INFO.decode()


def test_podmans_socket_in_the_place_of_dockers_is_not_asked(tmp_path: Path) -> None:
    """The link of podman-docker; systemd listens there as well."""
    (tmp_path / "podman").mkdir()
    with closing(Daemon(tmp_path / "podman" / "podman.sock")) as podman:
        link = tmp_path / "docker.sock"
        link.symlink_to(podman.file)

        with pytest.raises(DockerAbsentError) as absent:
            DockerSocket([link], is_running=lambda: False).info(LONG_SECONDS)

        assert absent.value.absence is Absence.PODMAN
        assert podman.asked == []


def test_where_there_is_no_socket_the_client_is_asked(tmp_path: Path) -> None:
    """It may know another way, or be no Docker's at all."""
    asked = DockerSocket([tmp_path / "docker.sock"], is_running=lambda: False)

    assert asked.info(LONG_SECONDS) is None


def test_a_daemon_that_lets_nobody_in_costs_no_time(tmp_path: Path) -> None:
    """One that is stopped, its queue full."""
    file = tmp_path / "docker.sock"
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(file))
        listener.listen(0)
        crowd: list[socket.socket] = []

        def is_full() -> bool:
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            crowd.append(one)
            return one.connect_ex(str(file)) != 0

        assert eventually(is_full)
        with pytest.raises(ServiceError, match="is dockerd running"):
            DockerSocket([file]).info(LONG_SECONDS)
        for one in crowd:
            one.close()


@pytest.mark.parametrize(
    ("docker_host", "expected"),
    [
        (None, DEFAULT_SOCKETS),
        ("", DEFAULT_SOCKETS),
        ("unix://", DEFAULT_SOCKETS),
        ("unix:///srv/docker.sock", (Path("/srv/docker.sock"),)),
        ("tcp://10.0.0.1:2376", ()),
        ("ssh://host", ()),
        ("fd://", ()),
    ],
)
def test_docker_host_names_the_socket(
    docker_host: str | None, expected: tuple[Path, ...]
) -> None:
    """As Docker's own client takes it; what is no socket is the client's business."""
    assert sockets_of(docker_host) == expected


@pytest.mark.parametrize(
    ("docker_host", "expected"),
    [
        (None, True),
        ("unix:///var/run/docker.sock", True),
        ("unix:///run/docker.sock", True),
        ("unix:///run/podman/podman.sock", False),
        ("tcp://10.0.0.7:2375", False),
    ],
)
def test_dockers_own_socket_goes_by_two_names(
    docker_host: str | None, *, expected: bool
) -> None:
    """There a question may start Docker; what listens elsewhere is its user's business."""
    assert are_dockers_own(sockets_of(docker_host)) == expected


def test_needs_no_client(daemon: Daemon) -> None:
    """Where there is a socket, nothing is run."""

    def run(argv: object) -> object:
        raise AssertionError(argv)

    asked = asking(daemon)
    info = read(run, "/usr/bin/docker", lambda: asked.info(LONG_SECONDS))  # type: ignore[arg-type]

    assert (info.server_version, info.storage_driver) == ("26.1.5", "overlay2")


@pytest.mark.parametrize("docker_host", ["unix:///run/mine.sock", "tcp://10.0.0.7:2375"])
def test_a_docker_that_is_named_has_to_answer(
    docker_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever runs on this host: whom DOCKER_HOST names may be anywhere."""
    monkeypatch.setenv("DOCKER_HOST", docker_host)

    with closing(real_host(Settings())) as host:
        assert host.is_docker_running() is True
