"""What `check` says of Docker: whether it is there, where its data is, and what it refuses."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from exporter.bulkhead import Bulkheads
from exporter.guard import Clocks, Rules
from exporter.guard.judge import Judge
from exporter.model import (
    Absence,
    Content,
    Dmeventd,
    DockerInfo,
    PoolSource,
    ThinPool,
)
from exporter.report import Report, Severity, lines_of
from exporter.simulation import ManualClock
from tests.factories import (
    TAKEN_AT,
    make_collectors,
    make_docker,
    make_failed_state,
    make_kernel_pool,
    make_metadata_usage,
    make_place,
    make_pool,
    make_snapshot,
    make_status,
    make_usage,
)
from tests.fakes import FakeLog

DMEVENTD = Dmeventd(is_alive=True, pid=812, state="S")
STRATIS = "stratis-1-private-c5537a12176a482e8df8af23ebdce463-thinpool-pool"
REFUSES = "Docker makes no new containers"


def report_on(**changes: object) -> Report:
    """Report on the article's host with changes, without a guard."""
    clocks = Clocks(monotonic=lambda: 0.0, wall=lambda: TAKEN_AT)
    snapshot = Judge(Rules(), clocks).foresee(replace(make_snapshot(**changes), guard=None))
    return Report.of(snapshot, None, Bulkheads(FakeLog(), ManualClock()), silence_seconds=None)


def printed(report: Report) -> str:
    """Give the report as text."""
    return "\n".join(line.text for line in lines_of(report))


def without_docker(**changes: object) -> Report:
    """Report on a host without pools, and with a Docker that was not read."""
    state = make_failed_state(**changes)
    return report_on(
        pools=(), volume_groups=(), docker=None, collectors=make_collectors(docker=state)
    )


@pytest.mark.parametrize("absence", Absence)
def test_a_docker_that_is_not_there_is_nothing_wrong(absence: Absence) -> None:
    """Not installed, stopped, or podman in its place: said, and no more."""
    report = without_docker(absence=absence, error="whatever")

    assert report.exit_status == Severity.OK
    assert f"  Docker    {absence}\n" in printed(report) + "\n"
    assert "whatever" not in printed(report)


@pytest.mark.parametrize("absence", Absence)
def test_a_docker_that_is_required_has_to_be_there(absence: Absence) -> None:
    """By collect.require_docker; that it does not hang is said as well."""
    report = without_docker(absence=absence, is_required=True)

    assert report.exit_status == Severity.WARNING
    assert f"Docker is {absence}, and the configuration requires it" in printed(report)
    assert "hangs" not in printed(report)


def test_a_docker_that_runs_and_is_silent_is_a_warning() -> None:
    """Then its pool may be the cause."""
    report = without_docker(error="no answer within 10 s")

    assert report.exit_status == Severity.WARNING
    assert "Docker does not answer: no answer within 10 s" in printed(report)
    assert "systemctl status docker" in printed(report)


def test_a_docker_that_was_stopped_keeps_what_it_said() -> None:
    """With its age."""
    state = make_failed_state(absence=Absence.NOT_RUNNING, succeeded_at=TAKEN_AT - 60)
    report = report_on(collectors=make_collectors(docker=state))

    assert "  Docker    not running, 1.12.6, storage driver devicemapper" in printed(report)
    assert "as of 1m ago" in printed(report)


def pool_left(data_percent: float, metadata_percent: float) -> ThinPool:
    """Return docker/thinpool, monitored, with so much of each device free."""
    usages = []
    for usage, percent in (
        (make_usage(), data_percent),
        (make_metadata_usage(), metadata_percent),
    ):
        free = int(usage.total_blocks * percent / 100)
        usages.append(replace(usage, used_blocks=usage.total_blocks - free))
    status = make_status(data=usages[0], metadata=usages[1])
    return make_pool(
        kernel=make_kernel_pool(status=status), is_monitored=True, monitoring="monitored"
    )


@pytest.mark.parametrize(
    ("data_percent", "metadata_percent", "devices"),
    [
        (50, 50, None),
        (10.1, 10.1, None),
        (8.5, 95, "data"),
        (50, 8.5, "metadata"),
        (8.5, 8.5, "data and of the metadata"),
    ],
)
def test_says_that_docker_makes_no_new_containers(
    data_percent: float, metadata_percent: float, devices: str | None
) -> None:
    """It wants the same percentage of data and of metadata to be free: here 10 %."""
    report = report_on(pools=(pool_left(data_percent, metadata_percent),), dmeventd=DMEVENTD)

    text = printed(report)
    if devices is None:
        assert REFUSES not in text
    else:
        assert f"less than 10 % of the {devices} is free" in text
        assert report.exit_status >= Severity.WARNING


@pytest.mark.parametrize(
    "docker",
    [
        None,
        make_docker(min_free_space_bytes=None),
        make_docker(min_free_space_bytes=0),
        make_docker(data_size_bytes=None),
        make_docker(pool_name="other"),
    ],
    ids=["none", "before 1.12", "switched off", "unreadable", "another pool"],
)
def test_without_such_a_minimum_docker_refuses_nothing(docker: DockerInfo | None) -> None:
    """Nor in a pool that is not Docker's."""
    assert REFUSES not in printed(report_on(pools=(pool_left(5, 5),), docker=docker))


def test_another_minimum_counts_as_it_is() -> None:
    """As dm.min_free_space=40%."""
    docker = make_docker(min_free_space_bytes=8_160_000_000)

    text = printed(report_on(pools=(pool_left(39, 90),), docker=docker))

    assert "less than 40 % of the data is free" in text


def test_shows_images_and_volumes_apart() -> None:
    """With containerd's store they may be on different pools."""
    places = (
        make_place(path="/var/lib/containerd", holds=Content.IMAGES, driver="overlayfs"),
        make_place(holds=Content.VOLUMES, driver=None, pools=()),
    )

    text = printed(report_on(storage=places))

    assert "Docker's images   /var/lib/containerd (overlayfs): on pool docker/thinpool" in text
    assert "Docker's volumes  /var/lib/docker: xfs on /dev/mapper/docker-data, on no" in text


def foreign_pool(name: str) -> ThinPool:
    """Return a pool that is not LVM's."""
    return make_pool(
        vg_name="",
        name=name,
        source=PoolSource.DEVICE_MAPPER,
        lvm=None,
        policy=None,
        kernel=make_kernel_pool(dm_name=name, dm_uuid="", device_number="253:30"),
        profile=None,
        is_monitored=None,
    )


def test_a_pool_of_stratis_is_extended_by_stratisd() -> None:
    """For ever, and so no trouble; another pool that is not LVM's is extended by nobody."""
    report = report_on(pools=(foreign_pool(STRATIS),))
    assert report.exit_status == Severity.OK
    assert "extended by stratisd" in report.summary

    report = report_on(pools=(foreign_pool("containerd-pool"),))
    assert report.exit_status == Severity.WARNING
    assert "not protected" in report.summary


def test_a_pool_on_another_pool_says_so() -> None:
    """As where Docker was given an LVM pool as its dm.datadev."""
    inner = foreign_pool("docker-253:0-131-pool")
    assert inner.kernel is not None
    kernel = replace(inner.kernel, data_device_number="253:4")

    report = report_on(pools=(make_pool(), replace(inner, kernel=kernel)))

    assert "its data device is the thin pool docker/thinpool" in printed(report)
    assert "another pool" not in printed(report_on(pools=(make_pool(), inner)))
