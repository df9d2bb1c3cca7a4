"""What `docker info` prints, by every client and in every state, and what we make of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from exporter.command import Output
from exporter.errors import (
    CommandFailedError,
    CommandMissingError,
    CommandStuckError,
    HostError,
    OutputTooLargeError,
    ParseError,
)
from exporter.model import Absence, DockerInfo
from exporter.sources.docker import (
    argv_info_json,
    argv_info_text,
    parse_info_json,
    parse_info_text,
    read,
)
from exporter.sources.docker_daemon import DockerAbsentError
from tests.printed import read_docker_size

RECORDINGS = Path(__file__).parents[1] / "recordings" / "docker_info"
EXPECTED = sorted(RECORDINGS.glob("*.expected.json"))
FIGURES: dict[str, dict[str, object]] = json.loads((RECORDINGS / "figures.json").read_text())
SPACE = re.compile(r"((?:Data|Metadata) Space \w+): (.+)")
KEYS = {
    f"{device.lower()}_{field}_bytes": f"{device} Space {word}"
    for device in ("Data", "Metadata")
    for field, word in (("used", "Used"), ("size", "Total"))
}
# Four digits; the tenths of a MiB of 1.2 tell 4.6 Mb no nearer than 1 in 92.
LEAST_EXACT = 1 / 90
DOCKER = "/usr/bin/docker"
TEXT = "Storage Driver: devicemapper\n Pool Name: docker-thinpool\n"
JSON = '{"Driver": "overlay2", "DriverStatus": null}\n'

PARSERS: dict[str, Callable[[str], DockerInfo]] = {
    ".txt": parse_info_text,
    ".json": parse_info_json,
}


def recording_of(expected: Path) -> Path:
    """Find the output that the record belongs to."""
    stem = expected.name.removesuffix(".expected.json")
    return next(file for suffix in PARSERS if (file := RECORDINGS / f"{stem}{suffix}").exists())


def parse(recording: Path) -> DockerInfo:
    """Parse as the format that the file's name ends with."""
    return PARSERS[recording.suffix](recording.read_text())


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda path: path.name)
def test_reads_every_recording(expected: Path) -> None:
    """Each output gives exactly the record kept beside it."""
    info = parse(recording_of(expected))

    record = msgspec.convert(json.loads(expected.read_text()), DockerInfo)
    assert info == record


@pytest.mark.parametrize("name", FIGURES)
def test_comes_as_near_as_docker_prints(name: str) -> None:
    """What is read differs from Docker's own count by half of the last printed digit."""
    info = msgspec.to_builtins(parse(RECORDINGS / f"{name}.txt"))
    told = dict(SPACE.findall((RECORDINGS / f"{name}.txt").read_text()))

    for field, figure in FIGURES[name].items():
        if not isinstance(figure, int) or field not in KEYS:
            assert info[field] == figure
            continue
        print_of = read_docker_size(told[KEYS[field]])
        assert info[field] == int(print_of.value)
        assert abs(info[field] - figure) <= print_of.bound
        assert print_of.bound <= figure * LEAST_EXACT


def test_every_recording_is_used() -> None:
    """No recording stands without a record, unless it shows a daemon that is down."""
    used = {recording_of(expected) for expected in EXPECTED}
    known = {*used, *RECORDINGS.glob("*-daemon-down.*"), *EXPECTED}

    assert set(RECORDINGS.iterdir()) - known == {
        RECORDINGS / "README.md",
        RECORDINGS / "figures.json",
    }


@pytest.mark.parametrize(
    "recording", sorted(RECORDINGS.glob("*-daemon-down.*")), ids=lambda path: path.name
)
def test_a_daemon_that_is_down_is_an_error(recording: Path) -> None:
    """The error repeats what the client said, and no record is made up."""
    with pytest.raises(ParseError, match="Cannot connect to the Docker daemon"):
        parse(recording)


@pytest.mark.parametrize(
    ("printed", "size_bytes"),
    [
        ("0 B", None),
        ("999.9kB", 999_900),
        ("65.54 kB", 65_540),
        ("1000MB", 1_000_000_000),
        ("1.5TB", 1_500_000_000_000),
        ("2PB", 2 * 10**15),
        ("64 Kb", 65_536),
        ("10.0 Mb", 10_485_760),
        ("1.5GiB", 1_610_612_736),
    ],
)
def test_knows_the_units_of_every_client(printed: str, size_bytes: int | None) -> None:
    """Decimal since 1.3, binary with a small b before."""
    info = parse_info_text(f"{TEXT} Data Space Total: {printed}\n")

    assert info.data_size_bytes == size_bytes


@pytest.mark.parametrize(
    "printed",
    ["", "B", "12", "1.2.3 MB", "-1 MB", "1e3 MB", "1 XB", "nan GB", "١ MB", "1" * 99],
)
def test_a_size_that_is_none_costs_that_figure(printed: str) -> None:
    """Nothing is guessed from a form that Docker never prints, and all else is read."""
    info = parse_info_text(
        f"{TEXT} Data Space Used: {printed}\n Data Space Total: 2 GB\n"
        " Metadata Space Total: 1 GB\n"
    )

    assert info.data_used_bytes is None
    assert (info.pool_name, info.data_size_bytes) == ("docker-thinpool", 2 * 10**9)
    assert info.metadata_size_bytes == 10**9


def test_a_total_that_is_none_costs_that_figure() -> None:
    """Unlike 0 B, by which Docker says that it could not read the pool."""
    text = f"{TEXT} Data Space Used: 1 GB\n Thin Pool Minimum Free Space: 1 GB\n"

    info = parse_info_text(f"{text} Data Space Total: lots\n")
    assert (info.data_used_bytes, info.data_size_bytes) == (10**9, None)
    assert info.min_free_space_bytes == 10**9
    info = parse_info_text(f"{text} Data Space Total: 0 B\n")
    assert (info.data_used_bytes, info.min_free_space_bytes) == (None, None)


def test_a_count_that_is_none_costs_that_figure() -> None:
    """The number of devices to be deleted is a number."""
    info = parse_info_text(f"{TEXT} Deferred Deleted Device Count: many\n")

    assert (info.pool_name, info.deferred_deleted_devices) == ("docker-thinpool", None)


@pytest.mark.parametrize(
    "change",
    [
        {"ServerVersion": 5},
        {"DockerRootDir": ["/"]},
        {"Containerd": "/run/containerd/containerd.sock"},
        {"DriverStatus": [["Data Space Used", None], ["Pool Name", "p"]]},
        {"DriverStatus": [["Pool Name"], "x", ["a", "b", "c"], None, ["Pool Name", "p"]]},
        {"DriverStatus": [["Thin Pool Minimum Free Space", "10%"], ["Pool Name", "p"]]},
        {"Warnings": 7, "Plugins": None},
    ],
    ids=str,
)
def test_a_value_of_another_kind_costs_that_value(change: dict[str, object]) -> None:
    """Driver and pool are told all the same."""
    document = {"Driver": "devicemapper", "DriverStatus": [["Pool Name", "p"]], **change}

    info = parse_info_json(json.dumps(document))

    assert (info.storage_driver, info.pool_name) == ("devicemapper", "p")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (None, None),
        ("/run/containerd/containerd.sock", "/run/containerd/containerd.sock"),
        ("", None),
    ],
)
def test_tells_that_images_are_containerds(address: str | None, expected: str | None) -> None:
    """By the type of the driver alone, and at which socket since API 1.46."""
    status = [["driver-type", "io.containerd.snapshotter.v1"]]
    document: dict[str, object] = {"Driver": "overlayfs", "DriverStatus": status}
    if address is not None:
        document["Containerd"] = {"Address": address, "Namespaces": {"Containers": "moby"}}

    info = parse_info_json(json.dumps(document))

    assert (info.has_containerd_store, info.containerd_socket) == (True, expected)
    text = "Server:\n Storage Driver: overlayfs\n  driver-type: io.containerd.snapshotter.v1\n"
    assert parse_info_text(text).has_containerd_store
    assert not parse_info_json(JSON).has_containerd_store


@pytest.mark.parametrize(
    ("status", "has_loop_files", "file"),
    [
        ("Data file: ", False, None),
        ("Data file: /dev/sdb1", False, None),
        ("Data file: /dev/mapper/vg-data", False, None),
        ("Data file: /dev/loop0", True, None),
        ("Data file: /var/lib/data", True, "/var/lib/data"),
        ("Data file: /dev/loop0\n Data loop file: /dev/pool/data", True, "/dev/pool/data"),
        ("Data loop file: ", False, None),
    ],
)
def test_detects_loop_devices_by_key(
    status: str, *, has_loop_files: bool, file: str | None
) -> None:
    """By the file's key, or by what stands in the device's; never by a warning."""
    info = parse_info_text(f"{TEXT} {status}\n WARNING: usage of loopback devices\n")

    assert (info.has_loop_files, info.data_loop_file) == (has_loop_files, file)


def test_a_key_seen_twice_keeps_the_first() -> None:
    """In the text and in the JSON's list."""
    twice = [["Pool Name", "first"], ["Pool Name", "second"]]
    document = json.dumps({"Driver": "devicemapper", "DriverStatus": twice})

    assert parse_info_text(f"{TEXT} Pool Name: second\n").pool_name == "docker-thinpool"
    assert parse_info_json(document).pool_name == "first"


def test_takes_the_pool_from_the_driver_alone() -> None:
    """The same key below another heading, or in the client's part, is none of it."""
    text = (
        "Client:\n Storage Driver: no\n\nServer:\n Storage Driver: devicemapper\n"
        "  Deferred Removal Enabled: true\n Labels:\n  Pool Name: label\n"
    )

    info = parse_info_text(text)

    assert (info.storage_driver, info.pool_name) == ("devicemapper", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "json\n",
        "null",
        "[]",
        "{}",
        '{"Driver": ""}',
        '{"Driver": 5}',
        '{"Driver": "devicemapper"',
        '{"Driver": "devicemapper"} {}',
        '{"Driver": "\ud800"',
        '{"a":' * 100_000,
        '{"DriverStatus":' + "[" * 100_000,
        "host:\n  arch: amd64\n",
    ],
    ids=lambda text: text[:40],
)
@pytest.mark.parametrize("parser", PARSERS.values())
def test_refuses_what_is_no_docker_info(parser: Callable[[str], DockerInfo], text: str) -> None:
    """Output of another program, cut short, or hostile: one error, always the same kind."""
    with pytest.raises(ParseError):
        parser(text)


class Client:
    """A docker client that answers from a table of its arguments."""

    def __init__(self, answers: dict[tuple[str, ...], str | HostError]) -> None:
        self._answers = answers
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, argv: Sequence[str]) -> Output:
        """Answer, or fail, as the table says."""
        self.asked.append(tuple(argv))
        answer = self._answers[tuple(argv)]
        if isinstance(answer, HostError):
            raise answer
        return Output(argv=tuple(argv), status=0, stdout=answer, stderr="")


AS_JSON, AS_TEXT = argv_info_json(DOCKER), argv_info_text(DOCKER)


def failed(argv: Sequence[str], status: int, stderr: str) -> CommandFailedError:
    """Build the error of a client that ends with `status`."""
    return CommandFailedError(argv, status, stderr)


def test_asks_for_json_first() -> None:
    """A client that knows the flag is asked once."""
    client = Client({AS_JSON: JSON})

    assert read(client, DOCKER).storage_driver == "overlay2"
    assert client.asked == [(DOCKER, "info", "--format", "{{json .}}")]


@pytest.mark.parametrize(
    "answer",
    [
        failed(
            AS_JSON, 125, "flag provided but not defined: --format\nSee 'docker info --help'."
        ),
        failed(AS_JSON, 2, "flag provided but not defined: --format"),
        failed(AS_JSON, 1, "flag provided but not defined: --format"),
        "",
        "json\n",
        "\nUsage: docker info\n\nDisplay system-wide information\n",
    ],
    ids=["1.12", "1.5", "1.9", "0.7", "literal", "usage"],
)
def test_asks_an_old_client_for_text(answer: str | HostError) -> None:
    """Whatever way the client has of not knowing `--format`."""
    client = Client({AS_JSON: answer, AS_TEXT: TEXT})

    assert read(client, DOCKER).pool_name == "docker-thinpool"
    assert client.asked == [AS_JSON, (DOCKER, "info")]


@pytest.mark.parametrize(
    "error",
    [
        CommandStuckError(AS_JSON, 10.0),
        OutputTooLargeError(AS_JSON, 1),
    ],
)
def test_asks_no_second_time_what_cannot_answer(error: HostError) -> None:
    """A client that hangs would do so again."""
    client = Client({AS_JSON: error})

    with pytest.raises(type(error)):
        read(client, DOCKER)


def test_a_client_that_is_not_there_means_that_docker_is_not_installed() -> None:
    """And nobody looks for another one."""
    client = Client({AS_JSON: CommandMissingError(AS_JSON, "No such file or directory")})

    with pytest.raises(DockerAbsentError) as absent:
        read(client, DOCKER)
    assert absent.value.absence is Absence.NOT_INSTALLED


def test_a_daemon_that_does_not_run_is_absent_and_not_silent() -> None:
    """Whatever the client says then, with whatever exit status."""
    down = (RECORDINGS / "20.10-daemon-down.json").read_text()
    failure = failed(AS_JSON, 1, "Cannot connect to the Docker daemon")
    for answer in (down, failure):
        client = Client({AS_JSON: answer, AS_TEXT: failed(AS_TEXT, 1, "Cannot connect")})

        with pytest.raises(DockerAbsentError) as absent:
            read(client, DOCKER, is_running=lambda: False)
        assert absent.value.absence is Absence.NOT_RUNNING
        with pytest.raises(HostError, match="Cannot connect"):
            read(client, DOCKER, is_running=lambda: True)


PODMAN_YAML = (
    "host:\n  arch: amd64\n  buildahVersion: 1.28.0\nstore:\n  graphDriverName: overlay\n"
)
PODMAN_NOTICE = "Using podman package to emulate the Docker CLI\n"
PODMAN_JSON = (
    '{"host": {"arch": "amd64", "buildahVersion": "1.28.0"}, "store": {"graphDriverName": '
    '"overlay", "graphRoot": "/var/lib/containers/storage"}, "version": {"Version": "4.4.1"}}'
)


@pytest.mark.parametrize(
    ("as_json", "as_text"),
    [
        (PODMAN_JSON, None),
        (PODMAN_NOTICE + PODMAN_JSON, None),
        # its first script split the template at the blank
        (failed(AS_JSON, 125, "Error: template parsing error"), PODMAN_NOTICE + PODMAN_YAML),
        (failed(AS_JSON, 125, "unknown flag: --format"), PODMAN_YAML.replace("build", "Build")),
    ],
    ids=["json", "notice", "split", "old"],
)
def test_podmans_script_in_the_place_of_docker_is_no_docker(
    as_json: str | HostError, as_text: str | None
) -> None:
    """It answers, and so hangs no more than it is Docker."""
    client = Client({AS_JSON: as_json, AS_TEXT: as_text or ""})

    with pytest.raises(DockerAbsentError) as absent:
        read(client, DOCKER)

    assert absent.value.absence is Absence.PODMAN
    assert client.asked == [AS_JSON] if as_text is None else [AS_JSON, AS_TEXT]


@pytest.mark.parametrize(
    ("answer", "absence"),
    [
        # podman's socket asked by Docker's own client, which drops the fields it does not know
        (
            '{"Driver": "overlay", "ServerVersion": "4.4.1", "ProductLicense": "Apache-2.0"}',
            Absence.PODMAN,
        ),
        (
            (
                '{"ID": "x", "Driver": "overlayfs", "Plugins": {"Log": ["none"], "Storage": '
                '["native", "overlayfs"]}, "ServerVersion": "v1.7.2"}'
            ),
            Absence.NERDCTL,
        ),
    ],
)
def test_other_answers_in_dockers_form_are_not_dockers(answer: str, absence: Absence) -> None:
    """Told by what Docker itself never says."""
    with pytest.raises(DockerAbsentError) as absent:
        read(Client({AS_JSON: answer}), DOCKER)
    assert absent.value.absence is absence


@pytest.mark.parametrize(
    "change",
    [
        {"ProductLicense": "Community Engine"},
        {"Plugins": {"Volume": ["local"], "Network": ["bridge"], "Log": ["json-file"]}},
    ],
)
def test_dockers_own_answers_are_dockers(change: dict[str, object]) -> None:
    """With a licence, and plugins of its own kinds."""
    info = parse_info_json(json.dumps({"Driver": "overlay2", **change}))

    assert info.storage_driver == "overlay2"


def test_podman_at_dockers_socket_is_no_docker() -> None:
    """It answers as Docker does, and says its own version of Buildah beside it."""
    body = (
        '{"BuildahVersion": "1.28.0", "Driver": "overlay", "ServerVersion": "4.4.1", '
        '"DockerRootDir": "/var/lib/containers/storage", "DriverStatus": []}'
    )

    with pytest.raises(DockerAbsentError) as absent:
        read(Client({}), DOCKER, lambda: body)
    assert absent.value.absence is Absence.PODMAN


def test_asks_no_second_time_when_the_daemon_is_down() -> None:
    """The client said so in JSON, with exit status 0."""
    client = Client({AS_JSON: (RECORDINGS / "20.10-daemon-down.json").read_text()})

    with pytest.raises(HostError, match="did not answer: 'Cannot connect to the Docker daemon"):
        read(client, DOCKER)


@pytest.mark.parametrize(
    ("json_error", "text_error"),
    [
        (
            failed(AS_JSON, 1, "Cannot connect"),
            failed(AS_TEXT, 1, "errors pretty printing info"),
        ),
        (failed(AS_JSON, 125, "flag provided but"), failed(AS_TEXT, 1, "Cannot connect")),
        ("", failed(AS_TEXT, 1, "Cannot connect")),
    ],
    ids=["new", "1.12", "0.7"],
)
def test_tells_why_the_daemon_is_down(
    json_error: str | HostError, text_error: HostError
) -> None:
    """Of two failures the one that has the daemon's reason is raised."""
    client = Client({AS_JSON: json_error, AS_TEXT: text_error})

    with pytest.raises(CommandFailedError, match="Cannot connect"):
        read(client, DOCKER)
