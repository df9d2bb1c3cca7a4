"""The simulated lvextend: LVM's arithmetic, texts and exit statuses."""

from __future__ import annotations

import pytest

from exporter.errors import CommandMissingError
from exporter.simulation import ManualClock, PoolSpec, SimulatedHost
from exporter.simulation.figures import GIB, MIB
from tests.unit.simulation.host import (
    EXTENTS,
    POOL,
    PROFILE,
    extend,
    make_host,
    pool_device,
    sizes,
    status,
)


def test_absolute_extents_extend_data() -> None:
    """Success is told in LVM's words, and the kernel sees the new size."""
    host = make_host()
    seqno = host.vg("docker").seqno

    output = extend(host, "-y", "-l", "3072", "--config", "activation{monitoring=0}", POOL)

    assert (output.status, output.stderr) == (0, "")
    assert output.stdout == (
        "  Size of logical volume docker/thinpool_tdata changed from 10.00 GiB "
        "(2560 extents) to 12.00 GiB (3072 extents).\n"
        "  Logical volume docker/thinpool successfully resized.\n"
    )
    assert status(host)[2] == "18432/24576"
    assert host.vg("docker").seqno == seqno + 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-l", "2560"), "  New size (2560 extents) matches existing size (2560 extents).\n"),
        (
            ("-l", "100"),
            "  New size given (100 extents) not larger than existing size (2560 extents)\n",
        ),
        (
            ("-l", "+20000"),
            "  Insufficient free space: 20000 extents needed, but only 10176 available\n",
        ),
        (
            ("--poolmetadatasize", "4m"),
            "  New size given (1 extents) not larger than existing size (32 extents)\n",
        ),
    ],
)
def test_refusals_change_nothing(words: tuple[str, ...], message: str) -> None:
    """What LVM refuses ends with 5, and leaves all as it was."""
    host = make_host()

    output = extend(host, *words, POOL)

    assert (output.status, output.stdout, output.stderr) == (5, "", message)
    assert sizes(host) == (EXTENTS, 32, 32)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nope/x", '  Volume group "nope" not found\n  Cannot process volume group nope\n'),
        ("docker/x", "  Logical volume x not found in volume group docker.\n"),
    ],
)
def test_names_that_are_not_there(name: str, message: str) -> None:
    """LVM says which part of the name it could not find."""
    output = extend(make_host(), "-l", "+1", name)

    assert (output.status, output.stderr) == (5, message)


@pytest.mark.parametrize(
    "words",
    [("-l", "x", POOL), ("--poolmetadatasize", "x", POOL), (POOL,), ("-l", "+1"), ("-Z",)],
)
def test_bad_arguments_end_with_3(words: tuple[str, ...]) -> None:
    """A command line that LVM does not understand has its own exit status."""
    assert extend(make_host(), *words).status == 3


@pytest.mark.parametrize("size", [f"{256 * MIB}b", "+128m", "+131072k", "256M", "0.25g"])
def test_metadata_grows_with_its_spare(size: str) -> None:
    """A size may be absolute or added; the spare follows."""
    host = make_host()

    output = extend(host, "--poolmetadatasize", size, POOL)

    assert output.status == 0
    assert output.stdout.endswith(
        "  Logical volume docker/thinpool_tmeta successfully resized.\n"
    )
    assert sizes(host) == (EXTENTS, 64, 64)


def test_repeated_metadata_size_succeeds() -> None:
    """Unlike for data, the size that is already there is no error."""
    output = extend(make_host(), "--poolmetadatasize", "128m", POOL)

    assert output.status == 0
    assert "unchanged from 128.00 MiB (32 extents)." in output.stdout


def test_metadata_size_is_rounded_to_extents() -> None:
    """LVM says to which size it rounds."""
    output = extend(make_host(), "--poolmetadatasize", "129m", POOL)

    assert (
        "  Rounding size to boundary between physical extents: 132.00 MiB.\n" in output.stdout
    )


def test_metadata_comes_first_and_stays_when_data_fails() -> None:
    """Data that does not fit leaves the metadata grown, and the exit status 5."""
    host = make_host(extents=3000)

    output = extend(host, "-l", "3200", "--poolmetadatasize", "256m", POOL)

    assert output.status == 5
    assert output.stderr.startswith("  Insufficient free space: 640 extents needed")
    assert sizes(host) == (EXTENTS, 64, 64)


def test_both_sizes_at_once() -> None:
    """One command may extend both; data that is there already does no harm then."""
    host = make_host()

    first = extend(host, "-l", "2600", "--poolmetadatasize", "256m", POOL)
    second = extend(host, "-l", "2600", "--poolmetadatasize", "260m", POOL)

    assert (first.status, second.status) == (0, 0)
    assert "docker/thinpool_tdata unchanged" in second.stdout
    assert sizes(host) == (2600, 65, 65)


def test_metadata_follows_data_by_itself() -> None:
    """64 bytes a chunk: twice the chunks need more than the smallest metadata."""
    host = make_host(metadata_bytes=4 * MIB, extents=60000)
    host.fill_metadata(POOL, 10)

    output = extend(host, "-l", "40960", POOL)

    assert output.status == 0
    assert sizes(host) == (40960, 5, 5)  # 327680 chunks: 20 MiB


def test_spare_that_does_not_fit_is_forgone() -> None:
    """LVM complains about the spare, and goes on."""
    host = make_host(extents=EXTENTS + 32 + 32 + 40)

    output = extend(host, "--poolmetadatasize", "+128m", POOL)

    assert output.status == 0
    assert output.stderr == (
        "  Insufficient free space: 32 extents needed, but only 8 available\n"
    )
    assert sizes(host) == (EXTENTS, 64, 32)


def test_metadata_stops_at_the_kernels_limit() -> None:
    """At the limit LVM reports success, and changes nothing."""
    host = make_host(extents=20000)
    first = extend(host, "--poolmetadatasize", "20g", POOL)
    before = sizes(host)

    second = extend(host, "--poolmetadatasize", "+1g", POOL)

    assert "  Reached maximum pool metadata size" in first.stdout
    assert (first.status, second.status) == (0, 0)
    assert before[:2] == (EXTENTS, 4065)
    assert sizes(host)[:2] == (EXTENTS, 4065)


def test_growth_lifts_out_of_data_space() -> None:
    """A full pool, even after its time-out, works again once extended."""
    clock = ManualClock()
    host = SimulatedHost(clock)
    host.add_vg("docker", extents=12800)
    host.add_pool(POOL, PoolSpec(used_bytes=10 * GIB))
    host.fill(POOL, 163840)
    clock.now += 61
    before = pool_device(host)

    extend(host, "-l", "+100", POOL)
    after = pool_device(host)

    assert "out_of_data_space discard_passdown error_if_no_space" in (before.status or "")
    assert " rw discard_passdown queue_if_no_space" in (after.status or "")
    assert after.event_number > before.event_number


def test_growth_of_metadata_lifts_read_only() -> None:
    """A pool out of metadata space works again with more of it."""
    host = make_host()
    host.fill_metadata(POOL, 32768)

    extend(host, "--poolmetadatasize", "+64m", POOL)

    assert host.pool(POOL).mode == "rw"


def test_needs_check_makes_growth_ineffective() -> None:
    """LVM reports success and commits; the kernel's total stays."""
    host = make_host()
    host.set_needs_check(POOL)

    output = extend(host, "-l", "+100", POOL)

    assert output.status == 0
    assert sizes(host)[0] == EXTENTS + 100
    assert status(host)[2] == "18432/20480"


def test_the_low_water_mark_follows_the_table() -> None:
    """A profile changes the mark only when the table is loaded again."""
    host = make_host()
    host.set_profile(PROFILE, threshold=60, percent=20)
    before = pool_device(host)

    extend(host, "-l", "3072", POOL)
    after = pool_device(host)

    assert (before.table.split()[3], after.table.split()[3]) == ("4096", "9830")


def test_pvs_that_cannot_be_used() -> None:
    """Only allocatable PVs give extents; a missing one stops every change."""
    host = make_host()
    disk = host.vg("docker").pvs[0]
    disk.is_allocatable = False
    none_left = extend(host, "-l", "+1", POOL)
    disk.is_missing = True
    missing = extend(host, "-l", "+1", POOL)

    assert none_left.stderr.endswith("1 extents needed, but only 0 available\n")
    assert "  Cannot change VG docker while PVs are missing.\n" in missing.stderr
    assert (none_left.status, missing.status) == (5, 5)


def test_refused_extension() -> None:
    """A refusal that a test asks for has the test's text."""
    host = make_host()
    host.refuse_extend("  Can't resize locked logical volume docker/thinpool.\n")

    output = extend(host, "-l", "+1", POOL)

    assert (output.status, output.stderr[:16]) == (5, "  Can't resize l")
    assert sizes(host)[0] == EXTENTS


def test_an_extension_that_takes_time() -> None:
    """Its effect comes at its end, whether or not anybody waits for it."""
    clock = ManualClock()
    host = SimulatedHost(clock, extend_seconds=2.0)
    host.add_vg("docker", extents=12800)
    host.add_pool(POOL, PoolSpec())
    running = host.start(("lvm", "lvextend", "-l", "+1", POOL), environment={})
    early = (running.wait(0), host.vg("docker").lvs["thinpool_tdata"].extents)

    clock.now += 2.0
    late = host.vg("docker").lvs["thinpool_tdata"].extents
    output = running.wait(0)

    assert early == (None, EXTENTS)
    assert late == EXTENTS + 1
    assert output is not None
    assert output.status == 0


def test_an_extension_that_never_ends() -> None:
    """A hanging lvextend keeps running, and changes nothing."""
    host = make_host()
    host.hang("lvextend")

    running = host.start(("lvm", "lvextend", "-l", "+1", POOL), environment={})

    assert running.wait(10) is None
    assert sizes(host)[0] == EXTENTS


def test_an_extension_without_lvm() -> None:
    """A program that is missing cannot be started either."""
    host = make_host()
    host.fail("lvextend", CommandMissingError(("lvm",), "No such file or directory"))

    with pytest.raises(CommandMissingError):
        host.start(("lvm", "lvextend", "-l", "+1", POOL), environment={})
