"""Snapshot → samples: what is exported, and what is left out."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from exporter.bulkhead import Bulkheads
from exporter.collectors import SnapshotCollector, families
from exporter.model import (
    UNKNOWN_STATUS,
    Collector,
    CollectorState,
    Content,
    Device,
    DeviceCounters,
    Dmeventd,
    Engine,
    Failure,
    Filling,
    KernelPool,
    PoolMode,
    Problem,
    Snapshot,
    Stage,
    ThinPool,
)
from tests.factories import (
    CHUNK_BYTES,
    TAKEN_AT,
    make_collector_state,
    make_collectors,
    make_docker,
    make_failed_state,
    make_guard_report,
    make_histogram,
    make_kernel_pool,
    make_loop,
    make_lvm_pool,
    make_physical_volume,
    make_place,
    make_policy,
    make_pool,
    make_pool_guard,
    make_snapshot,
    make_status,
    make_volume_group,
    make_volumes,
)
from tests.fakes import FakeLog

MUTE_KERNEL = make_collectors(device_mapper=make_failed_state())
USAGE = (
    *("thinpool_data_used_bytes", "thinpool_metadata_used_bytes", "thinpool_needs_check"),
    *("thinpool_suspended", "thinpool_queue_if_no_space"),
)


def values(snapshot: Snapshot, name: str, *labels: str) -> list[float]:
    """Values of a series, in order, of those that have these label values."""
    return [
        sample.value
        for family in families(snapshot)
        for sample in family.samples
        if sample.name == name and set(labels) <= set(sample.labels.values())
    ]


def labels_of(snapshot: Snapshot, name: str) -> list[dict[str, str]]:
    """Return the label sets of a metric."""
    return [
        sample.labels
        for family in families(snapshot)
        for sample in family.samples
        if sample.name == name
    ]


def of_pool(**changes: object) -> Snapshot:
    """Return a host with one pool that differs from the article's."""
    return make_snapshot(pools=(make_pool(**changes),))


@pytest.mark.parametrize(
    ("snapshot", "name", "expected"),
    [
        (make_snapshot(), "thinpool_data_used_bytes", [39 * 524288]),
        (make_snapshot(), "thinpool_low_water_mark_bytes", [7780 * 524288]),
        (of_pool(is_monitored=None), "thinpool_monitored", []),
        (of_pool(is_monitored=True), "thinpool_monitored", [1]),
        (of_pool(virtual_size_bytes=0), "thinpool_virtual_size_bytes", [0]),
        (of_pool(kernel=None), "thinpool_data_size_bytes", [4863 * 4 * 1024**2]),
        (of_pool(kernel=None, lvm=None), "thinpool_data_size_bytes", []),
        (of_pool(kernel=None), "thinpool_chunk_size_bytes", [524288]),
        (of_pool(kernel=None), "thinpool_loopback", []),
        (of_pool(), "thinpool_loopback", [0]),
        (
            of_pool(kernel=make_kernel_pool(status=make_status(needs_check=None))),
            "thinpool_needs_check",
            [],
        ),
        (make_snapshot(dmeventd=Dmeventd(is_alive=None)), "thinpool_dmeventd_up", []),
        (make_snapshot(dmeventd=Dmeventd(is_alive=True)), "thinpool_dmeventd_up", [1]),
        (make_snapshot(guard=None), "thinpool_guard_mode", []),
    ],
)
def test_unknown_is_absent_and_zero_is_zero(
    snapshot: Snapshot, name: str, expected: list[float]
) -> None:
    """A value that is not known has no sample; one that is known has, 0 included."""
    assert values(snapshot, name) == expected


@pytest.mark.parametrize("mode", PoolMode)
def test_one_mode_is_present(mode: PoolMode) -> None:
    """Every mode is a series, and only the pool's own is 1."""
    snapshot = of_pool(mode=mode)

    assert len(values(snapshot, "thinpool_mode")) == len(PoolMode)
    assert sum(values(snapshot, "thinpool_mode")) == 1
    assert values(snapshot, "thinpool_mode", mode.value) == [1]


@pytest.mark.parametrize(
    ("threshold", "effective", "metadata", "expected"),
    [
        (80, 80, 75, (0.8, 0.75)),
        (30, 50, 50, (0.5, 0.5)),
        (100, 100, None, (1, 1)),
        (250, 250, 75, (1, 1)),
    ],
)
def test_thresholds_are_the_effective_ones(
    threshold: int, effective: int, metadata: int | None, expected: tuple[float, float]
) -> None:
    """A policy that is off is 1 for both devices, whatever else is known."""
    snapshot = of_pool(
        policy=make_policy(threshold_percent=threshold),
        effective_threshold_percent=effective,
        metadata_threshold_percent=metadata,
    )

    assert values(snapshot, "thinpool_autoextend_threshold_ratio") == [expected[0]]
    assert values(snapshot, "thinpool_metadata_autoextend_threshold_ratio") == [expected[1]]


def test_thresholds_of_an_unknown_policy_are_absent() -> None:
    """No threshold is better than a made-up one."""
    snapshot = of_pool(
        policy=None, effective_threshold_percent=None, metadata_threshold_percent=None
    )

    assert values(snapshot, "thinpool_autoextend_threshold_ratio") == []
    assert values(snapshot, "thinpool_metadata_autoextend_threshold_ratio") == []
    assert values(snapshot, "thinpool_autoextend_step_ratio") == []


UNREAD = make_kernel_pool(status=UNKNOWN_STATUS)


@pytest.mark.parametrize("kernel", [None, UNREAD])
@pytest.mark.parametrize("collectors", [make_collectors(), MUTE_KERNEL])
def test_lvs_serves_while_the_kernel_gives_no_status(
    kernel: KernelPool | None, collectors: dict[Collector, CollectorState]
) -> None:
    """Whether it cannot be asked at all, or only one pool of it has no status."""
    lvm = make_lvm_pool(
        size_bytes=1000 * CHUNK_BYTES, data_percent=33.34, needs_check=True, when_full="error"
    )
    pool = make_pool(kernel=kernel, lvm=lvm)
    snapshot = make_snapshot(pools=(pool,), collectors=collectors)

    assert values(snapshot, "thinpool_data_size_bytes") == [1000 * CHUNK_BYTES]
    assert values(snapshot, "thinpool_data_used_bytes") == [333 * CHUNK_BYTES]
    assert values(snapshot, "thinpool_needs_check") == [1]
    assert values(snapshot, "thinpool_suspended") == [0]
    assert values(snapshot, "thinpool_queue_if_no_space") == [0]
    assert values(snapshot, "thinpool_metadata_snapshot_held") == []


def test_usage_that_neither_source_gives_is_absent() -> None:
    """The size stays, and is LVM's: by it alerts know that there is a pool to protect."""
    lvm = make_lvm_pool(data_percent=None, metadata_percent=None)
    snapshot = of_pool(kernel=UNREAD, lvm=lvm, mode=PoolMode.UNKNOWN)

    for name in USAGE:
        assert values(snapshot, name) == []
    assert values(snapshot, "thinpool_data_size_bytes") == [lvm.size_bytes]
    assert values(snapshot, "thinpool_metadata_size_bytes") == [lvm.metadata_size_bytes]
    assert values(snapshot, "thinpool_mode", "unknown") == [1]
    assert values(snapshot, "thinpool_low_water_mark_bytes") == [7780 * CHUNK_BYTES]


def test_an_inactive_pool_has_neither_size_nor_usage() -> None:
    """Sizes are what the kernel can use, which is nothing; what lvs says is of before."""
    pool = make_pool(kernel=None, mode=PoolMode.INACTIVE)
    snapshot = make_snapshot(pools=(pool,), collectors=MUTE_KERNEL)

    for name in ("thinpool_data_size_bytes", "thinpool_metadata_size_bytes", *USAGE):
        assert values(snapshot, name) == []


class Host:
    """What a process serves of a host: a Snapshot, at a time that the test sets."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.now = TAKEN_AT
        self.log = FakeLog()
        self._collector = SnapshotCollector(
            lambda: self.snapshot,
            version="",
            python_version="",
            clock=lambda: self.now,
            bulkheads=Bulkheads(self.log, lambda: self.now),
        )

    def samples(self) -> dict[str, list[float]]:
        """Scrape: the values of each metric."""
        found: dict[str, list[float]] = {}
        for family in self._collector.collect():
            for sample in family.samples:
                found.setdefault(sample.name, []).append(sample.value)
        return found


FILLING = {Device.DATA: Filling(bytes_per_second=1, lasted_seconds=1, seconds_until_full=9)}
# A guard that extends a pool, and measures how it fills.
BUSY = make_pool_guard(filling=FILLING, queue_seconds_left=50.0)
WATCHED = make_snapshot(
    pools=(make_pool(is_monitored=True, volumes=make_volumes()),),
    dmeventd=Dmeventd(is_alive=True),
    guard=make_guard_report(pools={"docker/thinpool": BUSY}),
)
CLAIMS = (
    *("thinpool_guard_mode", "thinpool_guard_state", "thinpool_fill_bytes_per_second"),
    *("thinpool_seconds_until_full", "thinpool_guard_queue_seconds_left"),
)


@pytest.mark.parametrize("age", [30.0, 30.5])
def test_a_guard_that_completes_no_cycle_claims_nothing(age: float) -> None:
    """After 30 s, by the clock of whoever asks; usage and counters stay, they are read."""
    host = Host(WATCHED)
    before = host.samples()
    host.now += age
    after = host.samples()

    if age == 30:
        assert after == before
        return
    assert before["thinpool_guard_responsible"] == [1]
    assert after["thinpool_guard_responsible"] == [0]
    assert set(CLAIMS) <= set(before)
    assert set(before) - set(after) == set(CLAIMS)


def test_the_collectors_go_on_while_the_guard_is_silent() -> None:
    """A Snapshot is as new as the guard's last cycle is old: the usage in it counts."""
    host = Host(replace(WATCHED, taken_at=TAKEN_AT + 3600))
    host.now += 3600

    found = host.samples()

    assert found["thinpool_guard_responsible"] == [0]
    assert found["thinpool_data_used_bytes"] == [39 * CHUNK_BYTES]
    assert found["thinpool_monitored"] == [1]


def test_an_old_snapshot_says_nothing_of_usage_and_protection() -> None:
    """After 60 s; what alerts on its age need, what has been counted, and sizes stay."""
    host = Host(WATCHED)
    before = host.samples()
    host.now += 60
    assert host.samples().keys() == before.keys() - set(CLAIMS)
    host.now += 0.5
    after = host.samples()

    assert before.keys() - after.keys() == {
        *CLAIMS,
        *USAGE,
        *("thinpool_mode", "thinpool_metadata_snapshot_held"),
        *("thinpool_volume_mapped_bytes", "thinpool_volume_fill_bytes_per_second"),
        *("thinpool_monitored", "thinpool_dmeventd_up", "thinpool_docker_up"),
    }
    assert after["thinpool_guard_responsible"] == [0]
    assert after["thinpool_exporter_snapshot_timestamp_seconds"] == [TAKEN_AT]


def test_a_clock_that_was_set_back_makes_nothing_young() -> None:
    """A Snapshot of the future was taken before somebody set the clock."""
    host = Host(WATCHED)
    host.now -= 3600

    assert host.samples()["thinpool_guard_responsible"] == [0]
    assert "thinpool_data_used_bytes" not in host.samples()


def test_a_guard_that_works_again_is_believed_again() -> None:
    """With its next Snapshot."""
    host = Host(WATCHED)
    host.now += 600
    assert host.samples()["thinpool_guard_responsible"] == [0]
    report = make_guard_report(last_cycle_at=host.now, pools={"docker/thinpool": BUSY})
    host.snapshot = replace(WATCHED, taken_at=host.now, guard=report)

    assert host.samples()["thinpool_guard_responsible"] == [1]


ODD_POOLS = {
    # What no source gives, and a later version of ours may.
    "a row": make_pool(name="odd", kernel=make_kernel_pool(low_water_mark_blocks=None)),
    "a label": make_pool(name="odd", profile=7),
    "a value": make_pool(name="odd", thin_volumes="many"),
}


@pytest.mark.parametrize("odd", ODD_POOLS.values(), ids=ODD_POOLS)
def test_a_pool_that_cannot_be_rendered_costs_no_other(odd: ThinPool) -> None:
    """Nor its own metrics of other subjects; it is logged by its name, and counted."""
    host = Host(make_snapshot(pools=(make_pool(), odd)))
    found = host.samples()

    well = Host(make_snapshot()).samples()
    assert found["thinpool_data_used_bytes"] == well["thinpool_data_used_bytes"]
    assert found["thinpool_autoextend_step_ratio"] == [0.2, 0.2]
    assert well.keys() == found.keys()
    assert {line["name"] for line in host.log.events("failed")} == {"pool", "docker/odd"}
    assert found["thinpool_exporter_render_errors_total"] == [2]
    assert host.samples()["thinpool_exporter_render_errors_total"] == [4]
    assert len(host.log.lines) == 2


def test_a_guards_account_of_one_pool_that_cannot_be_rendered_costs_no_other() -> None:
    """As above, of what the guard says."""
    guards = {"docker/thinpool": make_pool_guard(), "docker/odd": make_pool_guard(steps=None)}
    host = Host(make_snapshot(guard=make_guard_report(pools=guards)))

    assert host.samples()["thinpool_guard_responsible"] == [1]
    assert {line["name"] for line in host.log.events("failed")} == {"guard", "docker/odd"}


def test_a_subject_that_cannot_be_rendered_costs_no_other() -> None:
    """Where it is no pool's fault."""
    group = make_volume_group(extent_bytes=None)
    host = Host(make_snapshot(volume_groups=(group,)))
    found = host.samples()

    assert not [name for name in found if name.startswith("thinpool_vg_")]
    assert found["thinpool_data_used_bytes"] == [39 * CHUNK_BYTES]
    assert found["thinpool_exporter_render_errors_total"] == [2]
    assert {line["name"] for line in host.log.events("failed")} == {"volume_group"}


def test_errors_of_every_stage_are_there_from_the_start() -> None:
    """A counter that appears with its first event hides it."""
    host = Host(make_snapshot(guard=make_guard_report(errors={Stage.DECIDE: 3})))

    assert len(host.samples()["thinpool_guard_errors_total"]) == len(Stage)
    assert values(host.snapshot, "thinpool_guard_errors_total", "decide") == [3]
    assert sum(values(host.snapshot, "thinpool_guard_errors_total")) == 3


def test_of_two_pools_with_equal_labels_the_first_stays() -> None:
    """Two VGs of one name give one series each, all of the first pool."""
    pools = (make_pool(thin_volumes=None), make_pool(thin_volumes=9, profile="other"))
    groups = (make_volume_group(), make_volume_group(size_bytes=1))
    snapshot = make_snapshot(pools=pools, volume_groups=groups)

    assert values(snapshot, "thinpool_thin_volumes") == []
    assert [each["profile"] for each in labels_of(snapshot, "thinpool_info")] == [
        "docker-thinpool"
    ]
    assert values(snapshot, "thinpool_vg_size_bytes") == [5119 * 4 * 1024**2]


def test_allocatable_space_leaves_out_unusable_pvs() -> None:
    """Free extents on a missing PV, or one closed to allocation, do not count."""
    volumes = (
        make_physical_volume(extents=10, allocated_extents=7),
        make_physical_volume(extents=10, allocated_extents=0, is_missing=True),
        make_physical_volume(extents=10, allocated_extents=0, is_allocatable=False),
    )
    group = make_volume_group(physical_volumes=volumes)

    allocatable = values(make_snapshot(volume_groups=(group,)), "thinpool_vg_allocatable_bytes")

    assert allocatable == [3 * 4 * 1024**2]


@pytest.mark.parametrize(
    ("dm_name", "docker_says"),
    [
        ("docker-thinpool", "docker-thinpool"),
        ("docker-thinpool-tpool", "docker-thinpool"),
        ("docker-thinpool", "docker-thinpool-tpool"),
    ],
)
def test_finds_dockers_pool_by_its_device(dm_name: str, docker_says: str) -> None:
    """The suffix of an LVM pool in use may be on either side."""
    pool = make_pool(kernel=make_kernel_pool(dm_name=dm_name))
    snapshot = make_snapshot(pools=(pool,), docker=make_docker(pool_name=docker_says))

    info = labels_of(snapshot, "thinpool_docker_info")

    assert [(each["vg"], each["pool"]) for each in info] == [("docker", "thinpool")]


@pytest.mark.parametrize(
    ("vg_name", "name", "docker_says", "expected"),
    [
        ("docker", "thinpool", None, ("", "")),
        ("docker", "thinpool", "other", ("", "")),
        ("my-vg", "pool-1", "my--vg-pool--1", ("my-vg", "pool-1")),
        ("", "docker-8:1-42-pool", "docker-8:1-42-pool", ("", "docker-8:1-42-pool")),
    ],
)
def test_finds_dockers_pool_by_lvms_rule_without_the_kernel(
    vg_name: str, name: str, docker_says: str | None, expected: tuple[str, str]
) -> None:
    """LVM doubles hyphens in device names; an unknown pool is empty."""
    pool = make_pool(vg_name=vg_name, name=name, kernel=None)
    snapshot = make_snapshot(pools=(pool,), docker=make_docker(pool_name=docker_says))

    (info,) = labels_of(snapshot, "thinpool_docker_info")

    assert (info["vg"], info["pool"]) == expected


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({}, []),
        ({Collector.DOCKER: CollectorState()}, []),
        ({Collector.DOCKER: make_failed_state()}, [0]),
        ({Collector.DOCKER: make_collector_state()}, [1]),
    ],
)
def test_docker_is_up_once_it_answered(
    states: dict[Collector, CollectorState], expected: list[float]
) -> None:
    """Not asked, not known; figures of the last answer stay in any case."""
    snapshot = make_snapshot(collectors=states)

    assert values(snapshot, "thinpool_docker_up") == expected
    assert values(snapshot, "thinpool_docker_data_size_bytes") == [20_400_000_000]


@pytest.mark.parametrize(
    ("driver", "has_loop_files", "expected"),
    [
        ("devicemapper", True, [1]),
        ("devicemapper", False, [0]),
        ("overlay2", False, [0]),
        (None, False, []),
    ],
)
def test_warns_of_loopback(
    driver: str | None, *, has_loop_files: bool, expected: list[float]
) -> None:
    """The warning is about devicemapper on loop devices alone."""
    docker = make_docker(storage_driver=driver, has_loop_files=has_loop_files)

    assert values(make_snapshot(docker=docker), "thinpool_docker_loopback_warning") == expected


def test_loop_devices_show_what_is_under_them() -> None:
    """A pool on loop devices has the free space of the file system below."""
    loop = make_loop(free_bytes=0, promised_bytes=7)
    snapshot = of_pool(kernel=make_kernel_pool(loop=loop))

    assert values(snapshot, "thinpool_loopback") == [1]
    assert values(snapshot, "thinpool_loopback_backing_free_bytes") == [0]
    assert values(snapshot, "thinpool_loopback_backing_promised_bytes") == [7]


def test_counters_are_there_from_the_start() -> None:
    """A pool that was never extended has a 0 for each device and each failure."""
    guard = make_pool_guard(counters={})
    snapshot = make_snapshot(guard=make_guard_report(pools={"docker/thinpool": guard}))

    assert values(snapshot, "thinpool_guard_extends_total") == [0, 0]
    assert values(snapshot, "thinpool_guard_extend_failures_total") == [0] * 2 * len(Failure)
    assert values(snapshot, "thinpool_guard_takeovers_total") == [0]


def test_counters_name_device_and_reason() -> None:
    """A failure counts for its device and reason alone."""
    counters = {Device.METADATA: DeviceCounters(failures={Failure.STUCK: 3})}
    guard = make_pool_guard(counters=counters)
    snapshot = make_snapshot(guard=make_guard_report(pools={"docker/thinpool": guard}))

    stuck = values(snapshot, "thinpool_guard_extend_failures_total", "metadata", "stuck")

    assert stuck == [3]
    assert sum(values(snapshot, "thinpool_guard_extend_failures_total")) == 3


def test_counters_of_a_pool_that_left_the_snapshot_stay() -> None:
    """The guard's account does not depend on what could be read this time."""
    report = make_guard_report(pools={"gone/pool": make_pool_guard(), "dm": make_pool_guard()})
    snapshot = make_snapshot(pools=(), guard=report)

    modes = labels_of(snapshot, "thinpool_guard_mode")

    assert [(each["vg"], each["pool"]) for each in modes] == [("gone", "pool"), ("", "dm")]


@pytest.mark.parametrize("bounds", [(0.5, 1), (0.5, 1, float("inf"))])
def test_histogram_is_cumulative(bounds: tuple[float, ...]) -> None:
    """Counts add up from bucket to bucket; the bound +Inf may be written or not."""
    histogram = make_histogram(bounds=bounds, counts=(2, 0, 1), total_seconds=9.5)
    snapshot = make_snapshot(guard=make_guard_report(extend_durations=histogram))
    name = "thinpool_guard_extend_duration_seconds"

    assert [each["le"] for each in labels_of(snapshot, f"{name}_bucket")] == [
        "0.5",
        "1.0",
        "+Inf",
    ]
    assert values(snapshot, f"{name}_bucket") == [2, 2, 3]
    assert values(snapshot, f"{name}_count") == [3]
    assert values(snapshot, f"{name}_sum") == [9.5]


def test_a_source_that_was_never_read_is_neither_good_nor_bad() -> None:
    """Success is 0 after a failure, and absent before the first attempt."""
    states = {Collector.LVM: CollectorState(), Collector.POLICY: make_failed_state()}
    snapshot = make_snapshot(collectors=states)

    assert labels_of(snapshot, "thinpool_collector_success") == [{"collector": "policy"}]
    assert values(snapshot, "thinpool_collector_success") == [0]


def test_problems_are_counted_beside_the_sources_that_failed() -> None:
    """A host without Docker has none: that source's own metric tells."""
    problems = (
        Problem(subject="docker", message="not installed"),
        Problem(subject="lvs", message="not understood: a/b"),
        Problem(subject="LVM", message="WARNING: a", is_warning=True),
        Problem(subject="lvm.conf", message="b", is_warning=True),
    )
    snapshot = make_snapshot(problems=problems)

    assert values(snapshot, "thinpool_problems") == [1, 2]
    assert labels_of(snapshot, "thinpool_problems") == [
        {"kind": "unreadable"},
        {"kind": "warning"},
    ]


def test_every_help_is_a_sentence() -> None:
    """HELP texts are there, and none is used twice."""
    helps = [family.documentation for family in families(make_snapshot())]

    assert all(text.endswith(".") for text in helps)
    assert len(set(helps)) == len(helps)


def test_dockers_pool_is_the_one_under_its_data() -> None:
    """Where it names none: on a volume of one pool; on none or several it is left open."""
    docker = make_docker(storage_driver="overlay2", pool_name=None)
    two = (("docker", "thinpool"), ("", "other"))
    for pools, expected in (
        ((("docker", "thinpool"),), ("docker", "thinpool")),
        ((), ("", "")),
        (None, ("", "")),
        (two, ("", "")),
    ):
        snapshot = make_snapshot(docker=docker, storage=(make_place(pools=pools),))
        (info,) = labels_of(snapshot, "thinpool_docker_info")
        assert (info["vg"], info["pool"]) == expected


def test_dockers_pool_is_the_one_of_its_images() -> None:
    """Where volumes are kept elsewhere, whatever these are on."""
    images, volumes = (("docker", "thinpool"),), (("", "other"),)
    docker = make_docker(storage_driver="overlayfs", pool_name=None)
    for of_images, expected in ((images, images[0]), ((), ("", "")), (None, ("", ""))):
        places = (
            make_place(path="/var/lib/containerd", holds=Content.IMAGES, pools=of_images),
            make_place(holds=Content.VOLUMES, driver=None, pools=volumes),
        )
        (info,) = labels_of(
            make_snapshot(docker=docker, storage=places), "thinpool_docker_info"
        )
        assert (info["vg"], info["pool"]) == expected


@pytest.mark.parametrize(
    ("vg_name", "name", "dm_name", "given", "expected"),
    [
        ("vgd", "docker-tpool", "vgd-docker--tpool-tpool", "vgd-docker--tpool", True),
        ("vgd", "docker-tpool", "vgd-docker--tpool", "vgd-docker--tpool", True),
        ("vgd", "docker-tpool", "vgd-docker--tpool", "vgd-docker-", False),
        ("vg", "tpool", "vg-tpool-tpool", "vg-tpool", True),
        ("vg", "tpool", "vg-tpool", "vg-tpool", True),
        ("vg", "tpool", "vg-tpool", "vg-tpool-tpool", True),
        ("vgd", "docker", "vgd-docker", "vgd-docker--tpool", False),
        ("vgd", "docker", "vgd-docker-tpool", "vgd-docker--tpool", False),
        ("vgd", "docker", "vgd-docker-tpool", "/dev/vgd/docker", True),
        ("vgd", "docker", "vgd-docker-tpool", "/dev/vgd/dock", False),
    ],
)
def test_a_pool_whose_own_name_ends_like_a_layers(
    vg_name: str, name: str, dm_name: str, given: str, *, expected: bool
) -> None:
    """Its name goes without the layer's suffix, and not without a part of itself."""
    kernel = make_kernel_pool(dm_name=dm_name)

    assert make_pool(vg_name=vg_name, name=name, kernel=kernel).is_called(given) == expected


def test_each_pool_under_an_engines_data_has_a_series() -> None:
    """One with empty names where there is none, and none where that is not known."""
    two = (("docker", "thinpool"), ("", "other"))
    places = (
        make_place(pools=two),
        make_place(engine=Engine.CONTAINERD, driver=None, pools=()),
        make_place(engine=Engine.PODMAN, pools=None),
    )

    found = labels_of(make_snapshot(storage=places), "thinpool_storage_root_info")

    assert [(each["engine"], each["driver"], each["vg"], each["pool"]) for each in found] == [
        ("docker", "overlay2", "docker", "thinpool"),
        ("docker", "overlay2", "", "other"),
        ("containerd", "", "", ""),
    ]
