"""Any `docker info`: whatever Docker could print is read back, whatever else is refused."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import HostError
from exporter.model import DockerInfo
from exporter.sources.docker import parse_info_json, parse_info_text

FOUR_DIGITS = 0.0005
DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")

WORDS = (
    "Client:",
    "Server:",
    "Storage Driver: devicemapper",
    "Driver: devicemapper",
    "ERROR: no",
    "WARNING: no",
    "Pool Name: p",
    "Data Space Total: 1 GB",
    "Data Space Used: 0 B",
    "Data loop file: /var/lib/docker/data",
    "Data file: ",
    "Plugins:",
    "",
)
NOISE = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(WORDS) | st.text(max_size=30)).map(
        lambda line: " " * line[0] + line[1]
    ),
    max_size=20,
).map("\n".join)

NAMES = st.text("abcXYZ019+_.:-", min_size=1, max_size=30)
SIZES = st.integers(1, 10**18)
INFOS = st.builds(
    DockerInfo,
    server_version=NAMES,
    storage_driver=st.just("devicemapper"),
    root_directory=NAMES.map("/{}".format),
    pool_name=NAMES,
    has_loop_files=st.just(value=True),
    data_loop_file=NAMES.map("/var/{}".format),
    metadata_loop_file=NAMES.map("/var/{}".format),
    data_used_bytes=SIZES,
    data_size_bytes=SIZES,
    data_available_bytes=SIZES,
    metadata_used_bytes=SIZES,
    metadata_size_bytes=SIZES,
    metadata_available_bytes=SIZES,
    min_free_space_bytes=SIZES,
    base_device_size_bytes=SIZES,
    deferred_deleted_devices=st.integers(0, 10**6),
)


def human_size(size_bytes: int, separator: str) -> str:
    """Print as go-units' HumanSize does: `%.4g` with a decimal unit."""
    size, power = float(size_bytes), 0
    while size >= 1000 and power < len(DECIMAL) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.4g}{separator}{DECIMAL[power]}"


def binary_megabytes(size_bytes: int) -> str:
    """Print as clients before 1.3 do."""
    return f"{size_bytes / 2**20:.1f} Mb"


def driver_status(info: DockerInfo, separator: str) -> list[tuple[str, str]]:
    """Build the pairs that the daemon sends, in some version's order."""
    sizes = {
        "Base Device Size": info.base_device_size_bytes,
        "Data Space Used": info.data_used_bytes,
        "Data Space Total": info.data_size_bytes,
        "Data Space Available": info.data_available_bytes,
        "Metadata Space Used": info.metadata_used_bytes,
        "Metadata Space Total": info.metadata_size_bytes,
        "Metadata Space Available": info.metadata_available_bytes,
        "Thin Pool Minimum Free Space": info.min_free_space_bytes,
    }
    return [
        ("Pool Name", str(info.pool_name)),
        ("Data file", "/dev/loop0"),
        ("Metadata file", "/dev/loop1"),
        *((key, human_size(size or 0, separator)) for key, size in sizes.items()),
        ("Deferred Deleted Device Count", str(info.deferred_deleted_devices)),
        ("Data loop file", str(info.data_loop_file)),
        ("Metadata loop file", str(info.metadata_loop_file)),
    ]


def as_text(info: DockerInfo, status: list[tuple[str, str]], *, has_blocks: bool) -> str:
    """Print as a client does: with the blocks of 19.03, or without."""
    indent = " " if has_blocks else ""
    lines = [
        f"Server Version: {info.server_version}",
        f"Storage Driver: {info.storage_driver}",
        *(f" {key}: {value}" for key, value in status),
        "Plugins:",
        " Volume: local",
        f"Docker Root Dir: {info.root_directory}",
        "Live Restore Enabled: false",
    ]
    head = "Client:\n Debug Mode: false\n\nServer:\n" if has_blocks else "Containers: 4\n"
    return head + "".join(f"{indent}{line}\n" for line in lines)


def is_near(info: DockerInfo, expected: DockerInfo) -> bool:
    """Whether both are equal, sizes within four digits."""
    for field in info.__struct_fields__:
        value, wanted = getattr(info, field), getattr(expected, field)
        tolerance = wanted * FOUR_DIGITS + 1 if field.endswith("_bytes") else 0
        if value != wanted and not (tolerance and abs(value - wanted) <= tolerance):
            return False
    return True


@given(st.text() | NOISE)
def test_any_text_gives_a_record_or_one_error(text: str) -> None:
    """Neither parser knows another way to end."""
    for parse in (parse_info_text, parse_info_json):
        with contextlib.suppress(HostError):
            assert parse(text).storage_driver


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda value: (
            st.lists(value)
            | st.dictionaries(
                st.sampled_from(["Driver", "DriverStatus", "ServerErrors", "ServerVersion"])
                | st.text(),
                value,
            )
        ),
    )
)
def test_any_json_gives_a_record_or_one_error(value: object) -> None:
    """A document of any form."""
    with contextlib.suppress(HostError):
        assert parse_info_json(json.dumps(value)).storage_driver


@given(
    info=INFOS, separator=st.sampled_from(["", " "]), has_blocks=st.booleans(), data=st.data()
)
def test_reads_back_every_layout_of_the_text(
    info: DockerInfo, separator: str, data: st.DataObject, *, has_blocks: bool
) -> None:
    """In any order of keys, with any indent, with warnings anywhere."""
    status = data.draw(st.permutations(driver_status(info, separator)))
    lines = as_text(info, status, has_blocks=has_blocks).splitlines()
    place = data.draw(st.integers(0, len(lines)))
    lines.insert(place, data.draw(st.sampled_from(["WARNING: a: b", "   WARNING: c", ""])))

    assert is_near(parse_info_text("\n".join(lines)), info)


@given(info=INFOS, separator=st.sampled_from(["", " "]), data=st.data())
def test_reads_back_the_json(info: DockerInfo, separator: str, data: st.DataObject) -> None:
    """In any order of keys."""
    document = {
        "ServerVersion": info.server_version,
        "Driver": info.storage_driver,
        "DriverStatus": data.draw(st.permutations(driver_status(info, separator))),
        "DockerRootDir": info.root_directory,
        "Warnings": ["WARNING: devicemapper: usage of loopback devices"],
    }

    assert is_near(parse_info_json(json.dumps(document)), info)


@given(used=SIZES, size=st.integers(2**20, 10**18))
def test_reads_back_binary_megabytes(used: int, size: int) -> None:
    """Clients before 1.3 divide by 1024, round to a tenth and say Mb."""
    status = {"Data Space Used": used, "Data Space Total": size}
    lines = [f" {key}: {binary_megabytes(value)}\n" for key, value in status.items()]

    info = parse_info_text("Driver: devicemapper\n" + "".join(lines))

    tenth = 2**20 / 10
    assert abs((info.data_used_bytes or 0) - used) <= tenth
    assert abs((info.data_size_bytes or 0) - size) <= tenth
