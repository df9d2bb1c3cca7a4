"""What Docker says of itself: `docker info` in, a DockerInfo out.

A figure in a form that Docker is not known to print is unknown, and the rest is read. Docker
may hang for as long as its storage does, and rounds every figure to four digits: nothing from
here may delay or steer a decision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec
from msgspec import Struct

from exporter.command import Output
from exporter.errors import CommandFailedError, CommandMissingError, HostError, ParseError
from exporter.model import Absence, DockerInfo
from exporter.sources.docker_daemon import DockerAbsentError
from exporter.units import MAX_SIZE_BYTES

SOURCE = "docker info"
DRIVER_KEYS = ("Storage Driver", "Driver")  # the latter before 0.9
MIN_FREE = "Thin Pool Minimum Free Space"
DEVICES = "/dev/"
LOOP_DEVICES = "/dev/loop"

# A client before 1.3 divides by 1024 and writes a small b; all later ones divide by
# 1000. The iB words belong to its figures of memory, and cost nothing to know.
MULTIPLIERS = {"B": 1} | {
    word: base**power
    for power, letter in enumerate("KMGTPEZY", start=1)
    for word, base in (
        ("kB" if letter == "K" else f"{letter}B", 1000),
        (f"{letter}b", 1024),
        (f"{letter}iB", 1024),
    )
}
SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?([A-Za-z]{1,3})")
COUNT = re.compile(r"[0-9]{1,18}")

Line = tuple[int, str, str]  # indent, key, value


# podman's own words, and a field that podman alone has in Docker's.
PODMAN_JSON = frozenset({"host", "store"})
PODMAN_FIELD = "BuildahVersion"
# Docker's client drops that field, but not this one; Docker names another licence or none.
PODMAN_LICENSE = "Apache-2.0"
PODMAN_TEXT = re.compile(
    r"^ +(?:graphDriverName|buildahVersion):", re.MULTILINE | re.IGNORECASE
)
# Early versions of podman-docker print this before the answer.
PODMAN_NOTICE = "Using podman package to emulate the Docker CLI\n"
# Docker has no plugins of this kind: nerdctl pkg/inspecttypes/dockercompat/info.go.
NERDCTL_PLUGINS = "Storage"
DRIVER_TYPE, SNAPSHOTTER = "driver-type", "io.containerd.snapshotter.v1"

Table = dict[str, object]


class _DaemonDownError(ParseError):
    """The client works and says that its daemon does not: text would say the same."""

    def __init__(self, message: str) -> None:
        super().__init__(SOURCE, message, "the daemon did not answer")


class _Info(Struct, frozen=True, kw_only=True):
    """What we use of Docker's answer, as it prints it."""

    driver: str
    status: Mapping[str, str]
    server_version: str | None = None
    root_directory: str | None = None
    containerd_socket: str | None = None


_decoder = msgspec.json.Decoder(Table)


def argv_info_json(docker: str) -> tuple[str, ...]:
    """Ask for JSON, as clients since 1.13 can; `--format json` needs 23.0."""
    return (docker, "info", "--format", "{{json .}}")


def argv_info_text(docker: str) -> tuple[str, ...]:
    """Ask for the text that every client prints."""
    return (docker, "info")


def read(
    run: Callable[[Sequence[str]], Output],
    docker: str,
    ask_socket: Callable[[], str | None] = lambda: None,
    is_running: Callable[[], bool | None] = lambda: True,
) -> DockerInfo:
    """Ask the daemon at its socket, or through its client where there is none.

    `run` and `ask_socket` bring the deadline; the latter gives the body of GET /info. The
    socket first: a client that is killed at its deadline leaves its request in the daemon,
    and each further one another. Raises DockerAbsentError if there is no Docker to ask, else
    HostError.
    """
    body = ask_socket()
    if body is not None:
        return parse_info_json(body)
    try:
        return _read_by_client(run, docker)
    except CommandMissingError as error:
        raise DockerAbsentError(Absence.NOT_INSTALLED, str(error)) from error
    except (CommandFailedError, _DaemonDownError) as error:
        if is_running():
            raise
        raise DockerAbsentError(Absence.NOT_RUNNING) from error


def _read_by_client(run: Callable[[Sequence[str]], Output], docker: str) -> DockerInfo:
    """Ask the client, for JSON if it can.

    An old one refuses `--format` with status 1, 2 or 125, or prints its usage with
    status 0, so whatever is no JSON leads to the text.
    """
    try:
        return parse_info_json(run(argv_info_json(docker)).stdout)
    except _DaemonDownError:
        raise
    except (CommandFailedError, ParseError) as error:
        json_error = error
    try:
        return parse_info_text(run(argv_info_text(docker)).stdout)
    except CommandFailedError as text_error:
        raise _telling(json_error, text_error) from json_error


def parse_info_json(text: str) -> DockerInfo:
    """Read what `docker info --format '{{json .}}'` printed, or GET /info answered.

    Shape: one object; `DriverStatus` holds [key, value] pairs, the lines of the text.
    Units: four digits and a decimal unit, `65.54kB` (with a space before 17.04).
    Raises ParseError; also where only `ServerErrors` tell, beside exit status 0, that
        the daemon is down (19.03 to 28). DockerAbsentError if it is podman's.
    Source: moby api/swagger.yaml, SystemInfo; docker/cli command/system/info.go.
    """
    try:
        raw = text.removeprefix(PODMAN_NOTICE).encode("utf-8", "backslashreplace")
        table = _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ParseError(SOURCE, text, f"not its JSON ({error})") from error
    if absence := _absence(table):
        raise DockerAbsentError(absence)
    errors = table.get("ServerErrors")
    if errors:
        raise _DaemonDownError("; ".join(map(str, errors if isinstance(errors, list) else [])))
    driver = _text(table, "Driver")
    if driver is None:
        raise ParseError(SOURCE, text, "names no storage driver")
    containerd = table.get("Containerd")
    return _record(
        _Info(
            driver=driver,
            status=_first_of_each(_pairs(table.get("DriverStatus"))),
            server_version=_text(table, "ServerVersion"),
            root_directory=_text(table, "DockerRootDir"),
            containerd_socket=_text(containerd, "Address"),
        )
    )


def _absence(table: Table) -> Absence | None:
    """Return why this answer is not Docker's, or None."""
    if PODMAN_FIELD in table or table.keys() >= PODMAN_JSON:
        return Absence.PODMAN
    if table.get("ProductLicense") == PODMAN_LICENSE:
        return Absence.PODMAN
    plugins = table.get("Plugins")
    is_nerdctl_s = isinstance(plugins, dict) and NERDCTL_PLUGINS in plugins
    return Absence.NERDCTL if is_nerdctl_s else None


def _text(table: object, key: str) -> str | None:
    found = table.get(key) if isinstance(table, dict) else None
    return found if isinstance(found, str) and found else None


def _pairs(rows: object) -> Iterator[tuple[str, str]]:
    """Return the rows of DriverStatus that are pairs of strings."""
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, list) and [type(word) for word in row] == [str, str]:
            yield row[0], row[1]


def parse_info_text(text: str) -> DockerInfo:
    """Read what `docker info` printed.

    Shape: `Key: value` lines, what belongs to a key indented below it by one space
        more. Since 19.03 all of the daemon's lines are indented below `Server:`. The
        driver is `Driver` before 0.9, `Storage Driver` since. Warnings may stand
        anywhere, and take part in nothing.
    Units: four digits and a decimal unit, `65.54 kB`; before 1.3 MiB as `10.0 Mb`.
    Raises ParseError, also where an `ERROR:` stands in the place of the daemon;
        DockerAbsentError if it is podman's.
    Source: docker/cli command/system/info.go; moby graphdriver/devmapper/driver.go.
    """
    base, lines = _server_lines(text)
    daemon = _first_of_each((key, value) for indent, key, value in lines if indent == base)
    driver = daemon.get("Storage Driver") or daemon.get("Driver")
    if not driver:
        raise _refusal(text)
    return _record(
        _Info(
            driver=driver,
            status=_first_of_each(_driver_status(lines, base)),
            server_version=daemon.get("Server Version"),
            root_directory=daemon.get("Docker Root Dir"),
        )
    )


def _server_lines(text: str) -> tuple[int, list[Line]]:
    """Take the daemon's lines with their indent: all, or those below `Server:`."""
    lines = [line for line in text.split("\n") if ":" in line]
    server = next((n for n, line in enumerate(lines) if line.startswith("Server:")), None)
    if server is None:
        return 0, [_line(line) for line in lines if not _is_notice(line)]
    return 1, [_line(line) for line in lines[server + 1 :] if not _is_notice(line)]


def _is_notice(line: str) -> bool:
    return line.lstrip().startswith(("WARNING:", "ERROR:"))


def _line(line: str) -> Line:
    key, _, value = line.partition(":")
    return len(key) - len(key.lstrip(" ")), key.strip(), value.strip()


def _driver_status(lines: Sequence[Line], base: int) -> Iterator[tuple[str, str]]:
    """Take the lines that are indented below the storage driver's own."""
    is_driver = False
    for indent, key, value in lines:
        if indent <= base:
            is_driver = key in DRIVER_KEYS
        elif is_driver:
            yield key, value


def _first_of_each(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Index by key; of a key seen again the first value stands."""
    found: dict[str, str] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


def _refusal(text: str) -> HostError:
    """Say why there is no storage driver in the text."""
    if PODMAN_TEXT.search(text):
        return DockerAbsentError(Absence.PODMAN)
    for line in text.split("\n"):
        if line.startswith("ERROR:"):
            return _DaemonDownError(line.removeprefix("ERROR:"))
    return ParseError(SOURCE, text, "names no storage driver")


def _telling(json_error: HostError, text_error: CommandFailedError) -> HostError:
    """Choose the failure that tells more.

    A usage error has another status than a failure. Where both are equal the client
    knew the flag, and its text is no more than "errors pretty printing info".
    """
    is_same = getattr(json_error, "status", None) == text_error.status
    return json_error if is_same else text_error


def _record(info: _Info) -> DockerInfo:
    status = info.status
    data, metadata = _space(status, "Data"), _space(status, "Metadata")
    return DockerInfo(
        server_version=info.server_version or None,
        storage_driver=info.driver,
        root_directory=info.root_directory or None,
        has_containerd_store=status.get(DRIVER_TYPE) == SNAPSHOTTER,
        containerd_socket=info.containerd_socket,
        pool_name=status.get("Pool Name") or None,
        has_loop_files=_is_on_loop(status),
        data_loop_file=_loop_file(status, "Data"),
        metadata_loop_file=_loop_file(status, "Metadata"),
        data_used_bytes=data.used,
        data_size_bytes=data.size,
        data_available_bytes=data.available,
        metadata_used_bytes=metadata.used,
        metadata_size_bytes=metadata.size,
        metadata_available_bytes=metadata.available,
        min_free_space_bytes=None if data.is_unread else _size(status, MIN_FREE),
        base_device_size_bytes=_size(status, "Base Device Size") or None,
        deferred_deleted_devices=_count(status, "Deferred Deleted Device Count"),
    )


class _Space(Struct, frozen=True):
    used: int | None = None
    size: int | None = None
    available: int | None = None
    is_unread: bool = False


def _space(status: Mapping[str, str], device: str) -> _Space:
    """Read the figures of one device; all unknown where Docker could not read the pool.

    It then prints 0 B for each and succeeds (moby deviceset.go, Status).
    """
    size = _size(status, f"{device} Space Total")
    if size == 0:
        return _Space(is_unread=True)
    return _Space(
        used=_size(status, f"{device} Space Used"),
        size=size,
        available=_size(status, f"{device} Space Available"),
    )


def _is_on_loop(status: Mapping[str, str]) -> bool:
    """Whether the pool's data lies on a loop device, by key and not by a warning's text."""
    is_loop_device = status.get("Data file", "").startswith(LOOP_DEVICES)
    return is_loop_device or _loop_file(status, "Data") is not None


def _loop_file(status: Mapping[str, str], device: str) -> str | None:
    """Name the file under the loop device; up to 1.4 it stands in the device's place."""
    file = status.get(f"{device} loop file")
    if not file:
        named = status.get(f"{device} file", "")
        file = None if named.startswith(DEVICES) else named
    return file or None


def _size(status: Mapping[str, str], key: str) -> int | None:
    """Read a printed size in bytes; None without the key, or if it is no size."""
    match = SIZE.fullmatch(status.get(key, ""))
    multiplier = MULTIPLIERS.get(match[2]) if match else None
    if match is None or multiplier is None:
        return None
    size_bytes = int(Decimal(match[1]) * multiplier)
    return size_bytes if size_bytes <= MAX_SIZE_BYTES else None


def _count(status: Mapping[str, str], key: str) -> int | None:
    printed = status.get(key, "")
    return int(printed) if COUNT.fullmatch(printed) else None
