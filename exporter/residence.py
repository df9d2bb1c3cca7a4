"""Keeps in memory what an extension needs, so that a host short of it cannot stall one.

Locked are this process, and the files from which `lvm` is started: neither is to be read
again from a disk that is full, thrashing, or on the very pool that waits for us. What this
host does not permit is told once; nothing here is a reason to stop.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import re
import resource
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from mmap import MAP_SHARED, PROT_READ
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from exporter.command import Runner
from exporter.errors import HostError
from exporter.watch import configuration_files

# What every lvextend opens beside its libraries and LVM's own configuration (strace).
LOADERS_FILES = (Path("/etc/ld.so.cache"), Path("/etc/localtime"))
REFRESH_SECONDS = 60.0
# After a refresh that has failed, and twice as long after each further one, up to the above:
# while packages are upgraded files come and go.
FIRST_PAUSE_SECONDS = 1.0
LIST_DEADLINE_SECONDS = 10.0
NEVER_KILLED = -1000  # linux/oom.h: OOM_SCORE_ADJ_MIN
CAP_IPC_LOCK = 14
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
# alpha, powerpc and sparc: asm/mman.h has the same three flags, 13 bits higher.
MCL_SHIFTED = re.compile("alpha|ppc|sparc")
MAPPING = re.compile(
    r"^([0-9a-f]{1,16})-([0-9a-f]{1,16}) (\S+) \S+ \S+ [0-9]+ +(/.*)$", re.MULTILINE
)
LIBRARY = re.compile(r"^[ \t]*(?:\S+ => )?(/[^\0\n]*) \(0x[0-9a-f]+\)$", re.MULTILINE)
CAPABILITIES = re.compile(r"^CapEff:[ \t]*([0-9a-f]{1,16})$", re.MULTILINE)
MAP_FAILED = ctypes.c_void_p(-1).value

Warn = Callable[..., object]
Identity = tuple[int, int, int, int]


class Memory(Protocol):
    """The system calls that lock memory. Each raises OSError."""

    def may_lock(self) -> bool:
        """Whether memory can be locked without limit; the limit is lifted where allowed."""

    def lock_all(self, flags: int) -> None:
        """Lock this process' memory, as the MCL flags say."""

    def lock(self, address: int, length: int) -> None:
        """Read a range into memory now, and keep it there."""

    def map_file(self, descriptor: int, length: int) -> int:
        """Map a file for reading and return the address."""

    def unmap(self, address: int, length: int) -> None:
        """Give a mapping up, and its lock with it."""


class HostMemory:
    """The C library's. Python's mmap neither tells an address nor locks."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        self._libc.mmap.argtypes = (
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_long,
        )
        for function in (self._libc.mlock, self._libc.munmap):
            function.argtypes = (ctypes.c_void_p, ctypes.c_size_t)

    def may_lock(self) -> bool:
        """See Memory.may_lock."""
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        try:
            # For lvextend too, which locks itself while it has suspended the pool.
            resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
        except (OSError, ValueError):
            return has_ipc_lock(Path("/proc/self/status").read_text())
        return True

    def lock_all(self, flags: int) -> None:
        """See Memory.lock_all."""
        shift = 13 if MCL_SHIFTED.match(platform.machine()) else 0
        if self._libc.mlockall(flags << shift) != 0:
            raise _last_error()

    def lock(self, address: int, length: int) -> None:
        """See Memory.lock."""
        if self._libc.mlock(address, length) != 0:
            raise _last_error()

    def map_file(self, descriptor: int, length: int) -> int:
        """See Memory.map_file."""
        address = self._libc.mmap(None, length, PROT_READ, MAP_SHARED, descriptor, 0)
        if address == MAP_FAILED:
            raise _last_error()
        return int(address)

    def unmap(self, address: int, length: int) -> None:
        """See Memory.unmap."""
        if self._libc.munmap(address, length) != 0:
            raise _last_error()


class _Held(Struct, frozen=True, kw_only=True):
    identity: Identity
    address: int
    length: int


class Residence:
    """Locks this process once, and what LVM starts from whenever that changes.

    What cannot be locked now is tried again; `on_error` is called with what nobody foresaw.
    """

    def __init__(  # noqa: PLR0913 - the last three have defaults
        self,
        memory: Memory,
        runner: Runner,
        lvm: str,
        *,
        warn: Warn,
        process: Path = Path("/proc/self"),
        sleep: Callable[[float], object] = time.sleep,
        on_error: Callable[[Exception], object] | None = None,
    ) -> None:
        self._memory = memory
        self._process = process
        self._runner = runner
        self._lvm = shutil.which(lvm) or lvm
        self._warn = warn
        self._programs: tuple[Path, ...] = ()  # lvm, its loader, its libraries
        self._held: dict[Path, _Held] = {}
        self._links: list[int] = []
        self._told: set[str] = set()
        self._sleep = sleep
        self._on_error = on_error or self._say_failed
        self._has_failed = False
        self._is_wanted = False
        self.is_locked: bool | None = None  # None: nobody has asked for it yet
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Settle at once, and do in a thread what may have to wait for a disk. Never raises."""
        try:
            self._is_wanted = self.is_locked = self.settle()
        except Exception as error:  # noqa: BLE001 - a bulkhead: the guard starts all the same
            self.is_locked = False
            self._on_error(error)
        self.supervise()

    def supervise(self) -> None:
        """Start the thread if it is wanted and there is none; one that fails to is no error."""
        if not self._is_wanted or (self._thread is not None and self._thread.is_alive()):
            return
        # A daemon thread that nothing has to wake: it ends with the process.
        thread = threading.Thread(target=self._keep, name="residence", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or no memory
            self._on_error(error)
        else:
            self._thread = thread

    def settle(self) -> bool:
        """Protect this process; false if its memory cannot be locked."""
        self._protect_from_oom_killer()
        return self._lock_own()

    def _keep(self) -> None:
        failures = 0
        while True:
            failures = 0 if self.refresh() else failures + 1
            pause = FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 8)
            self._sleep(min(pause, REFRESH_SECONDS) if failures else REFRESH_SECONDS)

    def refresh(self) -> bool:
        """Hold our code's and LVM's files as they now are; false if anything raised.

        Each file fails alone, and is tried again at the next call. Never raises.
        """
        self._has_failed = False
        self._attempt(self._hold_own_code)
        self._attempt(self._hold_lvms_files)
        return not self._has_failed

    def _attempt(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - the bulkhead of one file, and of the thread
            self._has_failed = True
            self._on_error(error)

    def _hold_own_code(self) -> None:
        # Locked on fault, our own code is safe only where it has been run already.
        for address, length in code_ranges(self._maps()):
            with contextlib.suppress(OSError):  # unmapped meanwhile
                self._memory.lock(address, length)

    def _hold_lvms_files(self) -> None:
        self._attempt(self._update_programs)
        wanted = {*self._programs, *configuration_files(), *LOADERS_FILES}
        for path in wanted:
            self._attempt(partial(self._hold, path))
        for path in self._held.keys() - wanted:
            self._attempt(partial(self._drop, path))
        self._hold_links({link for path in wanted for link in links(path)})

    def _update_programs(self) -> None:
        if self._has_changed():
            self._programs = self._list_programs()

    def _maps(self) -> str:
        # The name of a file need not be UTF-8.
        return (self._process / "maps").read_text("utf-8", "surrogateescape")

    def _lock_own(self) -> bool:
        """Lock what we have and will have; a limit would make later mappings fail."""
        if not self._memory.may_lock():
            self._say_unlocked("RLIMIT_MEMLOCK")
            return False
        try:
            # On fault: a thread's stack is 8 MiB, of which it uses a few pages.
            self._memory.lock_all(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                self._say_unlocked(str(error))
                return False
            return self._lock_present()
        return True

    def _lock_present(self) -> bool:
        """Lock what there is, before threads have stacks: Linux before 4.4 lacks "on fault"."""
        try:
            self._memory.lock_all(MCL_CURRENT)
        except OSError as error:
            self._say_unlocked(str(error))
            return False
        self._say("memory_locked_in_part", next_step="run Linux 4.4 or newer")
        return True

    def _say_failed(self, error: Exception) -> None:
        self._say("not_all_kept_in_memory", error=repr(error))

    def _say_unlocked(self, error: str) -> None:
        step = "LimitMEMLOCK=infinity in the unit, or CAP_IPC_LOCK"
        self._say("memory_not_locked", error=error, next_step=step)

    def _protect_from_oom_killer(self) -> None:
        try:
            (self._process / "oom_score_adj").write_text(str(NEVER_KILLED))
        except OSError as error:
            step = "OOMScoreAdjust=-1000 in the unit, or CAP_SYS_RESOURCE"
            self._say("oom_killer_may_choose_us", error=str(error), next_step=step)

    def _has_changed(self) -> bool:
        """Whether LVM's files are others than those held, as after an upgrade."""
        return not self._programs or any(
            path not in self._held or identity(path) != self._held[path].identity
            for path in self._programs
        )

    def _list_programs(self) -> tuple[Path, ...]:
        # The dynamic loader's own answer, as ldd gets it: it alone knows its search path,
        # and lvm itself is not run. Without a loader (a static lvm) lvm sees no input.
        argv = ("/usr/bin/env", "LD_TRACE_LOADED_OBJECTS=1", self._lvm)
        try:
            text = self._runner.run(argv, deadline_seconds=LIST_DEADLINE_SECONDS).stdout
        except HostError as error:
            self._say("lvm_libraries_unknown", error=str(error))
            text = ""
        return (Path(self._lvm), *parse_libraries(text))

    def _hold(self, path: Path) -> None:
        present = identity(path)
        old = self._held.get(path)
        if present is None or (old and old.identity == present):
            return
        try:
            self._held[path] = self._map(path)
        except OSError as error:
            self._say("file_not_kept_in_memory", path=str(path), error=str(error))
            return
        if old:
            self._memory.unmap(old.address, old.length)

    def _map(self, path: Path) -> _Held:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            address = self._memory.map_file(file.fileno(), status.st_size)
        try:
            self._memory.lock(address, status.st_size)
        except OSError:
            self._memory.unmap(address, status.st_size)
            raise
        return _Held(identity=_identity(status), address=address, length=status.st_size)

    def _drop(self, path: Path) -> None:
        held = self._held.pop(path)
        self._memory.unmap(held.address, held.length)

    def _hold_links(self, wanted: set[Path]) -> None:
        """Keep the links that lead to the files: a mapping keeps only where they end."""
        present = []
        for path in wanted:
            with contextlib.suppress(OSError):  # gone meanwhile
                present.append(os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC))
        for descriptor in self._links:
            os.close(descriptor)
        self._links = present

    def _say(self, event: str, **fields: str) -> None:
        """Warn once of each thing: refresh comes again and again."""
        key = event + (fields.get("path") or fields.get("error", ""))
        if key not in self._told:
            self._told.add(key)
            self._warn(event, **fields)


def code_ranges(maps: str) -> Iterator[tuple[int, int]]:
    """Find address and length of what is mapped from programs and libraries.

    Shape: `55d0-55f0 r-xp 00000000 fe:01 131 /usr/bin/python3`. Other mapped files, such as
    the archive of all locales, may be large and are left alone.
    Source: proc_pid_maps(5).
    """
    mappings = MAPPING.findall(maps)
    programs = {path for *_, access, path in mappings if "x" in access}
    for start, end, access, path in mappings:
        if path in programs and "r" in access:
            yield int(start, 16), int(end, 16) - int(start, 16)


def parse_libraries(text: str) -> Iterator[Path]:
    """Find the files in what the dynamic loader prints of a program.

    Shape: `libc.so.6 => /lib/libc.so.6 (0x7f00)` or `/lib64/ld-linux.so.2 (0x7f00)`.
    Source: ld.so(8), LD_TRACE_LOADED_OBJECTS.
    """
    return (Path(name) for name in LIBRARY.findall(text))


def has_ipc_lock(status: str) -> bool:
    """Read from /proc/PID/status whether the process has CAP_IPC_LOCK."""
    capabilities = CAPABILITIES.search(status)
    return bool(capabilities and int(capabilities[1], 16) >> CAP_IPC_LOCK & 1)


def links(path: Path) -> Iterator[Path]:
    """Find the symbolic links on the way to a file, such as /lib and libc.so.6."""
    seen: set[Path] = set()
    left = [path]
    while left:
        for part in (current := left.pop(), *current.parents):
            target = None if part in seen else _target(part)
            if target is not None:
                seen.add(part)
                left.append(part.parent / target)
    yield from seen


def _target(path: Path) -> Path | None:
    """Read a link; None for what is none. One call, since a file may vanish between two."""
    try:
        return path.readlink()
    except OSError:
        return None


def identity(path: Path) -> Identity | None:
    """Tell what a file is now; None for what is not there or has nothing to keep."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _identity(status) if stat.S_ISREG(status.st_mode) and status.st_size else None


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
