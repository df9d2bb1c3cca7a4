"""Tables and status lines of thin pools, from old kernels to new."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from exporter.devmapper import DmDevice
from exporter.errors import KernelError, ParseError
from exporter.model import PoolMode, PoolStatus, Usage
from exporter.sources.device_mapper import parse_pool_status, read
from tests.factories import make_loop

CHUNK = 65536


def parse(text: str) -> PoolStatus:
    """Parse with 64 KiB chunks."""
    return parse_pool_status(text, chunk_bytes=CHUNK)


def data(used: int, total: int) -> Usage:
    """Make a data usage."""
    return Usage(used_blocks=used, total_blocks=total, block_bytes=CHUNK)


def metadata(used: int, total: int) -> Usage:
    """Make a metadata usage."""
    return Usage(used_blocks=used, total_blocks=total, block_bytes=4096)


BASE = PoolStatus(
    mode=PoolMode.RW,
    transaction_id=113,
    data=data(21000, 40960),
    metadata=metadata(2048, 6144),
    discard="discard_passdown",
    queue_if_no_space=True,
    needs_check=False,
)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (
            "113 2048/6144 21000/40960 - rw discard_passdown queue_if_no_space - 1024 ",
            BASE,
        ),
        (
            "113 2048/6144 21000/40960 1790 rw no_discard_passdown error_if_no_space - 1024",
            replace(
                BASE,
                held_root_block=1790,
                discard="no_discard_passdown",
                queue_if_no_space=False,
            ),
        ),
        (
            "113 2048/6144 9/9 - out_of_data_space ignore_discard error_if_no_space - 9",
            replace(
                BASE,
                mode=PoolMode.OUT_OF_DATA_SPACE,
                discard="ignore_discard",
                queue_if_no_space=False,
                data=data(9, 9),
            ),
        ),
        (
            "113 99/99 21000/40960 - ro discard_passdown queue_if_no_space needs_check 9",
            replace(
                BASE,
                mode=PoolMode.RO,
                needs_check=True,
                metadata=metadata(99, 99),
            ),
        ),
        (
            "113 2048/6144 21000/40960 - rw discard_passdown queue_if_no_space ",
            replace(BASE, needs_check=None),
        ),
        (
            "113 2048/6144 21000/40960 - rw discard_passdown",
            replace(BASE, needs_check=None, queue_if_no_space=None),
        ),
        (
            "113 2048/6144 21000/40960 -",
            replace(
                BASE,
                mode=PoolMode.UNKNOWN,
                discard=None,
                needs_check=None,
                queue_if_no_space=None,
            ),
        ),
        ("Fail", PoolStatus(mode=PoolMode.FAILED)),
        ("Error", PoolStatus(mode=PoolMode.FAILED)),
    ],
)
def test_reads_every_form_of_the_status(text: str, status: PoolStatus) -> None:
    """What a kernel does not say is None, never a guess."""
    assert parse(text) == status


@pytest.mark.parametrize(
    "text",
    ["", "rw", "1 2 3 4", "0 1/2 3/x -", "0 1/2 3/0 - rw", "0 -1/2 3/4 - rw", "0 1/2 3/4 x rw"],
)
def test_says_what_it_could_not_read(text: str) -> None:
    """Nonsense is an error that quotes it."""
    with pytest.raises(ParseError, match="thin-pool status"):
        parse(text)


class Devices:
    """A kernel with these devices."""

    def __init__(self, *devices: DmDevice) -> None:
        self._devices = devices

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices."""
        if not self._devices:
            raise KernelError("device-mapper request 2: Operation not permitted")
        return self._devices

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        return next((device for device in self._devices if device.name == name), None)

    def arm(self) -> None:
        """See Kernel.arm."""

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait."""
        return bool(timeout_seconds) and False


POOL = DmDevice(
    name="docker-thinpool",
    uuid="LVM-x",
    number="253:4",
    is_suspended=True,
    event_number=7,
    kind="thin-pool",
    length_sectors=40960 * 128,
    table="253:2 253:3 128 8192 1 skip_block_zeroing ",
    status="0 15/6144 39/40960 - rw discard_passdown queue_if_no_space - 1024 ",
)
THIN = replace(
    POOL, name="docker-1", uuid="", kind="thin", table="253:4 1", status=None, length_sectors=8
)


def test_reads_pools_and_their_thin_volumes() -> None:
    """Table, status and header come together in one record."""
    reading = read(Devices(POOL, THIN), lambda _: None)

    (pool,), (thin,) = reading.pools, reading.thins
    assert (pool.chunk_bytes, pool.low_water_mark_blocks) == (65536, 8192)
    assert (pool.metadata_device_number, pool.data_device_number) == ("253:2", "253:3")
    assert (pool.status.is_suspended, pool.status.event_number) == (True, 7)
    assert (thin.pool_device_number, thin.thin_id, thin.size_bytes) == ("253:4", 1, 4096)
    assert reading.problems == ()


def test_one_pool_that_makes_no_sense_does_not_hide_the_others() -> None:
    """It becomes a problem that names it."""
    odd = replace(POOL, name="odd", status="what?")

    reading = read(
        Devices(odd, replace(odd, name="odder", table="253:2"), POOL), lambda _: None
    )

    assert [pool.dm_name for pool in reading.pools] == ["docker-thinpool"]
    assert [problem.subject for problem in reading.problems] == ["odd", "odder"]


def test_a_device_that_cannot_be_read_is_a_problem() -> None:
    """The kernel's own words say why; the others are there."""
    why = "device-mapper request 12 on sick: Cannot allocate memory"
    sick = replace(POOL, name="sick", kind="", table="", status=None, error=why)

    reading = read(Devices(sick, POOL, THIN), lambda _: None)

    assert (len(reading.pools), len(reading.thins)) == (1, 1)
    assert [(problem.subject, problem.message) for problem in reading.problems] == [
        ("sick", why)
    ]


def test_a_loop_device_below_is_found_on_either_device() -> None:
    """Data and metadata are looked up by their numbers; what both lie on counts once."""
    one, both = make_loop(), make_loop(device="/dev/loop1")

    alone = read(Devices(POOL), {"253:2": one}.get)
    together = read(Devices(POOL), {"253:2": both, "253:3": both.joined(one)}.get)

    assert alone.pools[0].loop == one
    loop = together.pools[0].loop
    assert loop is not None
    assert [file.device for file in loop.files] == ["/dev/loop1", "/dev/loop0"]


def test_a_kernel_that_refuses_is_an_error() -> None:
    """Nothing is invented."""
    with pytest.raises(KernelError, match="not permitted"):
        read(Devices(), lambda _: None)


def test_a_thin_volume_that_makes_no_sense_is_a_problem() -> None:
    """But one of a failed pool, of which the kernel says no more than that, is none."""
    odd = replace(THIN, name="odd", table="253:4")
    failed = replace(THIN, name="failed", table="Fail")

    reading = read(Devices(odd, failed, THIN), lambda _: None)

    assert [thin.dm_name for thin in reading.thins] == ["docker-1"]
    assert [problem.subject for problem in reading.problems] == ["odd"]
