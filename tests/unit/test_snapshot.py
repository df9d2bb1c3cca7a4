"""How LVM's, the kernel's and the policy's accounts become one pool each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from exporter.dm_names import split_dm_name
from exporter.model import (
    Collector,
    CollectorState,
    Dmeventd,
    KernelReading,
    KernelThin,
    LvmLayout,
    LvmThin,
    Policies,
    PoolMode,
    PoolSource,
    Problem,
    Snapshot,
    ThinPool,
)
from exporter.snapshot import Readings, build
from tests.factories import (
    make_kernel_pool,
    make_lvm_pool,
    make_policy,
    make_pool,
    make_volume_group,
)

LAYOUT = LvmLayout(
    pools=(make_lvm_pool(),),
    volume_groups=(make_volume_group(),),
    dmeventd=Dmeventd(is_alive=True, pid=7, state="S"),
    monitoring={"docker/thinpool": "monitored"},
)
KERNEL = KernelReading(pools=(make_kernel_pool(),))
POLICIES = Policies(
    by_profile={"": make_policy(threshold_percent=100), "docker-thinpool": make_policy()},
    lvm_version=(2, 3, 16),
)


def merge(
    kernel: KernelReading | None = KERNEL,
    lvm: LvmLayout | None = LAYOUT,
    policies: Policies | None = POLICIES,
    *,
    is_list_old: bool = False,
) -> Snapshot:
    """Merge these readings."""
    readings = Readings(kernel=kernel, lvm=lvm, policies=policies, is_list_old=is_list_old)
    return build(readings, {}, taken_at=1.0)


def only_pool(snapshot: Snapshot) -> ThinPool:
    """Take the only pool."""
    (pool,) = snapshot.pools
    return pool


def test_lvm_and_the_kernel_meet_by_uuid() -> None:
    """One pool with both accounts, its policy, and who monitors it."""
    pool = only_pool(merge())

    assert (pool.label, pool.source, pool.mode) == ("docker/thinpool", "lvm", "rw")
    assert pool.kernel == make_kernel_pool()
    assert pool.policy == make_policy()
    assert (pool.is_monitored, pool.monitoring) == (True, "monitored")
    assert (pool.effective_threshold_percent, pool.metadata_threshold_percent) == (80, 80)
    assert pool.is_profile_missing is False


def test_thresholds_are_those_of_the_lvm_found() -> None:
    """LVM before 2.02.133 takes a threshold below 50 as it is."""
    old = Policies(
        by_profile={"docker-thinpool": make_policy(threshold_percent=40)},
        lvm_version=(2, 2, 98),
    )

    pool = only_pool(merge(policies=old))

    assert (pool.effective_threshold_percent, pool.metadata_threshold_percent) == (40, 40)


def test_a_pool_with_lvms_own_volumes_has_a_suffix() -> None:
    """The device is then another one, but of the same LV."""
    uuid = make_kernel_pool().dm_uuid + "-tpool"
    kernel = make_kernel_pool(dm_name="docker-thinpool-tpool", dm_uuid=uuid)

    pool = only_pool(merge(KernelReading(pools=(kernel,))))

    assert pool.label == "docker/thinpool"
    assert pool.kernel == kernel


def test_nobody_monitors_without_a_live_dmeventd() -> None:
    """Whatever LVM said last."""
    dead = replace(LAYOUT, dmeventd=Dmeventd(is_alive=False))
    unseen = replace(LAYOUT, dmeventd=Dmeventd(is_alive=None))
    silent = replace(LAYOUT, monitoring={})

    assert only_pool(merge(lvm=dead)).is_monitored is False
    assert only_pool(merge(lvm=unseen)).is_monitored is None
    assert only_pool(merge(lvm=silent)).is_monitored is None


def test_monitoring_that_is_switched_off_counts_as_none() -> None:
    """seg_monitor is blank then, though dmeventd lives, for other VGs perhaps."""
    policy = make_policy(is_monitoring_enabled=False)
    policies = replace(POLICIES, by_profile={"docker-thinpool": policy})
    blank = replace(LAYOUT, monitoring={"docker/thinpool": ""})

    assert only_pool(merge(lvm=blank, policies=policies)).is_monitored is False
    assert only_pool(merge(lvm=blank)).is_monitored is None


def test_without_the_kernel_the_mode_is_unknown() -> None:
    """An active pool is not inactive because device-mapper cannot be asked; lvs may know."""
    silent = LvmLayout(pools=(make_lvm_pool(data_percent=None),))
    unread = KernelReading(problems=(Problem(subject="docker-thinpool", message="no"),))
    assert only_pool(merge(kernel=None)).mode is PoolMode.RW
    assert only_pool(merge(kernel=None, lvm=silent)).mode is PoolMode.UNKNOWN
    assert only_pool(merge(kernel=KernelReading())).mode is PoolMode.INACTIVE
    assert only_pool(merge(kernel=unread)).mode is PoolMode.RW
    assert only_pool(merge(kernel=KernelReading(), is_list_old=True)).mode is PoolMode.RW


def test_without_lvm_the_kernel_still_shows_the_pool() -> None:
    """Under LVM's names, so that its series go on; but its layout is unknown."""
    pool = only_pool(merge(lvm=None))

    assert (pool.vg_name, pool.name, pool.source) == ("docker", "thinpool", PoolSource.LVM)
    assert pool.lvm is None
    assert pool.policy is None


def test_a_pool_of_others_keeps_its_device_name() -> None:
    """Docker's loop pool belongs to no VG."""
    kernel = make_kernel_pool(dm_name="docker-253:0-1-pool", dm_uuid="")

    pools = merge(KernelReading(pools=(*KERNEL.pools, kernel))).pools

    assert [pool.label for pool in pools] == ["docker/thinpool", "docker-253:0-1-pool"]
    assert pools[1].source is PoolSource.DEVICE_MAPPER


@pytest.mark.parametrize(
    ("vg", "lv", "dm_name", "is_renamed"),
    [
        ("docker", "thinpool", "docker-thinpool", False),
        ("docker", "thinpool", "docker-thinpool-tpool", False),
        ("a-b", "c-tpool", "a--b-c--tpool", False),
        ("a-b", "c-tpool", "a--b-c--tpool-tpool", False),
        ("docker", "thinpool", "docker-other", True),
        ("docker", "thinpool", "new-thinpool-tpool", True),
        ("a-b", "c", "a-b-c", True),
    ],
)
def test_a_rename_is_seen_in_the_kernel(
    vg: str,
    lv: str,
    dm_name: str,
    is_renamed: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Before LVM has been asked again."""
    pool = make_pool(
        lvm=make_lvm_pool(vg_name=vg, name=lv), kernel=make_kernel_pool(dm_name=dm_name)
    )

    assert pool.is_renamed == is_renamed
    assert not replace(pool, kernel=None).is_renamed


def test_of_two_pools_of_one_name_the_live_one_stands() -> None:
    """A disk of another host has brought a VG of this one's name: one label, one pool."""
    cloned = make_lvm_pool(vg_uuid="other", is_active=False)

    for pools in ((cloned, make_lvm_pool()), (make_lvm_pool(), cloned)):
        assert only_pool(merge(lvm=replace(LAYOUT, pools=pools))).mode is PoolMode.RW


def test_thin_volumes_are_lvms_and_the_live_ones_of_others() -> None:
    """LVM's count even when inactive, and are not counted twice when active."""
    own = LvmThin(
        vg_name="docker", name="lv", lv_uuid="x", pool_name="thinpool", size_bytes=1000
    )
    thin = KernelThin(
        dm_name="docker-1", dm_uuid="", pool_device_number="253:4", thin_id=1, size_bytes=10
    )
    live = replace(thin, dm_name="docker-lv", dm_uuid="LVM-own")
    elsewhere = replace(thin, dm_name="other", pool_device_number="253:9")
    kernel = replace(KERNEL, thins=(thin, live, elsewhere))

    pool = only_pool(merge(kernel, replace(LAYOUT, thins=(own,))))

    assert (pool.thin_volumes, pool.virtual_size_bytes) == (2, 1010)


def test_a_missing_profile_is_known_as_such() -> None:
    """LVM falls back to the policy without one; a profile not read yet is unknown."""
    fallback = make_policy(threshold_percent=100)
    missing = replace(
        POLICIES,
        by_profile={"": fallback, "docker-thinpool": fallback},
        unreadable_profiles={"docker-thinpool": "stat failed"},
    )
    unread = Policies(by_profile={"": fallback})

    snapshot = merge(policies=missing)
    assert only_pool(snapshot).is_profile_missing is True
    assert [problem.subject for problem in snapshot.problems] == ["profile docker-thinpool"]
    assert only_pool(merge(policies=unread)).is_profile_missing is None
    assert only_pool(merge(policies=unread)).policy is None


def test_the_vgs_profile_serves_pools_without_their_own() -> None:
    """As LVM resolves it."""
    layout = replace(
        LAYOUT,
        pools=(make_lvm_pool(profile=None),),
        volume_groups=(make_volume_group(profile="docker-thinpool"),),
    )

    assert only_pool(merge(lvm=layout)).policy == make_policy()


def test_failed_sources_are_problems() -> None:
    """They name the source and say what happened."""
    states = {Collector.DOCKER: CollectorState(error="no answer", attempted_at=1.0)}

    (problem,) = build(Readings(), states, taken_at=1.0).problems

    assert (problem.subject, problem.message) == ("docker", "no answer")


NAMES = st.text("abc-._+", min_size=1, max_size=12).filter(
    lambda name: not name.startswith("-") and not name.endswith("-")
)


@given(
    NAMES | st.just("a-tpool"),
    NAMES | st.sampled_from(["x-tpool", "tpool"]),
    st.sampled_from(["", "-tpool"]),
)
def test_device_names_give_back_vg_and_lv(group: str, volume: str, suffix: str) -> None:
    """LVM doubles every dash in either name."""
    dm_name = f"{group.replace('-', '--')}-{volume.replace('-', '--')}{suffix}"

    assert split_dm_name(dm_name) == (group, volume)


@given(st.text(max_size=40))
def test_any_device_name_is_split_or_is_not_lvms(name: str) -> None:
    """No name of others makes it fail."""
    assert split_dm_name(name) is None or len(split_dm_name(name) or ()) == 2
