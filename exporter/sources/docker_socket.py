"""Docker's API over its Unix socket: the body of GET /info, and what /_ping says beside it.

Docker may hang for as long as its storage does, and does not notice that nobody waits for
an answer any more: each request would leave another one waiting in it. So a request that
was not answered in time is kept, and no second one is made before that one is over.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from exporter.errors import HostError, ServiceError
from exporter.model import Absence
from exporter.sources.docker_daemon import DockerAbsentError
from exporter.sources.http_answer import Answer, MalformedAnswerError, parse_answer

DEFAULT_SOCKETS = (Path("/run/docker.sock"), Path("/var/run/docker.sock"))
UNIX_SCHEME = "unix://"
# A host with many plugins, registries and warnings has some tens of kB.
MAX_BYTES = 4 * 1024 * 1024
READ_BYTES = 65536
# Of the time that there is, so much is left for asking whether Docker lives at all.
PING_SHARE = 0.2
INFO, PING = "/info", "/_ping"
OK = 200
ASLEEP = "not asked: systemd listens at the socket and would start it"
PODMAN = "podman"


def sockets_of(docker_host: str | None) -> tuple[Path, ...]:
    """Name the sockets that DOCKER_HOST means: its own, or none where it is no socket."""
    if not docker_host:
        return DEFAULT_SOCKETS
    path = docker_host.removeprefix(UNIX_SCHEME)
    if path == docker_host:
        return ()
    return (Path(path),) if path else DEFAULT_SOCKETS


def are_dockers_own(sockets: Iterable[Path]) -> bool:
    """Whether these are sockets at which systemd's docker.socket listens."""
    found = set(sockets)
    return bool(found) and found <= set(DEFAULT_SOCKETS)


class DockerSocket:
    """Asks the first of the sockets at which somebody listens; one caller at a time.

    Nobody is asked if `is_running` is False: a connection would start Docker. None: unknown.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
        is_running: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self._paths = tuple(paths)
        self._is_running = is_running
        self._max_bytes = max_bytes
        self._clock = clock
        self._unanswered: _Request | None = None
        self._last: _Request | None = None
        self._in_use = threading.Lock()
        self._is_closed = False

    def info(self, deadline_seconds: float) -> str | None:
        """Ask for /info: its JSON, or None where there is no socket.

        Raises DockerAbsentError, or ServiceError, which says whether Docker lives although
        it does not answer.
        """
        with self._in_use:
            return self._info(deadline_seconds)

    def _info(self, deadline_seconds: float) -> str | None:
        ends_at = self._clock() + deadline_seconds
        request = self._pending() or self._ask(INFO, ends_at)
        if request is None:
            return None
        self._unanswered = request
        if not request.wait(ends_at - deadline_seconds * PING_SHARE):
            is_alive = self._is_alive(ends_at)
            if not request.wait(ends_at):
                waited = max(deadline_seconds, self._clock() - request.asked_at)
                raise ServiceError(request.name, _silence(waited, is_alive=is_alive))
        self._unanswered = None
        with contextlib.closing(request):
            answer = request.read(ends_at)
        if answer.status != OK:
            raise ServiceError(request.name, f"status {answer.status}: {answer.text}")
        return answer.text

    def close(self) -> None:
        """Wait for no answer any more, and let who waits in another thread know."""
        self._is_closed = True
        for request in (self._unanswered, self._last):
            if request:
                request.end()
        with self._in_use:
            if self._unanswered:
                self._unanswered.close()

    def _pending(self) -> _Request | None:
        """Give the request that waits; what was answered while nobody looked is too old."""
        if self._unanswered and self._unanswered.wait(self._clock()):
            self._unanswered.close()
            self._unanswered = None
        return self._unanswered

    def _is_alive(self, ends_at: float) -> bool:
        """Whether /_ping is answered, for which Docker needs no storage; in any way."""
        try:
            request = self._ask(PING, ends_at)
            if request is None:
                return False
            with contextlib.closing(request):
                return bool(request.wait(ends_at) and request.read(ends_at).status)
        except ServiceError:
            return False

    def _ask(self, path: str, ends_at: float) -> _Request | None:
        """Send a request to the first socket at which somebody listens."""
        if self._is_closed:
            raise ServiceError(f"GET {path}", "the program is ending")
        refused = None
        present = [file for file in self._paths if os.path.exists(file)]  # noqa: PTH110 - never raises
        if present and self._is_running() is False:
            raise _absent(present[0])
        for file in self._paths:
            request = _Request(file, path, max_bytes=self._max_bytes, clock=self._clock)
            self._last = request
            try:
                request.send(ends_at)
            except FileNotFoundError:
                request.close()
            except OSError as error:
                request.close()
                refused = refused or self._refusal(request.name, error)
            else:
                return request
        if refused:
            raise refused
        return None

    def _refusal(self, name: str, error: OSError) -> HostError:
        """Distinguish a stale socket from a daemon that accepts no connection."""
        reason = error.strerror or str(error)
        if isinstance(error, ConnectionRefusedError) and not self._is_running():
            return DockerAbsentError(Absence.NOT_RUNNING, f"{name}: {reason}")
        return ServiceError(name, f"{reason}: is dockerd running?")


def _absent(file: Path) -> DockerAbsentError:
    """Distinguish a stopped Docker from podman, which links Docker's socket to its own."""
    if PODMAN in os.path.realpath(file):
        return DockerAbsentError(Absence.PODMAN)
    return DockerAbsentError(Absence.NOT_RUNNING, ASLEEP)


def _silence(waited_seconds: float, *, is_alive: bool) -> str:
    """Tell a Docker whose storage hangs from one that is dead, for people."""
    if is_alive:
        why = f"its daemon lives ({PING} is answered): what it waits for is its storage"
    else:
        why = f"{PING} is not answered either: its daemon is stopped or dead"
    return f"no answer within {waited_seconds:.0f} s; {why}"


class _Request:
    """One request, on a connection of its own."""

    def __init__(
        self, file: Path, path: str, *, max_bytes: int, clock: Callable[[], float]
    ) -> None:
        self.name = f"GET {path} at {file}"
        self.asked_at = clock()
        self._file, self._path = file, path
        self._max_bytes = max_bytes
        self._clock = clock
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def close(self) -> None:
        self._socket.close()

    def end(self) -> None:
        """Let it be over for who waits for it."""
        with contextlib.suppress(OSError):  # it is over already
            self._socket.shutdown(socket.SHUT_RDWR)

    def send(self, ends_at: float) -> None:
        """Connect and ask. Raises OSError; also where too many wait to be let in already."""
        self._socket.settimeout(max(0.001, ends_at - self._clock()))
        self._socket.connect(str(self._file))
        # 1.0: the end of the connection is the end of the answer.
        self._socket.sendall(f"GET {self._path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())

    def wait(self, until: float) -> bool:
        """Wait for the answer's beginning, or the connection's end; false if none came."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(max(0.0, until - self._clock()) * 1000))

    def read(self, ends_at: float) -> Answer:
        """Read the whole answer. Raises ServiceError."""
        raw = bytearray()
        try:
            while True:
                if not self.wait(ends_at) or self._clock() >= ends_at:
                    raise ServiceError(self.name, "the answer does not come to its end")
                chunk = self._socket.recv(READ_BYTES)
                raw += chunk
                if len(raw) > self._max_bytes:
                    raise ServiceError(self.name, f"more than {self._max_bytes} bytes")
                answer = parse_answer(bytes(raw), is_over=not chunk)
                if answer:
                    return answer
        except OSError as error:
            raise ServiceError(self.name, error.strerror or str(error)) from error
        except MalformedAnswerError as error:
            raise ServiceError(self.name, str(error)) from error
