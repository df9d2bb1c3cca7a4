"""The files under loop devices: found at any depth, told apart, and never waited for."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from exporter.model import LoopBacking, LoopFile
from exporter.sources.loop import Identity, LoopFiles, below, identified, look_at, numbered
from tests.factories import make_loop

MIB = 1024**2


class Sys:
    """A copy of /sys with block devices that lie on one another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "dev" / "block").mkdir(parents=True)

    def device(self, number: str, name: str, *slaves: str, parent: str = "") -> Path:
        """Make a device of this number on top of others, by name."""
        path = self.root / "devices" / parent / name
        (path / "slaves").mkdir(parents=True)
        (path / "dev").write_text(f"{number}\n")
        (self.root / "dev" / "block" / number).symlink_to(path)
        for slave in slaves:
            (path / "slaves" / slave).symlink_to(self.root / "devices" / slave)
        return path

    def loop(self, number: str, name: str, backing: str) -> Path:
        """Make a loop device over a file."""
        path = self.device(number, name)
        (path / "loop").mkdir()
        (path / "loop" / "backing_file").write_bytes(os.fsencode(f"{backing}\n"))
        return path


@pytest.fixture
def sys(tmp_path: Path) -> Sys:
    """Give an empty /sys."""
    return Sys(tmp_path / "sys")


def found(sys: Sys, number: str) -> list[tuple[str, str | None]]:
    """List the loop devices under a device, with their files."""
    return [(file.device, file.file) for file in below(number, sys.root)]


def test_a_loop_device_is_found_by_itself(sys: Sys) -> None:
    """Its name is not always its minor number: with partitions there is room between."""
    sys.loop("7:48", "loop3", "/srv/data")

    assert found(sys, "7:48") == [("/dev/loop3", "/srv/data")]


def test_loop_devices_are_found_below_everything(sys: Sys) -> None:
    """A pool's data on two PVs: a partition of a loop device, and LUKS over another; once."""
    sys.loop("7:1", "loop1", "/srv/one")
    sys.loop("7:2", "loop2", "/srv/two")
    part = sys.device("259:0", "loop1p1", parent="loop1")
    (part / "partition").write_text("1\n")
    (sys.root / "devices" / "loop1p1").symlink_to(part)
    sys.device("253:1", "dm-1", "loop2")
    sys.device("253:2", "dm-2", "loop1p1", "dm-1")
    sys.device("253:3", "dm-3", "dm-2", "dm-1")

    assert found(sys, "253:3") == [("/dev/loop2", "/srv/two"), ("/dev/loop1", "/srv/one")]


def test_disks_lie_on_no_files(sys: Sys) -> None:
    """Nor does a device that has gone."""
    sys.device("8:0", "sda")
    sys.device("253:1", "dm-1", "sda")

    assert LoopFiles(sys_directory=sys.root).read("253:1") is None
    assert LoopFiles(sys_directory=sys.root).read("253:9") is None


def test_what_lies_in_a_circle_ends(sys: Sys) -> None:
    """Bad input never hangs."""
    sys.device("253:1", "dm-1", "dm-2")
    sys.device("253:2", "dm-2", "dm-1")

    assert found(sys, "253:1") == []


def test_too_many_devices_are_not_all_looked_at(sys: Sys) -> None:
    """Every input has a limit."""
    disks = [f"sd{number}" for number in range(1100)]
    for number, name in enumerate(disks):
        sys.device(f"8:{number}", name)
    sys.device("253:1", "dm-1", *disks)

    assert found(sys, "253:1") == []


def test_a_loop_device_without_a_file_is_unknown(sys: Sys) -> None:
    """It has just been detached."""
    sys.device("7:4", "loop4")

    assert list(below("7:4", sys.root)) == [LoopFile(device="/dev/loop4")]
    assert list(below("7:5", sys.root)) == [LoopFile(device="/dev/loop5")]


def test_names_may_be_any_bytes(sys: Sys) -> None:
    """As file names are; the last line feed alone is the kernel's."""
    sys.loop("7:4", "loop4", "/srv/\udcff\n x")

    assert found(sys, "7:4") == [("/dev/loop4", "/srv/\udcff\n x")]


def sparse(path: Path, size: int = 16 * MIB, written: int = MIB) -> Path:
    """Make a file that has less than it promises."""
    with path.open("wb") as file:
        file.write(b"x" * written)
        file.truncate(size)
        os.fsync(file.fileno())
    return path


def of(path: Path, **changes: object) -> LoopFile:
    """Describe a file as it is found in /sys."""
    return replace(LoopFile(device="/dev/loop3", file=str(path)), **changes)


def identity_of(path: Path) -> Identity:
    """Give what the kernel keeps of a loop device's file."""
    figures = path.stat()
    return Identity(figures.st_dev, figures.st_ino)


def test_free_and_promised_bytes(tmp_path: Path) -> None:
    """What the file system has left for root, and what the sparse file may still take."""
    path = sparse(tmp_path / "data")

    seen = look_at(of(path), identify=lambda _: identity_of(path))

    figures = os.statvfs(path)
    assert seen.promised_bytes == 16 * MIB - path.stat().st_blocks * 512
    assert seen.file_system == numbered(path.stat().st_dev)
    assert seen.free_bytes is not None
    assert abs(seen.free_bytes - figures.f_bfree * figures.f_frsize) < 64 * MIB


def mounts(tmp_path: Path, *lines: str) -> Path:
    """Write a /proc/self/mountinfo."""
    path = tmp_path / "mountinfo"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def mount_line(device: int, place: str, kind: str) -> str:
    """Write one line of it."""
    return f"36 35 {numbered(device)} / {place} rw,noatime shared:1 - {kind} src rw"


def test_another_file_of_that_name_is_not_believed(tmp_path: Path) -> None:
    """In a container, or where /tmp is private: its file system is found by its mounts."""
    path, own = sparse(tmp_path / "data"), tmp_path.stat()
    place = tmp_path / "a place"
    place.mkdir()
    table = mounts(
        tmp_path,
        "no mount",
        mount_line(own.st_dev, "/proc", "ext4"),  # another is mounted over it
        mount_line(own.st_dev, str(place).replace(" ", r"\040"), "ext4"),
    )

    seen = look_at(of(path), identify=lambda _: Identity(own.st_dev, 1), mounts=table)

    assert (seen.file_system, seen.file_system_type) == (numbered(own.st_dev), "ext4")
    assert seen.promised_bytes is None
    assert seen.free_bytes is not None


def test_a_deleted_file_has_its_file_system_alone(tmp_path: Path) -> None:
    """How much of it is taken nobody can tell."""
    own = tmp_path.stat()
    table = mounts(tmp_path, mount_line(own.st_dev, str(tmp_path), "tmpfs"))
    gone = of(tmp_path / "gone", is_deleted=True)

    seen = look_at(gone, identify=lambda _: Identity(own.st_dev, 7), mounts=table)

    assert (seen.file_system_type, seen.promised_bytes) == ("tmpfs", None)
    assert seen.free_bytes is not None


@pytest.mark.parametrize("table", ["mountinfo", "no such file"])
def test_a_file_system_that_is_not_mounted_here_is_unknown(tmp_path: Path, table: str) -> None:
    """Neither is anything known where the kernel does not tell which file it is."""
    mounts(tmp_path)
    look = partial(look_at, of(tmp_path / "gone"), mounts=tmp_path / table)

    elsewhere, untold = look(identify=lambda _: Identity(7, 7)), look(identify=lambda _: None)

    assert (elsewhere.free_bytes, elsewhere.file_system) == (None, "0:7")
    assert untold == of(tmp_path / "gone")


def test_a_disk_in_place_of_a_file_promises_nothing_known() -> None:
    """A loop device may be over another device."""
    seen = look_at(of(Path("/dev/null")), identify=lambda _: None)

    assert seen.promised_bytes is None


def test_a_name_that_no_system_call_takes_is_unknown() -> None:
    """Nothing crashes on it."""
    seen = look_at(LoopFile(device="/dev/loop3", file="a\0b"), identify=lambda _: None)

    assert seen.free_bytes is None


def test_what_is_no_loop_device_has_no_identity(tmp_path: Path) -> None:
    """Neither does one that cannot be opened."""
    path = sparse(tmp_path / "file")

    assert identified(str(path)) is None
    assert identified(str(tmp_path / "none")) is None


def test_a_file_that_does_not_answer_keeps_nobody(sys: Sys) -> None:
    """It is asked by one thread, however long that takes; then its figures are there again."""
    sys.loop("7:1", "loop1", "/srv/away")
    sys.loop("7:2", "loop2", "/srv/here")
    sys.device("253:1", "dm-1", "loop1", "loop2")
    is_back, asked = threading.Event(), []

    def look(file: LoopFile) -> LoopFile:
        asked.append(file.file)
        if file.file == "/srv/away":
            is_back.wait(60)
        return replace(file, free_bytes=7)

    files = LoopFiles(look, sys_directory=sys.root, patience_seconds=0.01)
    first, second = files.read("253:1"), files.read("253:1")
    is_back.set()
    files.join()
    third = files.read("253:1")

    for backing in (first, second):
        assert backing is not None
        assert [file.free_bytes for file in backing.files] == [None, 7]
    assert asked == ["/srv/away", "/srv/here", "/srv/here", "/srv/away", "/srv/here"]
    assert third is not None
    assert [file.free_bytes for file in third.files] == [7, 7]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("odd")])
def test_a_file_whose_reading_fails_costs_its_own_figures_alone(
    sys: Sys, error: Exception
) -> None:
    """It is told once, and again after it had been readable; other files are read."""
    sys.loop("7:1", "loop1", "/srv/bad")
    sys.loop("7:2", "loop2", "/srv/good")
    sys.device("253:1", "dm-1", "loop1", "loop2")
    told: list[tuple[str, Exception]] = []
    is_bad = True

    def look(file: LoopFile) -> LoopFile:
        if file.file == "/srv/bad" and is_bad:
            raise error
        return replace(file, free_bytes=7)

    files = LoopFiles(
        look,
        sys_directory=sys.root,
        on_error=lambda device, error: told.append((device, error)),
    )

    for _ in range(3):
        found = files.read("253:1")
        assert found is not None
        assert [file.free_bytes for file in found.files] == [None, 7]
    assert told == [("/dev/loop1", error)]
    is_bad = False
    files.read("253:1")
    is_bad = True
    files.read("253:1")
    assert len(told) == 2


def test_a_host_without_room_for_a_thread_is_asked_again(sys: Sys) -> None:
    """The figures are unknown until then."""
    sys.loop("7:1", "loop1", "/srv/data")
    told: list[str] = []
    files = LoopFiles(
        lambda file: replace(file, free_bytes=7),
        sys_directory=sys.root,
        on_error=lambda device, _: told.append(device),
    )
    usual = threading.stack_size(1 << 47)
    try:
        without = files.read("7:1")
    finally:
        threading.stack_size(usual)

    assert without is not None
    assert without.files[0].free_bytes is None
    assert told == ["/dev/loop1"]
    later = files.read("7:1")
    assert later is not None
    assert later.files[0].free_bytes == 7


class Unreadable(type(Path())):  # type: ignore[misc]
    """A /sys of which nothing can be listed."""

    def __truediv__(self, name: object) -> Path:
        raise RuntimeError(f"cannot look at {name}")


def test_a_device_that_cannot_be_looked_at_has_no_known_files() -> None:
    """The reader of the other pools goes on; it is told once."""
    told: list[str] = []
    files = LoopFiles(
        sys_directory=Unreadable("/sys"), on_error=lambda device, _: told.append(device)
    )

    assert [files.read("253:1"), files.read("253:1"), files.read("7:1")] == [None] * 3
    assert told == ["253:1", "7:1"]


def backing(*files: LoopFile) -> LoopBacking:
    """Make what lies under a pool."""
    return LoopBacking(files=files)


def test_files_on_one_file_system_promise_together() -> None:
    """The tightest file system is the one that lacks most of what is promised."""
    (data,) = make_loop(free_bytes=100, promised_bytes=80).files
    (metadata,) = make_loop(device="/dev/loop1", free_bytes=100, promised_bytes=30).files
    (other,) = make_loop(
        device="/dev/loop2", file_system="259:2", free_bytes=50, promised_bytes=55
    ).files
    pool = backing(other, metadata, data)

    assert (pool.tightest, pool.free_bytes, pool.promised_bytes) == (data, 100, 110)


def test_what_is_unknown_of_one_file_is_unknown_of_all() -> None:
    """A sum with an unknown part is unknown; a file system that is known comes first."""
    (data,) = make_loop(free_bytes=100, promised_bytes=80).files
    deleted = replace(data, device="/dev/loop1", promised_bytes=None)
    silent = LoopFile(device="/dev/loop2")

    assert backing(silent, data, deleted).promised_bytes is None
    assert backing(silent, data, deleted).free_bytes == 100
    assert backing(silent).free_bytes is None
    assert backing(silent).promised_bytes is None
