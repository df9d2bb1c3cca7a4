"""dmsetup as the fallback: what it prints, what may be wrong with it, and when it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from exporter.command import Output, Running
from exporter.devmapper import DmDevice, Kernel
from exporter.dmsetup import (
    DEADLINE_SECONDS,
    DmsetupKernel,
    FallbackKernel,
    argv_info,
    argv_status,
    argv_table,
    parse_targets,
)
from exporter.errors import (
    CommandFailedError,
    CommandMissingError,
    CommandStuckError,
    HostError,
    KernelError,
    ParseError,
)
from tests.recordings.replay import DMSETUP, Recording, recordings

STATES = recordings()
NAME = "docker-thinpool"
INFO = f"{NAME}|LVM-abc-tpool|253|2|Active|7\n"
TABLE = f"{NAME}: 0 409600 thin-pool 253:0 253:1 128 0 1 skip_block_zeroing \n"
WORDS = "0 10/1024 5/3200 - rw discard_passdown error_if_no_space - 256 "
STATUS = f"{NAME}: 0 409600 thin-pool {WORDS}\n"
NONE = "No devices found\n"


class FakeDmsetup:
    """Answers info, table and status, or fails; keeps what it was asked."""

    def __init__(self, info: str = INFO, table: str = TABLE, status: str = STATUS) -> None:
        self.texts = {"info": info, "table": table, "status": status}
        self.error: HostError | None = None
        self.asked: list[tuple[Sequence[str], float]] = []

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        self.asked.append((tuple(argv), deadline_seconds))
        if self.error:
            raise self.error
        return Output(argv=tuple(argv), status=0, stdout=self.texts[argv[1]], stderr="")

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """See Runner.start; the fallback changes nothing."""
        raise AssertionError(argv, environment)

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """See Runner.keep_ready."""

    def call(
        self, argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float
    ) -> Output:
        """See Runner.call; nothing here is the user's."""
        raise AssertionError(argv, environment, deadline_seconds)

    def devices(self) -> tuple[DmDevice, ...]:
        """Read as the program does."""
        return DmsetupKernel(self, DMSETUP).devices()


class FakeKernel(DmsetupKernel):
    """A kernel with one answer, or an error."""

    def __init__(self, *found: DmDevice, error: HostError | None = None) -> None:
        super().__init__(FakeDmsetup(), DMSETUP)
        self.found = found
        self.error = error
        self.armed = 0

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices."""
        if self.error:
            raise self.error
        return self.found

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        return next((device for device in self.devices() if device.name == name), None)

    def arm(self) -> None:
        """See Kernel.arm."""
        self.armed += 1


def without_name(text: str) -> str:
    """Give what is printed for one device that was named: no name."""
    return text.removeprefix(f"{NAME}: ")


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_real_outputs_give_the_kernels_devices(state: Recording) -> None:
    """In every recorded state the fallback finds what the ioctl found."""
    by_name = {device.name: device for device in state.by_dmsetup().devices()}

    assert by_name == {device.name: device for device in state.devices()}


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_the_real_dmsetup_takes_every_option(state: Recording) -> None:
    """It accepts them all, --manglename for info too, and complains of nothing."""
    for name in ("dmsetup_info", "dmsetup_table", "dmsetup_status"):
        assert state.commands[name].status == 0
        assert state.output(name, "stderr") == ""


def test_one_device_by_its_name() -> None:
    """Asked for one device, table and status print no name."""
    dmsetup = FakeDmsetup(INFO, without_name(TABLE), without_name(STATUS))

    device = DmsetupKernel(dmsetup, DMSETUP).device(NAME)

    assert device is not None
    assert (device.name, device.uuid, device.number) == (NAME, "LVM-abc-tpool", "253:2")
    assert (device.kind, device.length_sectors) == ("thin-pool", 409600)
    assert device.table == "253:0 253:1 128 0 1 skip_block_zeroing "
    assert device.status == WORDS
    assert (device.event_number, device.is_suspended) == (7, False)
    assert [argv for argv, _ in dmsetup.asked] == [
        argv_table(DMSETUP, NAME),
        argv_status(DMSETUP, NAME),
        argv_info(DMSETUP, NAME),
    ]
    assert {deadline for _, deadline in dmsetup.asked} == {DEADLINE_SECONDS}


def test_status_is_never_flushed() -> None:
    """A flush blocks for as long as the pool is in trouble."""
    assert "--noflush" in argv_status(DMSETUP)


def test_a_removed_device_is_none() -> None:
    """Dmsetup fails on a name that is gone; whoever asked hears that there is none."""
    dmsetup = FakeDmsetup()
    dmsetup.error = CommandFailedError(("dmsetup",), 1, "Device does not exist.")

    assert DmsetupKernel(dmsetup, DMSETUP).device("gone") is None


def test_a_list_that_fails_is_an_error() -> None:
    """Not every device is gone because dmsetup failed."""
    dmsetup = FakeDmsetup()
    dmsetup.error = CommandFailedError(("dmsetup",), 1, "Permission denied")

    with pytest.raises(CommandFailedError):
        dmsetup.devices()


def test_a_stuck_dmsetup_is_an_error_for_one_device_too() -> None:
    """No answer says nothing of whether the device is there."""
    dmsetup = FakeDmsetup()
    dmsetup.error = CommandStuckError(("dmsetup",), DEADLINE_SECONDS)

    with pytest.raises(CommandStuckError):
        DmsetupKernel(dmsetup, DMSETUP).device(NAME)


@pytest.mark.parametrize(
    ("info", "table", "status"),
    [
        (NONE, NONE, NONE),
        ("", "", ""),
        (INFO, NONE, NONE),  # removed in between
        (NONE, TABLE, STATUS),  # made in between
        (INFO, f"{NAME}: 0 409600 linear 8:0 2048\n", f"{NAME}: 0 409600 linear \n"),
        (INFO, f"{NAME}: \n", STATUS),  # no table is loaded
        (INFO, f"{NAME}: 0 many thin-pool 253:0 253:1 128 0 0 \n", STATUS),
        (INFO, "\0\n::\nname:\n: 0 1\n", STATUS),
    ],
)
def test_what_is_no_thin_device_gives_nothing(info: str, table: str, status: str) -> None:
    """Other targets, devices without a table, and races between the three commands."""
    assert FakeDmsetup(info, table, status).devices() == ()


def test_a_pool_without_a_status_line_has_none() -> None:
    """The parser of the status will say that it is missing."""
    (device,) = FakeDmsetup(status=NONE).devices()

    assert device.status is None


def test_suspended_is_read_from_its_word() -> None:
    """`Suspended` stands where `Active` stood."""
    (device,) = FakeDmsetup(info=INFO.replace("Active", "Suspended")).devices()

    assert device.is_suspended


@pytest.mark.parametrize(
    "line",
    [
        f"{NAME}|LVM-abc-tpool|253|2|Active",
        f"{NAME}|LVM-abc-tpool|253|2|Active|7|8",
        f"{NAME}|LVM-abc-tpool|253|two|Active|7",
        f"{NAME}|LVM-abc-tpool|253|2|Active|",
    ],
)
def test_garbled_info_is_told_with_its_line(line: str) -> None:
    """A line of a thin device that makes no sense is an error that quotes it."""
    with pytest.raises(ParseError, match=r"dmsetup info.*LVM-abc-tpool"):
        FakeDmsetup(info=f"{line}\n").devices()


def test_names_keep_their_colons_and_spaces() -> None:
    """Docker's names have a colon; only a colon with a space ends a name."""
    text = "docker-254:0-1-ab: 0 8 thin 253:2 4\nmy pool: 0 8 thin 253:2 5\n"

    assert sorted(parse_targets(text)) == ["docker-254:0-1-ab", "my pool"]


def test_failed_targets_have_one_word() -> None:
    """`Fail` is all that a failed pool says."""
    targets = parse_targets(f"{NAME}: 0 8 thin-pool Fail\nempty: 0 8 linear \n")

    assert (targets[NAME].parameters, targets["empty"].parameters) == ("Fail", "")


def test_waiting_has_no_events() -> None:
    """Arming does nothing, and the timeout is all that ends the wait."""
    kernel: Kernel = DmsetupKernel(FakeDmsetup(), DMSETUP)

    kernel.arm()

    assert kernel.wait(0.001) is False


DEVICE = FakeDmsetup().devices()[0]


def test_the_ioctl_serves_as_long_as_it_answers() -> None:
    """Dmsetup is not asked where the ioctl works, not even when that fails later."""
    ioctl = FakeKernel(DEVICE)
    other = FakeKernel(error=AssertionError)  # type: ignore[arg-type]
    kernel = FallbackKernel(ioctl, other)
    assert kernel.devices() == (DEVICE,)

    ioctl.error = KernelError("cannot open")
    with pytest.raises(KernelError, match="cannot open"):
        kernel.devices()


def test_dmsetup_serves_from_the_first_failure_on() -> None:
    """Every question goes there once the ioctl has turned out to be of no use."""
    ioctl, other = FakeKernel(error=KernelError("Inappropriate ioctl")), FakeKernel(DEVICE)
    kernel = FallbackKernel(ioctl, other)

    assert kernel.devices() == (DEVICE,)
    kernel.arm()

    assert kernel.device(NAME) == DEVICE
    assert (ioctl.armed, other.armed) == (0, 1)
    assert kernel.wait(0.001) is False


def test_where_both_fail_the_ioctls_reason_counts() -> None:
    """A host without dmsetup either hears of its device-mapper, and may ask again."""
    ioctl = FakeKernel(error=KernelError("cannot open"))
    kernel = FallbackKernel(ioctl, FakeKernel(error=CommandMissingError(("dmsetup",), "gone")))

    with pytest.raises(KernelError, match="cannot open"):
        kernel.devices()

    ioctl.error, ioctl.found = None, (DEVICE,)
    assert kernel.devices() == (DEVICE,)
