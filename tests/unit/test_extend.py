"""The command that changes the host, and what is believed of its outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from msgspec.structs import replace

from exporter.command import Output, Running
from exporter.errors import CommandMissingError, HostError
from exporter.extend import Extender, Watch, argv_lvextend
from exporter.model import (
    Attempt,
    Decision,
    Device,
    Extension,
    Failure,
    PoolMode,
    PoolStatus,
    Reason,
    Usage,
)

EXTENT = 4 * 1024 * 1024
CHUNK = 192 * 1024


def extension(device: Device, before: int, after: int) -> Extension:
    """Make an extension that wants what it gets."""
    return Extension(
        device=device,
        from_extents=before,
        wanted_extents=after,
        extents=after,
        extent_bytes=EXTENT,
    )


BOTH = Decision(
    reason=Reason.EXTEND,
    extensions=(extension(Device.METADATA, 2, 3), extension(Device.DATA, 125, 150)),
)


def status(data_extents: int, metadata_extents: int) -> PoolStatus:
    """Make the status that a kernel reports for LVs of these sizes."""
    return PoolStatus(
        mode=PoolMode.RW,
        data=Usage(
            used_blocks=1, total_blocks=data_extents * EXTENT // CHUNK, block_bytes=CHUNK
        ),
        metadata=Usage(
            used_blocks=1, total_blocks=metadata_extents * EXTENT // 4096, block_bytes=4096
        ),
    )


class Lvextend:
    """Ends with this status after this many waits; once more, it ends well."""

    def __init__(self, exit_status: int = 0, waits: int = 0, stderr: str = "") -> None:
        self.outputs = [Output(argv=(), status=exit_status, stdout="done", stderr=stderr)]
        self.outputs.append(Output(argv=(), status=0, stdout="done", stderr=""))
        self.waits = waits
        self.started: list[tuple[Sequence[str], Mapping[str, str]]] = []

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """Refuse: nothing is only read here."""
        raise AssertionError((argv, deadline_seconds))

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """See Runner.start."""
        self.started.append((argv, environment))
        return self

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """Have none: lvm is not there."""
        raise CommandMissingError((program, *environment), "not there")

    def call(
        self, argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float
    ) -> Output:
        """Refuse: the guard's own commands are no user's."""
        raise AssertionError((argv, environment, deadline_seconds))

    def wait(self, timeout_seconds: float) -> Output | None:
        """See Running.wait."""
        assert timeout_seconds > 0
        self.waits -= 1
        return None if self.waits >= 0 else self.outputs.pop(0)


def extend(lvextend: Lvextend, before: PoolStatus, after: PoolStatus | None) -> Attempt:
    """Extend both LVs, with these readings of the kernel before and after."""
    extender = Extender(lvextend, "/sbin/lvm", deadline_seconds=60, clock=lambda: 0.0)
    return extender.extend(
        "docker/thinpool",
        BOTH,
        before=before,
        watch=Watch(read_status=lambda: after),
    )


def test_nobody_waits_for_udev_where_no_device_is_made() -> None:
    """The option stands before the sizes; without it LVM waits."""
    alone = replace(BOTH, extensions=BOTH.extensions[-1:], is_data_alone=True)

    argv = argv_lvextend("/sbin/lvm", "docker/thinpool", alone)

    assert argv[:4] == ("/sbin/lvm", "lvextend", "--noudevsync", "-l")
    assert "--noudevsync" not in argv_lvextend("/sbin/lvm", "docker/thinpool", BOTH)


def test_both_sizes_are_absolute_and_go_in_one_command() -> None:
    """A repetition then does nothing; a second command would let LVM choose by itself."""
    assert argv_lvextend("/sbin/lvm", "docker/thinpool", BOTH) == (
        "/sbin/lvm",
        "lvextend",
        "--poolmetadatasize",
        "12582912b",
        "-l",
        "150",
        "docker/thinpool",
    )


def test_lvm_is_told_not_to_start_dmeventd() -> None:
    """A plain lvextend would."""
    lvextend = Lvextend()

    extend(lvextend, status(125, 2), status(150, 3))

    ((_, environment),) = lvextend.started
    assert environment["LVM_RUN_BY_DMEVENTD"] == "1"


def test_the_kernels_totals_decide_what_has_grown() -> None:
    """Chunks that do not divide the extents leave a rest at the end of the LV."""
    attempt = extend(Lvextend(), status(125, 2), status(150, 3))

    assert not attempt.failures
    data = attempt.outcomes[1]
    assert data.after_bytes == 150 * EXTENT // CHUNK * CHUNK


def test_success_without_effect_is_a_failure() -> None:
    """needs_check makes lvextend succeed and the kernel refuse."""
    attempt = extend(Lvextend(), status(125, 2), status(125, 2))

    assert [outcome.failure for outcome in attempt.outcomes] == [Failure.INEFFECTIVE] * 2


def test_metadata_may_grow_and_data_not() -> None:
    """Metadata is committed first: what it gained is kept and counted."""
    attempt = extend(
        Lvextend(5, stderr="  Insufficient free space"), status(125, 2), status(125, 3)
    )

    assert [outcome.failure for outcome in attempt.outcomes] == [None, Failure.REFUSED]
    assert attempt.message == "Insufficient free space"


def test_somebody_else_may_have_been_first() -> None:
    """Exit status 5, but the pool is as large as it should be."""
    attempt = extend(Lvextend(5), status(150, 3), status(150, 3))

    assert not attempt.failures


def test_a_slow_lvextend_is_waited_for() -> None:
    """It is never killed."""
    told = []
    lvextend = Lvextend(waits=3)

    attempt = Extender(lvextend, "lvm", deadline_seconds=60, clock=lambda: 0.0).extend(
        "docker/thinpool",
        BOTH,
        before=status(125, 2),
        watch=Watch(
            read_status=lambda: status(150, 3), on_start=lambda: told.append("started")
        ),
    )

    assert told == ["started"]
    assert not attempt.failures


def test_what_lvm_says_at_length_is_cut() -> None:
    """It goes into the log, the state file and every Snapshot."""
    attempt = extend(Lvextend(5, stderr="x" * 2_000_000), status(125, 2), status(125, 2))

    assert len(attempt.message) < 600


def test_a_pool_that_vanishes_meanwhile_is_an_error() -> None:
    """Nothing is claimed of it."""
    with pytest.raises(HostError, match="cannot be read"):
        extend(Lvextend(), status(125, 2), PoolStatus(mode=PoolMode.FAILED))


class Archive:
    """Whether LVM can write there, and how often that was asked."""

    def __init__(self, *, is_writable: bool) -> None:
        self.is_writable = is_writable
        self.asked = 0

    def __call__(self) -> bool:
        """Answer."""
        self.asked += 1
        return self.is_writable


def extend_beside(
    archive: Archive, lvextend: Lvextend, before: PoolStatus, *readings: PoolStatus
) -> Attempt:
    """Extend both LVs on a host with this archive."""
    left = iter(readings)
    extender = Extender(
        lvextend, "lvm", deadline_seconds=60, clock=lambda: 0.0, can_archive=archive
    )
    return extender.extend(
        "docker/thinpool",
        BOTH,
        before=before,
        watch=Watch(read_status=lambda: next(left)),
    )


READ_ONLY = "  Cannot archive volume group metadata for docker to read-only filesystem."


def test_where_lvm_cannot_archive_it_extends_without() -> None:
    """A full or read-only root file system must not let the pool fill up too."""
    lvextend = Lvextend(5, stderr=READ_ONLY)

    attempt = extend_beside(
        Archive(is_writable=False), lvextend, status(125, 2), status(125, 2), status(150, 3)
    )

    first, second = (argv for argv, _ in lvextend.started)
    config = ("--config", "backup{archive=0 backup=0}")
    assert second == (*first[:2], *config, *first[2:])
    assert not attempt.failures
    assert not attempt.is_archived
    assert attempt.exit_status == 0


def test_without_archive_is_tried_once() -> None:
    """What is refused for another reason as well stays refused."""
    lvextend = Lvextend(5, stderr=READ_ONLY)
    lvextend.outputs[1] = Output(argv=(), status=5, stdout="", stderr="  No.")

    attempt = extend_beside(Archive(is_writable=False), lvextend, *[status(125, 2)] * 3)

    assert len(lvextend.started) == 2
    assert [outcome.failure for outcome in attempt.outcomes] == [Failure.REFUSED] * 2
    assert attempt.message == "No."


def test_a_refusal_for_another_reason_is_not_repeated() -> None:
    """The archive is asked for, and is in order."""
    archive, lvextend = Archive(is_writable=True), Lvextend(5)

    attempt = extend_beside(archive, lvextend, status(125, 2), status(125, 2))

    assert (archive.asked, len(lvextend.started)) == (1, 1)
    assert attempt.is_archived


@pytest.mark.parametrize(
    ("exit_status", "after"),
    [(0, status(150, 3)), (0, status(125, 2)), (5, status(125, 3)), (5, status(150, 3))],
)
def test_the_archive_is_looked_at_only_after_a_refusal(
    exit_status: int, after: PoolStatus
) -> None:
    """Where anything has grown, or LVM was content, the archive was not in its way."""
    archive = Archive(is_writable=False)

    extend_beside(archive, Lvextend(exit_status), status(125, 2), after)

    assert archive.asked == 0


def test_an_lvm_that_cannot_be_kept_ready_is_no_trouble() -> None:
    """When it is needed, it is started as any command is, and tells why it cannot be."""
    extender = Extender(Lvextend(), "/sbin/lvm", deadline_seconds=60, clock=lambda: 0.0)

    extender.keep_ready()
