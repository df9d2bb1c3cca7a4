"""What is kept in memory, when it is mapped anew, and what is said where it cannot be."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from exporter.command import HostRunner, Output, Running
from exporter.errors import CommandMissingError
from exporter.residence import (
    MCL_CURRENT,
    MCL_FUTURE,
    MCL_ONFAULT,
    HostMemory,
    Residence,
    code_ranges,
    has_ipc_lock,
    links,
    parse_libraries,
)
from tests.waiting import PATIENCE_SECONDS

ALL = MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT
MAPS = """\
555555554000-5555555c0000 r--p 00000000 fe:01 1310 /usr/bin/python3.11
5555555c0000-555555860000 r-xp 0006c000 fe:01 1310 /usr/bin/python3.11
555555860000-555555861000 ---p 0030c000 fe:01 1310 /usr/bin/python3.11
555555a00000-555555b00000 rw-p 00000000 00:00 0    [heap]
7ffff0000000-7ffffd000000 r--p 00000000 fe:01 77   /usr/lib/locale/locale-archive
7ffff7d00000-7ffff7d01000 r-xp 00000000 fe:01 99   /opt/a name.so (deleted)
7ffff7fc9000-7ffff7fcb000 r-xp 00000000 00:00 0    [vdso]
"""


class FakeMemory:
    """Remembers what is locked by the file's size, and refuses the flags it is told to."""

    def __init__(
        self, refused: Mapping[int, int] | None = None, *, may_lock: bool = True
    ) -> None:
        self.refused = refused or {}
        self.is_unlimited = may_lock
        self.is_full = False
        self.bad_size = 0  # of the file that cannot be mapped
        self.on_map: Callable[[], None] | None = None
        self.limit_error: OSError | None = None
        self.flags: list[int] = []
        self.mapped: dict[int, int] = {}
        self.locked: dict[int, int] = {}

    def may_lock(self) -> bool:
        """See Memory.may_lock."""
        if self.limit_error:
            raise self.limit_error
        return self.is_unlimited

    def lock_all(self, flags: int) -> None:
        """See Memory.lock_all."""
        self.flags.append(flags)
        if number := self.refused.get(flags):
            raise OSError(number, os.strerror(number))

    def lock(self, address: int, length: int) -> None:
        """See Memory.lock."""
        if self.is_full:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.locked[address] = length

    def map_file(self, descriptor: int, length: int) -> int:
        """See Memory.map_file."""
        if length == self.bad_size:
            raise ValueError(length)
        if self.on_map:
            with contextlib.suppress(FileNotFoundError):
                self.on_map()
        assert os.fstat(descriptor).st_size == length
        address = max(self.mapped, default=0) + 4096
        self.mapped[address] = length
        return address

    def unmap(self, address: int, length: int) -> None:
        """See Memory.unmap."""
        assert self.mapped.pop(address) == length
        self.locked.pop(address, None)

    @property
    def kept(self) -> set[int]:
        """Sizes of the files that are mapped and locked."""
        return {self.locked[address] for address in self.mapped}


class Loader:
    """The dynamic loader: names these libraries."""

    def __init__(self, *libraries: Path) -> None:
        self.libraries = libraries
        self.asked: list[Sequence[str]] = []
        self.error: CommandMissingError | None = None

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        assert deadline_seconds > 0
        self.asked.append(argv)
        if self.error:
            raise self.error
        text = "".join(f"\t{path.name} => {path} (0x00007f00)\n" for path in self.libraries)
        return Output(argv=tuple(argv), status=0, stdout=text, stderr="")

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """Refuse: nothing is changed here."""
        raise AssertionError((argv, environment))

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """See Runner.keep_ready."""

    def call(
        self, argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float
    ) -> Output:
        """Refuse: no user's command belongs here."""
        raise AssertionError((argv, environment, deadline_seconds))


class Host:
    """A folder with an lvm, a library and a process, and what is warned of."""

    def __init__(self, root: Path, memory: FakeMemory) -> None:
        self.memory = memory
        self.process = root / "process"
        self.process.mkdir()
        (self.process / "maps").write_text("")
        self.score = self.process / "oom_score_adj"
        self.score.write_text("0")
        self.lvm, self.library = root / "lvm", root / "libdevmapper.so"
        for path, size in ((self.lvm, 111_111), (self.library, 22_222)):
            path.write_bytes(bytes(size))
        self.lvm.chmod(0o755)
        self.loader = Loader(self.library)
        self.warnings: list[tuple[str, dict[str, str]]] = []
        self.errors: list[Exception] = []
        self.pauses: queue.SimpleQueue[float] = queue.SimpleQueue()
        self.go_on = threading.Semaphore(0)
        self.residence = Residence(
            memory,
            self.loader,
            str(self.lvm),
            warn=self.warn,
            process=self.process,
            sleep=self.sleep,
            on_error=self.errors.append,
        )

    def sleep(self, seconds: float) -> None:
        """Sleep until the test says; the last pause never ends."""
        self.pauses.put(seconds)
        self.go_on.acquire()

    def next_pause(self) -> float:
        """Let the thread go on, and wait until it has tried again."""
        self.go_on.release()
        return self.pauses.get(timeout=PATIENCE_SECONDS)

    def warn(self, event: str, **fields: str) -> None:
        """Take a warning."""
        self.warnings.append((event, fields))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Have a host that permits everything."""
    return Host(tmp_path, FakeMemory())


def test_this_process_is_locked_on_fault_and_never_chosen(host: Host) -> None:
    """On fault, or every thread's stack would become resident."""
    assert host.residence.settle()

    assert host.memory.flags == [ALL]
    assert host.score.read_text() == "-1000"
    assert host.warnings == []


def test_an_old_kernel_locks_what_there_is(tmp_path: Path) -> None:
    """Linux before 4.4 answers EINVAL to the flag it does not know."""
    host = Host(tmp_path, FakeMemory({ALL: errno.EINVAL}))

    assert host.residence.settle()

    assert host.memory.flags == [ALL, MCL_CURRENT]
    ((event, _),) = host.warnings
    assert event == "memory_locked_in_part"


@pytest.mark.parametrize(
    "refused",
    [
        {ALL: errno.EPERM},
        {ALL: errno.ENOMEM},
        {ALL: errno.EINVAL, MCL_CURRENT: errno.EPERM},
    ],
)
def test_what_is_not_permitted_is_told_with_its_remedy(
    tmp_path: Path, refused: dict[int, int]
) -> None:
    """It is no reason to stop."""
    host = Host(tmp_path, FakeMemory(refused))

    assert not host.residence.settle()

    ((event, fields),) = host.warnings
    assert event == "memory_not_locked"
    assert "LimitMEMLOCK" in fields["next_step"]


def test_a_limit_is_not_walked_into(tmp_path: Path) -> None:
    """Locked for the future, a process at its limit could start no thread any more."""
    host = Host(tmp_path, FakeMemory(may_lock=False))

    assert not host.residence.settle()

    assert host.memory.flags == []
    assert [event for event, _ in host.warnings] == ["memory_not_locked"]


def test_a_score_that_cannot_be_set_is_told(host: Host) -> None:
    """A container has no CAP_SYS_RESOURCE; memory is locked all the same."""
    host.score.unlink()
    host.score.mkdir()

    assert host.residence.settle()

    ((event, fields),) = host.warnings
    assert event == "oom_killer_may_choose_us"
    assert "OOMScoreAdjust" in fields["next_step"]


def test_lvm_and_its_libraries_are_kept(host: Host) -> None:
    """Each is read in whole, so that no page of it has to come from a disk."""
    host.residence.refresh()

    assert {111_111, 22_222} <= host.memory.kept
    ((*_, variable, program),) = host.loader.asked
    assert (variable, program) == ("LD_TRACE_LOADED_OBJECTS=1", str(host.lvm))


def test_nothing_is_done_twice(host: Host) -> None:
    """Neither is the loader asked again nor a file mapped again."""
    host.residence.refresh()
    mapped = dict(host.memory.mapped)

    host.residence.refresh()

    assert host.memory.mapped == mapped
    assert len(host.loader.asked) == 1


def test_an_upgrade_replaces_what_is_kept(host: Host, tmp_path: Path) -> None:
    """Another file by the same name, and a library that is needed no more."""
    host.residence.refresh()
    new = tmp_path / "lvm.new"
    new.write_bytes(bytes(133_333))
    new.replace(host.lvm)
    host.loader.libraries = ()

    host.residence.refresh()

    assert 133_333 in host.memory.kept
    assert not {111_111, 22_222} & host.memory.kept


def test_a_file_that_is_away_for_a_moment_stays_in_memory(host: Host) -> None:
    """An upgrade may remove first and write later."""
    host.residence.refresh()
    host.library.unlink()

    host.residence.refresh()

    assert 22_222 in host.memory.kept


def test_lvms_configuration_is_kept(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each lvextend reads it; an empty file has nothing to map."""
    (tmp_path / "lvm.conf").write_bytes(bytes(3_333))
    (tmp_path / "lvmlocal.conf").touch()
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "docker.profile").write_bytes(bytes(44))
    monkeypatch.setenv("LVM_SYSTEM_DIR", str(tmp_path))

    host.residence.refresh()

    assert {3_333, 44} <= host.memory.kept
    assert host.warnings == []


def test_without_the_libraries_names_lvm_itself_is_kept(host: Host) -> None:
    """And it is asked again, but told once."""
    host.loader.error = CommandMissingError(("/usr/bin/env",), "No such file or directory")
    host.residence.refresh()
    host.lvm.write_bytes(bytes(155_555))
    host.residence.refresh()

    assert 155_555 in host.memory.kept
    assert len(host.loader.asked) == 2
    assert [event for event, _ in host.warnings] == ["lvm_libraries_unknown"]


def test_a_file_that_cannot_be_locked_is_told_once_and_not_left_mapped(host: Host) -> None:
    """It is tried again at each refresh."""
    host.memory.is_full = True
    host.residence.refresh()
    told = len(host.warnings)
    host.residence.refresh()

    assert told > 0
    assert len(host.warnings) == told
    assert {event for event, _ in host.warnings} == {"file_not_kept_in_memory"}
    assert host.memory.mapped == {}

    host.memory.is_full = False
    host.residence.refresh()
    assert {111_111, 22_222} <= host.memory.kept


def test_our_own_code_is_read_in(host: Host) -> None:
    """Locked on fault, what has not been run yet would have to be read when it is."""
    (host.process / "maps").write_text(MAPS)

    host.residence.refresh()

    assert host.memory.locked[0x5555555C0000] == 0x2A0000


def test_code_is_what_programs_and_libraries_map() -> None:
    """Not the heap, the kernel's pages, guard pages, or files of mere data."""
    assert list(code_ranges(MAPS)) == [
        (0x555555554000, 0x6C000),
        (0x5555555C0000, 0x2A0000),
        (0x7FFFF7D00000, 0x1000),
    ]


def test_the_loaders_answer_is_read() -> None:
    """As glibc prints it: the kernel's library has no file, the loader has no arrow."""
    text = (
        "\tlinux-vdso.so.1 (0x00007ffff7fc8000)\n"
        "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007ffff7581000)\n"
        "\tlibgone.so.1 => not found\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x00007ffff7fca000)\n"
    )

    assert list(parse_libraries(text)) == [
        Path("/lib/x86_64-linux-gnu/libc.so.6"),
        Path("/lib64/ld-linux-x86-64.so.2"),
    ]


def test_the_real_loader_names_what_a_real_program_needs() -> None:
    """The C library and the loader itself, as files that are there."""
    argv = ("/usr/bin/env", "LD_TRACE_LOADED_OBJECTS=1", "/bin/sh")

    libraries = list(parse_libraries(HostRunner().run(argv, deadline_seconds=10).stdout))

    assert len(libraries) >= 2
    assert all(path.is_file() for path in libraries)


def test_every_link_on_the_way_is_found(tmp_path: Path) -> None:
    """One to a folder, one to another link; and one in a circle ends."""
    (tmp_path / "usr" / "lib").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "usr" / "lib" / "libc.so.6").symlink_to("libc.so")
    (tmp_path / "usr" / "lib" / "libc.so").symlink_to("libc.so.6")

    assert set(links(tmp_path / "lib" / "libc.so.6")) >= {
        tmp_path / "lib",
        tmp_path / "lib" / "libc.so.6",
    }


def test_links_are_held_as_long_as_they_are_needed(host: Host, tmp_path: Path) -> None:
    """Their inodes too would be read again from the disk."""
    link = tmp_path / "libdevmapper.so.1"
    link.symlink_to(host.library)
    host.loader.libraries = (link,)

    host.residence.refresh()
    assert link in held_open()

    host.loader.libraries = ()
    host.lvm.write_bytes(bytes(144_444))
    host.residence.refresh()
    assert link not in held_open()


class Vanishing(type(Path())):  # type: ignore[misc]
    """A path whose file is removed at the moment when its link is to be read."""

    def readlink(self) -> Path:
        """Come too late, unless it is the folder's."""
        if self.name != "folder":
            self.unlink(missing_ok=True)
        return Path(super().readlink())


def test_a_link_that_vanishes_meanwhile_is_no_link(host: Host, tmp_path: Path) -> None:
    """As while lvm2 is upgraded: between any two looks at it. The other links are found."""
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").symlink_to("real")
    path = Vanishing(tmp_path / "folder" / "libdevmapper.so.1")
    path.symlink_to(host.library)

    assert list(links(path)) == [tmp_path / "folder"]


def test_files_that_come_and_go_do_not_end_the_thread(host: Host, tmp_path: Path) -> None:
    """What an upgrade took away and brings back is held at the next look."""
    link = tmp_path / "libdevmapper.so.1"
    host.loader.libraries = (link,)
    host.memory.on_map = host.library.unlink  # between two of its files
    link.symlink_to(host.library)

    host.residence.start()
    assert host.pauses.get(timeout=PATIENCE_SECONDS) > 0
    host.memory.on_map = None
    host.library.write_bytes(bytes(33_333))
    host.next_pause()

    assert {111_111, 33_333} <= host.memory.kept
    assert link in held_open()


def test_one_file_that_fails_leaves_the_others(host: Host) -> None:
    """Whatever it raises; it is tried again after 1, 2, 4 s and so on, and held at last."""
    host.memory.bad_size = 22_222
    host.residence.start()
    pauses = [host.pauses.get(timeout=PATIENCE_SECONDS)]

    assert 111_111 in host.memory.kept
    pauses += [host.next_pause() for _ in range(7)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert len(host.errors) == 8
    host.memory.bad_size = 0

    assert host.next_pause() == 60
    assert {111_111, 22_222} <= host.memory.kept
    assert len(host.errors) == 8


def test_what_failed_is_told_once_by_default(tmp_path: Path) -> None:
    """Where nobody counts it."""
    host = Host(tmp_path, FakeMemory())
    residence = Residence(
        host.memory, host.loader, str(host.lvm), warn=host.warn, process=tmp_path / "none"
    )

    assert [residence.refresh(), residence.refresh()] == [False, False]

    assert {111_111, 22_222} <= host.memory.kept
    assert [event for event, _ in host.warnings] == ["not_all_kept_in_memory"]


def test_neither_a_thread_nor_a_look_at_the_host_is_needed_to_start(host: Host) -> None:
    """The guard goes on without; the thread is started as soon as that is possible."""
    before = threading.active_count()
    usual = threading.stack_size(1 << 47)
    try:
        host.residence.start()
    finally:
        threading.stack_size(usual)
    assert [type(error) for error in host.errors] == [RuntimeError]

    host.residence.supervise()
    assert host.pauses.get(timeout=PATIENCE_SECONDS) == 60
    host.residence.supervise()
    assert threading.active_count() == before + 1


def test_a_limit_that_cannot_be_read_is_no_reason_to_stop(host: Host) -> None:
    """As without /proc."""
    host.memory.limit_error = FileNotFoundError(2, "No such file or directory")

    host.residence.start()
    host.residence.supervise()

    assert host.errors == [host.memory.limit_error]
    assert host.pauses.empty()


def held_open() -> set[Path]:
    """Name what our descriptors lead to."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them
            found.add(descriptor.readlink())
    return found


@pytest.mark.parametrize(
    ("bits", "expected"),
    [("0000000000004000", True), ("000001ffffffffff", True), ("000001ffffffbfff", False)],
)
def test_the_capability_is_a_bit(bits: str, expected: bool) -> None:  # noqa: FBT001 - pytest's
    """CAP_IPC_LOCK is number 14 of those in effect."""
    assert has_ipc_lock(f"CapPrm:\t0000000000004000\nCapEff:\t{bits}\n") is expected


def test_the_real_kernel_keeps_a_real_file(tmp_path: Path) -> None:
    """A page of it is locked while it is mapped, and gone afterwards."""
    path = tmp_path / "kept"
    path.write_bytes(b"x" * 4096)
    memory = HostMemory()
    with path.open("rb") as file:
        address = memory.map_file(file.fileno(), 4096)

    memory.lock(address, 4096)

    assert locked_kib(path) == 4
    memory.unmap(address, 4096)
    assert locked_kib(path) is None


def test_the_real_kernel_refuses_with_its_reason() -> None:
    """What is mapped nowhere cannot be locked."""
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
        HostMemory().lock(4096, 4096)


def locked_kib(path: Path) -> int | None:
    """Read how much of a file's mapping the kernel has locked; None if it is not mapped."""
    found = re.search(
        rf"{re.escape(str(path))}\n(?:[A-Z].*\n)*?Locked:\s+(\d+) kB",
        Path("/proc/self/smaps").read_text(),
    )
    return int(found[1]) if found else None
