"""Where other programs' numbers, names and pointers end: what is refused, and as what."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from exporter.command import HostRunner
from exporter.devmapper import DmDevice
from exporter.errors import CommandMissingError, HostError, KernelError, ParseError
from exporter.model import PoolMode
from exporter.sources import device_mapper, docker, engine_files, loop, lvm, system_id
from exporter.sources.http_answer import MalformedAnswerError, parse_answer
from exporter.sources.lvm_config import parse_config
from exporter.sources.lvm_report import MAX_PROBLEMS, convert, parse_report
from exporter.sources.mounts import Mounts, UnresolvedPathError, parse_mountinfo, visible
from exporter.units import parse_count
from tests.fuzz import kernel
from tests.fuzz.sources import device
from tests.recordings.replay import HERE, Recording

STATE = Recording(HERE / "bookworm" / "above_threshold")
POOL_ROW = next(row for row in STATE.rows("lvs") if row["segtype"] == "thin-pool")
LARGEST = 2**63 - 1


@pytest.mark.parametrize("text", ["0", "007", str(LARGEST)])
def test_a_count_is_digits(text: str) -> None:
    """Up to what the kernel and a file count."""
    assert parse_count(text) == int(text)


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", " 1", "1_0", "1.0", "١", "²", "0x1", str(LARGEST + 1), "9" * 5000]
)
def test_anything_else_is_none(text: str) -> None:
    """Though int() takes most of it; the message is short."""
    with pytest.raises(ValueError, match="is no count") as caught:
        parse_count(text)

    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lv_size", "-4194304"),
        ("lv_size", "1e9"),
        ("lv_size", "24.00g"),
        ("lv_size", "9" * 30),
        ("data_percent", "nan"),
        ("data_percent", "100.01"),
        ("data_percent", "-1.00"),
        ("data_percent", "65,54"),
        ("vg_name", "--config"),
        ("lv_name", "a b"),
        ("vg_name", "a\0b"),
        ("lv_name", "x" * 200),
    ],
)
def test_a_row_of_lvs_is_refused(field: str, value: str) -> None:
    """As a whole, with a Problem: LVM prints no such thing."""
    rows, problems = convert([POOL_ROW | {field: value}], lvm.LV_FIELDS, source="lvs")

    assert not rows
    assert len(problems) == 1
    assert len(problems[0].message) + len(problems[0].subject) < 1200


def test_extents_have_a_size() -> None:
    """Or nothing of the VG could be counted."""
    row = STATE.rows("vgs")[0] | {"vg_extent_size": "0"}
    rows, problems = convert([row], lvm.VG_FIELDS, source="vgs")

    assert (len(rows), len(problems)) == (0, 1)


def test_problems_of_one_report_end() -> None:
    """A report without a single row of ours is no million problems."""
    text = '{"report": [{"lv": [' + ",".join(["{}"] * 1000) + "]}]}"

    assert len(parse_report(text, lvm.LV_FIELDS, source="lvs")[1]) == MAX_PROBLEMS


@pytest.mark.parametrize(
    "table",
    [
        "253:0 253:1 0 0",
        "253:0 253:1 2097153 0",
        "253:0 253:1 -128 0",
        "253:0 253:1 128 -1",
        "a",
    ],
)
def test_a_pools_table_makes_sense_or_is_refused(table: str) -> None:
    """Chunks have 64 KiB to 1 GiB."""
    with pytest.raises(ParseError):
        device_mapper.kernel_pool(device("thin-pool", table, ""), lambda _: None)


@pytest.mark.parametrize(
    "status",
    [
        f"0 1/{2**60} 1/2 -",
        f"0 1/2 1/{2**50} -",
        "0 1/2 1/0 -",
        "0 1/2 -1/2 -",
        "0 1/2 ١/2 -",
        "0 1/2 1/2 -5",
        "Error starting daemon",
    ],
)
def test_a_status_makes_sense_or_is_refused(status: str) -> None:
    """In bytes as well, and no message is a state."""
    with pytest.raises(ParseError):
        device_mapper.parse_pool_status(status, chunk_bytes=1024**2)


@pytest.mark.parametrize(
    ("word", "needs_check"), [("needs_check", True), ("-", False), ("needs_chec", None)]
)
def test_a_word_that_is_not_known_tells_nothing(word: str, *, needs_check: bool | None) -> None:
    """Least of all that the pool needs no check."""
    status = device_mapper.parse_pool_status(
        f"0 1/2 1/2 - rw discard_passdown queue_if_no_space {word} 5", chunk_bytes=65536
    )

    assert (status.needs_check, status.mode) == (needs_check, PoolMode.RW)


def test_a_thin_volume_has_a_size_that_counts() -> None:
    """Of the ioctl's 64 bits of sectors some are too many for bytes."""

    class Kernel:
        def devices(self) -> tuple[DmDevice, ...]:
            return (structs.replace(device("thin", "253:4 1"), length_sectors=2**60),)

    (problem,) = device_mapper.read(Kernel(), lambda _: None).problems

    assert "253:4 1" in problem.message


@pytest.mark.parametrize(
    "raw",
    [
        kernel.header(targets=1, data_start=4) + kernel.target(b"thin", b"253:4 1"),
        kernel.header(targets=1, data_start=2**31),
        kernel.header(targets=2) + kernel.target(b"thin", b"253:4 1", following=2**31),
        kernel.header(targets=1) + kernel.target(b"thin", b"x" * 20_000),
    ],
    ids=["into-header", "beyond", "next-beyond", "no-end"],
)
def test_the_kernels_answer_stays_in_its_buffer(raw: bytes) -> None:
    """A pointer that leads elsewhere is an error of the kernel's."""
    with pytest.raises(KernelError, match="leads out of its buffer"):
        kernel.TARGETS["ioctl_table"].parse(raw)


@pytest.mark.parametrize(
    "entries",
    [
        (12 + 8).to_bytes(8, "little") + (1).to_bytes(4, "little") + b"pool\0",
        (1).to_bytes(8, "little") + (0).to_bytes(4, "little") + b"n" * 200 + b"\0",
    ],
    ids=["next-in-itself", "name-too-long"],
)
def test_the_list_of_devices_goes_forward(entries: bytes) -> None:
    """Entry by entry, each with a name of no more than the kernel's length."""
    with pytest.raises(KernelError, match="leads out of its buffer"):
        kernel.TARGETS["ioctl_list"].parse(kernel.header() + entries)


def test_more_targets_than_fit_are_not_walked_through() -> None:
    """Of several targets in one device two are enough to know that it is no pool."""
    raw = kernel.header(targets=2**32 - 1) + kernel.target(b"thin", b"253:4 1")

    assert kernel.TARGETS["ioctl_table"].parse(raw) is None


@pytest.mark.parametrize("number", ["7:0/../..", "7:", "7:\0", "7:-1", "253:0"])
def test_a_loop_device_has_a_number(number: str) -> None:
    """It becomes a path."""
    assert loop.LoopFiles(sys_directory=Path("/nowhere")).read(number) is None


def test_a_file_under_a_loop_device_may_have_any_name(tmp_path: Path) -> None:
    """Which is bytes: its free space is found, and a record can show it."""
    name = str(tmp_path).encode() + b"/caf\xe9"
    Path(name.decode("utf-8", "surrogateescape")).touch()
    directory = tmp_path / "dev/block/7:0/loop"
    directory.mkdir(parents=True)
    (directory / "backing_file").write_bytes(name + b"\n")

    backing = loop.LoopFiles(sys_directory=tmp_path).read("7:0")

    assert backing is not None
    (file,) = backing.files
    assert file.file == f"{tmp_path}/caf\\xe9"
    assert file.free_bytes


def test_a_size_of_dockers_is_one_that_counts() -> None:
    """The Snapshot file holds no more than 64 bits."""
    info = docker.parse_info_text("Storage Driver: devicemapper\n Data Space Used: 9.9 YB\n")

    assert info.data_used_bytes is None


def test_only_its_own_line_grants_system_ids() -> None:
    """A message beside it may be quoted as well."""
    text = 'WARNING: "other" is unknown\nextra_system_ids=["one","two"]\n'

    assert system_id.parse_extra(text) == {"one", "two"}


def test_a_null_byte_is_in_no_argument() -> None:
    """It is told as what cannot be started."""
    with pytest.raises(CommandMissingError, match="null byte"):
        HostRunner().run(("/bin/echo", "a\0b"), deadline_seconds=5)


def test_sections_within_sections_end() -> None:
    """Each setting has its path, which is as long as the sections are deep."""
    with pytest.raises(ParseError, match="without end"):
        parse_config("a {" * 1000, source="dumpconfig")


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a" + ".a" * 5000 + " = 1", "[" * 5000])
def test_an_engines_file_is_read_in_no_time(text: str) -> None:
    """Or refused, for its huge number, its long key or its depth."""
    with pytest.raises(HostError):
        engine_files.parse_storage_conf(text)


def test_an_answer_in_the_smallest_chunks() -> None:
    """Is put together in one go over it; a line without end is no chunk's."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = parse_answer(head + b"1\r\nx\r\n" * 200_000 + b"0\r\n\r\n", is_over=True)

    assert answer is not None
    assert answer.text == "x" * 200_000
    with pytest.raises(MalformedAnswerError, match="no chunk"):
        parse_answer(head + b"1;" + b"x" * 5000, is_over=False)
    assert parse_answer(head + b"5\r\nab", is_over=False) is None


def test_a_path_with_a_null_byte_leads_nowhere() -> None:
    """As one that Docker names might have."""
    mounts = Mounts(parse_mountinfo("22 1 254:1 / / rw - ext4 /dev/vda1 rw\n"))

    with pytest.raises(UnresolvedPathError, match="null byte"):
        mounts.resolved("/a\0b")
    assert visible("caf\udce9") == "caf\\xe9"
