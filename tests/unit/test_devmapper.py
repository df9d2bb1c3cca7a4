"""The ioctl's structures, as the kernel fills them (include/uapi/linux/dm-ioctl.h)."""

from __future__ import annotations

import errno
import os
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.devmapper import DmDevice, DmStatus, IoctlKernel, ioctl
from exporter.errors import DeviceMapperMissingError, KernelError
from tests.fake_ioctl import (
    ARM_POLL,
    LINEAR,
    LIST_DEVICES,
    NOFLUSH,
    POOL,
    POOL_STATUS,
    POOL_TABLE,
    TABLE_STATUS,
    THIN,
    FakeIoctl,
    event_node,
    plain_node,
)


@pytest.fixture
def make_kernel(tmp_path: Path) -> Iterator[Callable[[FakeIoctl], IoctlKernel]]:
    """Make kernels with a control node that is a plain file."""
    plain_node(tmp_path)
    made: list[IoctlKernel] = []

    def make(ioctl: FakeIoctl) -> IoctlKernel:
        made.append(IoctlKernel(str(tmp_path), ioctl=ioctl))
        return made[-1]

    yield make
    for kernel in made:
        kernel.close()


MakeKernel = Callable[[FakeIoctl], IoctlKernel]


def test_reads_pools_and_thins_and_nothing_else(make_kernel: MakeKernel) -> None:
    """Table and status of each."""
    kernel = make_kernel(FakeIoctl(pool=POOL, root=LINEAR, thin=THIN))

    pool, thin = kernel.devices()

    assert pool == DmDevice(
        name="pool",
        uuid="LVM-uuid-tpool",
        number="253:4",
        is_suspended=False,
        event_number=7,
        kind="thin-pool",
        length_sectors=5242880,
        table=POOL_TABLE,
        status=POOL_STATUS,
    )
    assert (thin.name, thin.kind, thin.table, thin.status) == ("thin", "thin", *THIN[1:])


def test_a_single_thin_volume_is_not_asked_for_its_status(make_kernel: MakeKernel) -> None:
    """The guard looks at every unknown device so, and goes by the pools alone."""
    ioctl = FakeIoctl(thin=THIN)

    found = make_kernel(ioctl).device("thin")

    assert found is not None
    assert found.status is None
    assert len(ioctl.flags) == 1


def test_never_flushes(make_kernel: MakeKernel) -> None:
    """A status that flushes commits metadata, and can block with the pool."""
    ioctl = FakeIoctl(pool=POOL)

    make_kernel(ioctl).devices()

    statuses = [flags for number, flags in ioctl.flags if number == TABLE_STATUS]
    assert statuses
    assert all(flags & NOFLUSH for flags in statuses)


def test_a_host_without_devices(make_kernel: MakeKernel) -> None:
    """The kernel's empty list is one entry of zeroes."""
    assert make_kernel(FakeIoctl()).devices() == ()


def test_a_device_removed_in_between_is_left_out(make_kernel: MakeKernel) -> None:
    """Between the list and its table."""
    assert make_kernel(FakeIoctl(pool=POOL)).device("gone") is None


def test_long_lists_get_a_larger_buffer(make_kernel: MakeKernel) -> None:
    """A thousand volumes do not fit into the first one."""
    devices = {f"volume-{number:060}": THIN for number in range(1000)}

    assert len(make_kernel(FakeIoctl(**devices)).devices()) == 1000


def test_an_answer_without_end_is_an_error(make_kernel: MakeKernel) -> None:
    """Memory is bounded whatever the kernel says."""
    endless = ("thin-pool", "x" * (16 * 1024 * 1024), "")

    with pytest.raises(KernelError, match="too large"):
        make_kernel(FakeIoctl(pool=endless)).devices()


def test_minors_beyond_255_and_suspension(make_kernel: MakeKernel) -> None:
    """A device number's minor has two parts around the major."""
    ioctl = FakeIoctl(pool=POOL)
    ioctl.device_number = (253 << 8) | (0x12345 & 0xFF) | ((0x12345 & ~0xFF) << 12)
    ioctl.is_suspended = True

    (pool,) = make_kernel(ioctl).devices()

    assert (pool.number, pool.is_suspended) == (f"253:{0x12345}", True)


def test_without_permission(make_kernel: MakeKernel) -> None:
    """The kernel's own words are kept."""
    ioctl = FakeIoctl(pool=POOL)
    ioctl.errors[LIST_DEVICES] = errno.EPERM

    with pytest.raises(KernelError, match="not permitted"):
        make_kernel(ioctl).devices()


def test_without_device_mapper(tmp_path: Path) -> None:
    """The missing node is named."""
    with pytest.raises(DeviceMapperMissingError, match="mapper/control"):
        IoctlKernel(str(tmp_path)).devices()


def test_old_kernels_have_no_events(make_kernel: MakeKernel) -> None:
    """The timeout alone wakes the guard; the kernel, which logs each try, is asked once."""
    ioctl = FakeIoctl()
    ioctl.errors[ARM_POLL] = errno.ENOTTY
    kernel = make_kernel(ioctl)

    kernel.arm()
    kernel.arm()

    assert kernel.wait(0.001) is False
    assert len(ioctl.flags) == 1


def test_events_are_armed_once_for_each_that_comes(tmp_path: Path) -> None:
    """Not at every look; one that came ends no later wait until it is armed anew."""
    ioctl = FakeIoctl()
    kernel = IoctlKernel(str(tmp_path), ioctl=ioctl)

    with event_node(tmp_path) as event:
        kernel.arm()
        kernel.arm()
        assert kernel.wait(0.001) is False
        assert ioctl.flags == [(ARM_POLL, 0)]

        event.write(b"!")
        assert kernel.wait(1.0) is True
        assert kernel.wait(0.001) is False
        kernel.arm()
        assert kernel.wait(1.0) is True
    assert ioctl.flags == [(ARM_POLL, 0)] * 2
    kernel.close()


def test_without_device_mapper_waiting_still_works(tmp_path: Path) -> None:
    """And arming is tried again: the module may be loaded later."""
    kernel = IoctlKernel(str(tmp_path))

    kernel.arm()

    assert kernel.wait(0.001) is False


def test_names_every_device_with_its_number(make_kernel: MakeKernel) -> None:
    """Of any kind: the guard finds out which are pools."""
    kernel = make_kernel(FakeIoctl(pool=POOL, root=LINEAR))

    assert kernel.names() == {"pool": "0:1", "root": "0:1"}
    assert make_kernel(FakeIoctl()).names() == {}


def test_a_device_without_a_table_is_one_that_is_being_made(make_kernel: MakeKernel) -> None:
    """It is told apart from those of other kinds, and listed with neither."""
    ioctl = FakeIoctl(pool=POOL, new=("", "", ""))
    ioctl.without_table.add("new")
    kernel = make_kernel(ioctl)

    device = kernel.device("new")

    assert device is not None
    assert device.kind == ""
    assert [other.name for other in kernel.devices()] == ["pool"]


def test_a_status_is_read_anew_only_when_it_differs(make_kernel: MakeKernel) -> None:
    """The same object as long as the kernel says the same."""
    ioctl = FakeIoctl(pool=POOL)
    kernel = make_kernel(ioctl)

    first = kernel.status("pool")
    again = kernel.status("pool")
    ioctl.devices["pool"] = (*POOL[:2], POOL_STATUS.replace("39/40960", "40/40960"))
    changed = kernel.status("pool")

    assert first == DmStatus("LVM-uuid-tpool", "253:4", False, 7, POOL_STATUS)
    assert again is first
    assert changed is not None
    assert changed.text.split()[2] == "40/40960"
    assert ioctl.flags[-1] == (TABLE_STATUS, NOFLUSH)


def test_a_shorter_status_leaves_nothing_of_the_longer_one(make_kernel: MakeKernel) -> None:
    """The buffer is the same one."""
    ioctl = FakeIoctl(pool=POOL)
    kernel = make_kernel(ioctl)
    kernel.status("pool")
    ioctl.devices["pool"] = (*POOL[:2], "Fail")

    failed = kernel.status("pool")

    assert failed is not None
    assert failed.text == "Fail"


def test_the_status_of_what_is_no_pool_is_empty(make_kernel: MakeKernel) -> None:
    """Another device may have taken a pool's name; one that is gone has no status."""
    kernel = make_kernel(FakeIoctl(root=LINEAR, huge=("linear", "", "x" * 5000)))

    for name in ("root", "huge"):
        status = kernel.status(name)
        assert status is not None
        assert status.text == ""
    assert kernel.status("gone") is None


def test_a_wake_ends_the_wait_or_the_next_one(make_kernel: MakeKernel) -> None:
    """Once, and it is no event: the wait after that lasts as long as it should."""
    kernel = make_kernel(FakeIoctl())
    kernel.wake()
    kernel.wake()
    began = time.monotonic()

    assert not kernel.wait(30)
    woken_at = time.monotonic()
    assert not kernel.wait(0.05)

    assert woken_at < began + 15
    assert time.monotonic() >= woken_at + 0.05


def test_a_wake_ends_the_wait_of_another_thread(make_kernel: MakeKernel) -> None:
    """A worker that ends, or new rules, are judged at once."""
    kernel = make_kernel(FakeIoctl())
    threading.Timer(0.01, kernel.wake).start()
    began = time.monotonic()

    assert not kernel.wait(60)

    assert time.monotonic() < began + 30


def test_a_wake_hides_no_event(tmp_path: Path) -> None:
    """When both have come, the wait reports the event."""
    with event_node(tmp_path) as event:
        kernel = IoctlKernel(str(tmp_path), ioctl=FakeIoctl())
        kernel.arm()
        kernel.wake()
        event.write(b"!")

        assert kernel.wait(30)
        assert not kernel.wait(0)
        kernel.close()


@pytest.mark.parametrize("size", [8, 1024, 16384])
def test_any_buffer_is_filled_in_place(size: int) -> None:
    """Whichever way to the system call it takes."""
    reader, writer = os.pipe()
    try:
        os.write(writer, b"seven..")
        buffer = bytearray(size)
        assert ioctl(reader, termios.FIONREAD, buffer) == 0
        assert int.from_bytes(buffer[:4], sys.byteorder) == 7

        with pytest.raises(OSError, match="ioctl for device"):
            ioctl(reader, termios.TIOCGWINSZ, bytearray(size))
    finally:
        os.close(reader)
        os.close(writer)
