"""Docker's API over its Unix socket: the body of GET /info, and what /_ping says beside it.

Docker may hang for as long as its storage does, and does not notice that nobody waits for
an answer any more: each request would leave another one waiting in it. So a request that
was not answered in time is kept, and no second one is made before that one is over.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from exporter.errors import ServiceError
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


def sockets_of(docker_host: str | None) -> tuple[Path, ...]:
    """Name the sockets that DOCKER_HOST means: its own, or none where it is no socket."""
    if not docker_host:
        return DEFAULT_SOCKETS
    path = docker_host.removeprefix(UNIX_SCHEME)
    if path == docker_host:
        return ()
    return (Path(path),) if path else DEFAULT_SOCKETS


class DockerSocket:
    """Asks the first of the sockets at which somebody listens; one caller at a time."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = tuple(paths)
        self._max_bytes = max_bytes
        self._clock = clock
        self._unanswered: _Request | None = None

    def info(self, deadline_seconds: float) -> str | None:
        """Ask for /info: its JSON, or None where there is no socket.

        Raises ServiceError, which says whether Docker lives although it does not answer.
        """
        began = self._clock()
        request = self._pending() or self._ask(INFO, began + deadline_seconds)
        if request is None:
            return None
        if not request.wait(began + deadline_seconds * (1 - PING_SHARE)):
            self._unanswered = request
            raise ServiceError(request.name, self._silence(request, began, deadline_seconds))
        self._unanswered = None
        with contextlib.closing(request):
            answer = request.read(began + deadline_seconds)
        if answer.status != OK:
            raise ServiceError(request.name, f"status {answer.status}: {answer.text}")
        return answer.text

    def close(self) -> None:
        """Wait for no answer any more."""
        if self._unanswered:
            self._unanswered.close()
            self._unanswered = None

    def _pending(self) -> _Request | None:
        """Give the request that waits; what was answered while nobody looked is too old."""
        if self._unanswered and self._unanswered.wait(self._clock()):
            self.close()
        return self._unanswered

    def _silence(self, request: _Request, began: float, deadline_seconds: float) -> str:
        """Tell a Docker whose storage hangs from one that is dead, for people."""
        waited = max(deadline_seconds, self._clock() - request.asked_at)
        lives = self._is_alive(began + deadline_seconds)
        if lives:
            why = f"its daemon lives ({PING} is answered): what it waits for is its storage"
        else:
            why = f"{PING} is not answered either: its daemon is stopped or dead"
        return f"no answer within {waited:.0f} s; {why}"

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
        refused = None
        for file in self._paths:
            request = _Request(file, path, max_bytes=self._max_bytes, clock=self._clock)
            try:
                request.send(ends_at)
            except FileNotFoundError:
                request.close()
            except OSError as error:
                request.close()
                refused = refused or ServiceError(
                    request.name, f"{error.strerror or error}: is dockerd running?"
                )
            else:
                return request
        if refused:
            raise refused
        return None


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
                if not self.wait(ends_at):
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
