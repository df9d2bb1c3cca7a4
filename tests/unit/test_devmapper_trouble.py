"""An ioctl that fails, hangs or answers nonsense: no device's trouble becomes another's."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from exporter.devmapper import NONSENSE, IoctlKernel
from exporter.errors import KernelError
from tests.fake_ioctl import (
    ARM_POLL,
    HEADER,
    LINEAR,
    LIST_DEVICES,
    POOL,
    POOL_STATUS,
    STATUS_TABLE,
    TABLE_STATUS,
    THIN,
    FakeIoctl,
    event_node,
    plain_node,
)
from tests.waiting import PATIENCE_SECONDS, eventually

# What a second thread gets to do what it must not be able to do.
MOMENT_SECONDS = 0.2
ROUNDS = 20  # of a race that one round may not meet
FAILURES = [errno.EINTR, errno.ENOMEM, errno.EPERM, errno.EBUSY, errno.EIO]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Give threads to act at the same time as the test."""
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.fixture
def node(tmp_path: Path) -> str:
    """Give a directory with a control node that has no events."""
    plain_node(tmp_path)
    return str(tmp_path)


def using(used: int) -> tuple[str, str, str]:
    """Make a pool that uses so many chunks."""
    return (*POOL[:2], POOL_STATUS.replace("39/40960", f"{used}/40960"))


def used_chunks(kernel: IoctlKernel) -> str:
    """Ask how many chunks the pool uses."""
    status = kernel.status("pool")
    assert status is not None
    return status.text.split()[2].partition("/")[0]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_device_that_fails_is_listed_with_its_error(node: str, failure: int) -> None:
    """The devices before and after it are read as ever."""
    ioctl = FakeIoctl(pool=POOL, sick=POOL, root=LINEAR, thin=THIN)
    kernel = IoctlKernel(node, ioctl=ioctl)
    pool, _, thin = kernel.devices()
    ioctl.errors_of["sick"] = failure

    found = kernel.devices()

    assert (found[0], found[2]) == (pool, thin)
    assert (found[1].name, found[1].kind, found[1].status) == ("sick", "", None)
    assert found[1].error == f"device-mapper request 12 on sick: {os.strerror(failure)}"


def test_if_every_device_fails_it_is_the_hosts_trouble(node: str) -> None:
    """Then the source has failed, not a device."""
    ioctl = FakeIoctl(pool=POOL, thin=THIN)
    ioctl.errors[TABLE_STATUS] = errno.ENOMEM

    with pytest.raises(KernelError, match="on pool: Cannot allocate memory"):
        IoctlKernel(node, ioctl=ioctl).devices()


def test_a_list_without_a_device_is_no_device_that_is_gone(node: str) -> None:
    """ENXIO says so of a device; of the list it is an error as any."""
    ioctl = FakeIoctl(pool=POOL)
    ioctl.errors[LIST_DEVICES] = errno.ENXIO

    with pytest.raises(KernelError, match="request 2: No such device"):
        IoctlKernel(node, ioctl=ioctl).names()


@pytest.mark.parametrize("failure", FAILURES)
def test_a_status_that_fails_leaves_nothing_behind(node: str, failure: int) -> None:
    """The error names the device; the next answer is that of the next request."""
    ioctl = FakeIoctl(pool=using(39))
    kernel = IoctlKernel(node, ioctl=ioctl)
    assert used_chunks(kernel) == "39"

    ioctl.errors_of["pool"] = failure
    with pytest.raises(KernelError, match=f"on pool: {os.strerror(failure)}"):
        kernel.status("pool")
    ioctl.devices["pool"] = using(40)
    with pytest.raises(KernelError):
        kernel.status("pool")

    ioctl.errors_of.clear()
    assert used_chunks(kernel) == "40"


class Nonsense(FakeIoctl):
    """Points out of its buffer in every status while `is_on`."""

    is_on = True

    def __call__(self, descriptor: int, request: int, buffer: bytearray) -> int:
        """Answer as the kernel does, and spoil it."""
        super().__call__(descriptor, request, buffer)
        if self.is_on and request & 0xFF == TABLE_STATUS:
            fields = list(HEADER.unpack_from(buffer))
            fields[4] = 2**31
            HEADER.pack_into(buffer, 0, *fields)
        return 0


def test_the_same_nonsense_twice_is_an_error_twice(node: str) -> None:
    """It never stands for the last status that made sense."""
    ioctl = Nonsense(pool=POOL)
    kernel = IoctlKernel(node, ioctl=ioctl)
    ioctl.is_on = False
    sound = kernel.status("pool")
    ioctl.is_on = True

    for _ in range(2):
        with pytest.raises(KernelError, match=NONSENSE):
            kernel.status("pool")

    ioctl.is_on = False
    assert kernel.status("pool") == sound


class Late(FakeIoctl):
    """Answers the first status only while the second is being answered, as it was before."""

    def __init__(self, **devices: tuple[str, str, str]) -> None:
        super().__init__(**devices)
        self.is_asked, self.may_answer = threading.Event(), threading.Event()
        self.has_answered = threading.Event()

    def __call__(self, descriptor: int, request: int, buffer: bytearray) -> int:
        """Serve one request, or let it wait for a disk."""
        answer = bytearray(buffer)
        super().__call__(descriptor, request, answer)
        is_first = not self.is_asked.is_set()
        self.is_asked.set()
        if is_first:
            assert self.may_answer.wait(PATIENCE_SECONDS)
        buffer[:] = answer
        if is_first:
            self.has_answered.set()
        else:
            self.may_answer.set()
            assert self.has_answered.wait(PATIENCE_SECONDS)
        return 0


def test_a_late_answer_is_not_taken_for_a_new_one(
    node: str, threads: ThreadPoolExecutor
) -> None:
    """A thread that hung in the kernel is answered while another asks about the same pool."""
    ioctl = Late(pool=using(39))
    kernel = IoctlKernel(node, ioctl=ioctl)
    stuck = threads.submit(used_chunks, kernel)
    assert ioctl.is_asked.wait(PATIENCE_SECONDS)
    ioctl.devices["pool"] = using(40)

    assert used_chunks(kernel) == "40"

    assert stuck.result(PATIENCE_SECONDS) == "39"
    assert used_chunks(kernel) == "40"


class Replaced(FakeIoctl):
    """Has other devices after each of the first tables that are read."""

    def __init__(self, *others: tuple[str, str, str], is_renumbered: bool = False) -> None:
        super().__init__(pool=POOL)
        self._others = list(others)
        self._is_renumbered = is_renumbered

    def __call__(self, descriptor: int, request: int, buffer: bytearray) -> int:
        """Serve one request; then another device takes the place of this one."""
        flags = HEADER.unpack_from(buffer)[7]
        super().__call__(descriptor, request, buffer)
        if request & 0xFF == TABLE_STATUS and flags & STATUS_TABLE and self._others:
            self.devices["pool"] = self._others.pop(0)
            self.device_number += self._is_renumbered
        return 0


def test_no_device_has_the_table_of_another(node: str) -> None:
    """A pool that is made anew, under its name, between its table and its status."""
    new = ("thin-pool", POOL[1].replace("128", "1024"), POOL_STATUS.replace("40960", "5120"))
    kernel = IoctlKernel(node, ioctl=Replaced(new, is_renumbered=True))

    device = kernel.device("pool")

    assert device is not None
    assert ("thin-pool", device.table, device.status) == new


def test_a_pool_that_becomes_another_thing_is_none(node: str) -> None:
    """Its status is then that of another target."""
    assert IoctlKernel(node, ioctl=Replaced(LINEAR)).device("pool") is None


def test_a_device_that_changes_for_ever_is_an_error(node: str) -> None:
    """It is asked a few times, not without end."""
    kernel = IoctlKernel(node, ioctl=Replaced(*20 * [POOL], is_renumbered=True))

    with pytest.raises(KernelError, match="pool has changed"):
        kernel.device("pool")


def test_a_name_that_is_too_long_is_nobodys(node: str) -> None:
    """It is not cut: what is left might be the name of another device."""
    name = "x" * 127
    kernel = IoctlKernel(node, ioctl=FakeIoctl(**{name: POOL}))

    assert kernel.status(name) is not None
    assert kernel.status(f"{name}x") is None
    assert kernel.device(f"{name}x") is None


def test_what_is_gone_is_forgotten(node: str) -> None:
    """Names come and go for years; what is kept for each is not for ever."""
    ioctl = FakeIoctl(pool=POOL)
    kernel = IoctlKernel(node, ioctl=ioctl)
    first = kernel.status("pool")
    assert kernel.status("pool") is first
    ioctl.devices = {}

    assert kernel.names() == {}

    ioctl.devices = {"pool": POOL}
    assert kernel.status("pool") is not first


@pytest.mark.parametrize("failure", [*FAILURES, errno.ENXIO, errno.EINVAL])
def test_arming_that_fails_once_is_tried_again(tmp_path: Path, failure: int) -> None:
    """One failed request does not take the events away for good."""
    ioctl = FakeIoctl()
    ioctl.errors[ARM_POLL] = failure
    kernel = IoctlKernel(str(tmp_path), ioctl=ioctl)

    with event_node(tmp_path) as event:
        kernel.arm()
        event.write(b"!")
        assert kernel.wait(0) is False

        ioctl.errors.clear()
        kernel.arm()
        assert kernel.wait(PATIENCE_SECONDS) is True


class SlowNode:
    """Opens the control node while another thread might do so, too; keeps the descriptors."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self._both = threading.Barrier(2)

    def __call__(self, path: str, flags: int) -> int:
        """See os.open."""
        with suppress(threading.BrokenBarrierError):  # nobody else came
            self._both.wait(MOMENT_SECONDS)
        self.opened.append(os.open(path, flags))
        return self.opened[-1]


def test_threads_that_come_at_once_open_one_control_device(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    """The collector's first reading and the guard's first arming; waiting works after them."""
    slow = SlowNode()
    kernel = IoctlKernel(str(tmp_path), ioctl=FakeIoctl(pool=POOL), open_node=slow)

    with event_node(tmp_path) as event:
        arming, asking = threads.submit(kernel.arm), threads.submit(kernel.names)
        arming.result(PATIENCE_SECONDS)
        assert "pool" in asking.result(PATIENCE_SECONDS)

        assert len(slow.opened) == 1
        event.write(b"!")
        assert kernel.wait(PATIENCE_SECONDS) is True
        assert kernel.wait(0) is False


class Counting(FakeIoctl):
    """Counts the threads that are at work, and holds them until it is told to let go."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptors: list[int] = []
        self.let_go = threading.Event()

    def __call__(self, descriptor: int, request: int, buffer: bytearray) -> int:
        """Serve one request, late."""
        self.descriptors.append(descriptor)
        assert self.let_go.wait(PATIENCE_SECONDS)
        return super().__call__(descriptor, request, buffer)


def is_open(descriptor: int, node: str) -> bool:
    """Whether the descriptor is this node's."""
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink() == Path(node, "mapper/control")
    except FileNotFoundError:
        return False


def test_closing_takes_nothing_from_a_thread_that_is_at_work(
    node: str, threads: ThreadPoolExecutor
) -> None:
    """Its descriptor is closed when it is done, and meanwhile becomes no other file's."""
    ioctl = Counting()
    kernel = IoctlKernel(node, ioctl=ioctl)
    asking = threads.submit(kernel.names)
    assert eventually(lambda: bool(ioctl.descriptors))

    kernel.close()

    assert is_open(ioctl.descriptors[0], node)
    ioctl.let_go.set()
    assert asking.result(PATIENCE_SECONDS) == {}
    del asking
    assert eventually(lambda: not is_open(ioctl.descriptors[0], node))
    assert kernel.names() == {}


def test_a_kernel_that_is_closed_waits_and_is_armed_again(tmp_path: Path) -> None:
    """A wait has no events then, until the device is opened anew; none of it raises."""
    kernel = IoctlKernel(str(tmp_path), ioctl=FakeIoctl())
    with event_node(tmp_path) as event:
        event.write(b"!")
        kernel.arm()
        kernel.close()
        assert kernel.wait(0) is False

        kernel.arm()
        assert kernel.wait(PATIENCE_SECONDS) is True


def test_closing_while_a_thread_waits(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    """The wait goes on with the device that it has, and ends as ever."""
    kernel = IoctlKernel(str(tmp_path), ioctl=FakeIoctl())
    with event_node(tmp_path) as event:
        kernel.arm()
        waiting = threads.submit(kernel.wait, PATIENCE_SECONDS)
        assert not waiting.done()

        kernel.close()
        event.write(b"!")
        kernel.wake()

        waiting.result(PATIENCE_SECONDS)
        assert kernel.wait(0) is False


def test_threads_may_wait_at_once(node: str, threads: ThreadPoolExecutor) -> None:
    """One that was replaced may not have noticed yet: none meets an error."""
    kernel = IoctlKernel(node, ioctl=FakeIoctl())
    for _ in range(ROUNDS):
        waiting = [threads.submit(kernel.wait, PATIENCE_SECONDS) for _ in range(4)]

        def is_over(waiting: list[Future[bool]] = waiting) -> bool:
            kernel.wake()
            return all(one.done() for one in waiting)

        assert eventually(is_over)
        assert not any(one.result() for one in waiting)


@pytest.mark.parametrize("seconds", [float("inf"), 10**9, -1.0])
def test_any_timeout_is_taken(node: str, seconds: float) -> None:
    """What poll itself cannot take is cut."""
    kernel = IoctlKernel(node, ioctl=FakeIoctl())
    kernel.wake()
    began = time.monotonic()

    assert kernel.wait(seconds) is False
    assert time.monotonic() < began + PATIENCE_SECONDS
