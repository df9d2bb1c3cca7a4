"""One exception class for each way that the program reacts to a failure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

MAX_QUOTED_CHARACTERS = 500


class ExporterError(Exception):
    """Base of every error that this program raises on purpose."""


class ConfigError(ExporterError):
    """The settings cannot be used; start-up ends with exit status 2.

    `faults` holds every fault found, each a sentence that names its key.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class ListenError(ExporterError):
    """The web side cannot listen on an address; start-up ends."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot listen on {quote(address)}: {reason}")


class HostError(ExporterError):
    """One source could not be read: its last good part ages, the others go on."""


class CommandMissingError(HostError):
    """The program is not installed, or may not be executed."""

    def __init__(self, argv: Sequence[str], reason: str) -> None:
        super().__init__(f"cannot start {argv[0]}: {reason}")


class CommandFailedError(HostError):
    """The program ended with a status other than 0, or was killed by a signal."""

    def __init__(
        self, argv: Sequence[str], status: int, stderr: str, *, stdout: str = ""
    ) -> None:
        how = f"exit status {status}" if status >= 0 else f"killed by signal {-status}"
        message = quote(stderr) or quote(stdout) or "no message"
        super().__init__(f"{shlex.join(argv)}: {how}: {message}")
        self.status = status
        self.stderr = stderr
        self.stdout = stdout


class CommandStuckError(HostError):
    """The program did not end within its deadline; `stdout` is what it had printed."""

    def __init__(
        self, argv: Sequence[str], deadline_seconds: float, *, stdout: str = ""
    ) -> None:
        super().__init__(f"{shlex.join(argv)}: no answer within {deadline_seconds:g} s")
        self.stdout = stdout


class OutputTooLargeError(HostError):
    """The program printed more than anything sensible would need."""

    def __init__(self, argv: Sequence[str], limit_bytes: int) -> None:
        super().__init__(f"{shlex.join(argv)}: printed more than {limit_bytes} bytes")


class ServiceError(HostError):
    """A daemon of the host did not answer a request, or not as it should."""

    def __init__(self, request: str, reason: str) -> None:
        super().__init__(f"{request}: {quote(reason)}")


class ParseError(HostError):
    """The program's output is not what its format promises."""

    def __init__(self, source: str, text: str, reason: str = "not understood") -> None:
        super().__init__(f"output of {source}: {quote(reason)}: {quote(text)!r}")


class KernelError(HostError):
    """The kernel's device-mapper refused or failed a request."""


class DeviceMapperMissingError(KernelError):
    """The kernel, or the container, has no device-mapper control device."""


def quote(text: str, limit: int = MAX_QUOTED_CHARACTERS) -> str:
    """Shorten foreign text so that it fits a log line; the end often says the most."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} … {text[-half:]}"
