"""The Snapshots whose whole exposition is kept beside this file."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from exporter.model import (
    UNKNOWN_STATUS,
    Device,
    DeviceCounters,
    Dmeventd,
    DockerInfo,
    Engine,
    Failure,
    Filling,
    GuardMode,
    PoolMode,
    PoolSource,
    Reason,
    Snapshot,
    Stage,
)
from tests.factories import (
    EXTENT_BYTES,
    TAKEN_AT,
    make_collectors,
    make_docker,
    make_failed_state,
    make_guard_report,
    make_histogram,
    make_kernel_pool,
    make_large_snapshot,
    make_loop,
    make_lvm_pool,
    make_place,
    make_policy,
    make_pool,
    make_pool_guard,
    make_snapshot,
    make_status,
    make_usage,
    make_volume_group,
    make_volumes,
)

HOSTILE = 'a"b\\c\nd\te{f="g"} é \udcff'
FILLING = Filling(bytes_per_second=1e6, lasted_seconds=60.0, seconds_until_full=20_400.0)
LOOP_POOL = "docker-253:0-201549152-pool"


def article() -> Snapshot:
    """Return the article's host."""
    return make_snapshot()


def loopback() -> Snapshot:
    """Return the article's host before its move: Docker on sparse files."""
    loop = make_loop(
        file="/var/lib/docker/devicemapper/devicemapper/data",
        file_system="253:0",
        file_system_type="xfs",
        free_bytes=41_520_000_000,
        promised_bytes=106_413_948_928,
    )
    usage = make_usage(used_blocks=14_652, total_blocks=1_638_400, block_bytes=65_536)
    kernel = make_kernel_pool(
        dm_name=LOOP_POOL,
        dm_uuid="",
        chunk_bytes=65_536,
        low_water_mark_blocks=32_768,
        status=make_status(data=usage, discard="ignore_discard"),
        loop=loop,
    )
    pool = make_pool(
        vg_name="",
        name=LOOP_POOL,
        source=PoolSource.DEVICE_MAPPER,
        lvm=None,
        kernel=kernel,
        policy=None,
        effective_threshold_percent=None,
        metadata_threshold_percent=None,
        profile=None,
        is_profile_missing=None,
        is_monitored=None,
    )
    guard = make_pool_guard(is_responsible=False, reason=Reason.NOT_LVM, steps=())
    return make_snapshot(
        pools=(pool,),
        volume_groups=(),
        docker=make_docker(pool_name=LOOP_POOL, has_loop_files=True),
        guard=make_guard_report(pools={LOOP_POOL: guard}),
    )


def inactive() -> Snapshot:
    """Return a pool that is not active: LVM knows it, the kernel does not."""
    lvm = make_lvm_pool(is_active=False, data_percent=None, metadata_percent=None)
    pool = make_pool(mode=PoolMode.INACTIVE, kernel=None, lvm=lvm, thin_volumes=None)
    guard = make_pool_guard(is_responsible=False, reason=Reason.INACTIVE, steps=())
    return make_snapshot(
        pools=(pool,),
        docker=None,
        collectors=make_collectors(docker=make_failed_state()),
        guard=make_guard_report(pools={pool.label: guard}),
    )


def failed() -> Snapshot:
    """Return a pool whose status is the word Fail alone."""
    kernel = make_kernel_pool(status=make_status_of_failure())
    pool = make_pool(mode=PoolMode.FAILED, kernel=kernel)
    guard = make_pool_guard(is_responsible=False, reason=Reason.FAILED, steps=())
    return make_snapshot(pools=(pool,), guard=make_guard_report(pools={pool.label: guard}))


def make_status_of_failure() -> object:
    """Return the status of which nothing but the mode is known."""
    nothing = dict.fromkeys(
        ("transaction_id", "data", "metadata", "discard", "queue_if_no_space", "needs_check")
    )
    return make_status(mode=PoolMode.FAILED, **nothing)


def unknown() -> Snapshot:
    """Return a host of which nothing could be read, and that has no guard."""
    return make_snapshot(
        pools=(),
        volume_groups=(),
        lvm_version=None,
        dmeventd=Dmeventd(is_alive=None),
        docker=None,
        collectors=dict.fromkeys(make_collectors(), make_failed_state()),
        guard=None,
    )


def monitored() -> Snapshot:
    """Return a pool that dmeventd watches over, with a policy out of LVM's bounds."""
    pool = make_pool(
        is_monitored=True,
        policy=make_policy(threshold_percent=30),
        effective_threshold_percent=50,
        metadata_threshold_percent=50,
        is_profile_missing=True,
    )
    guard = make_pool_guard(is_responsible=False, reason=Reason.DMEVENTD_MONITORS)
    return make_snapshot(
        pools=(pool,),
        dmeventd=Dmeventd(is_alive=True, pid=812, state="S"),
        docker=DockerInfo(server_version="29.0.0", storage_driver="overlay2"),
        storage=(
            make_place(),
            make_place(
                engine=Engine.CONTAINERD, path="/var/lib/containerd", driver=None, pools=()
            ),
            make_place(engine=Engine.PODMAN, path="/srv/podman", pools=None, unknown="hidden"),
        ),
        guard=make_guard_report(pools={pool.label: guard}),
    )


def latched() -> Snapshot:
    """Return a guard that gave a pool all there was, and was refused the next time."""
    used = make_usage(used_blocks=38_000)
    pool = make_pool(kernel=make_kernel_pool(status=make_status(data=used)))
    data = DeviceCounters(
        extends=2, extended_bytes=254 * EXTENT_BYTES, failures={Failure.REFUSED: 1}
    )
    guard = make_pool_guard(
        mode=GuardMode.ALWAYS,
        reason=Reason.LATCHED_REFUSED,
        counters={Device.DATA: data},
        clamped_extends=1,
        anticipated_extends=1,
        takeovers=2,
        last_extend_at=TAKEN_AT - 60,
    )
    durations = make_histogram(counts=(0, 1, 1, 0, 0, 1), total_seconds=43.25)
    report = make_guard_report(pools={pool.label: guard}, extend_durations=durations)
    group = make_volume_group(free_bytes=0, physical_volumes=())
    return make_snapshot(pools=(pool,), volume_groups=(group,), guard=report)


def kernel_mute() -> Snapshot:
    """Return a host whose kernel cannot be asked: the percentages of lvs serve."""
    lvm = make_lvm_pool(data_percent=83.47, metadata_percent=12.5)
    pool = make_pool(
        kernel=None,
        lvm=lvm,
        policy=make_policy(threshold_percent=100),
        effective_threshold_percent=100,
        metadata_threshold_percent=None,
    )
    guard = make_pool_guard(is_responsible=False, reason=Reason.POLICY_OFF)
    return make_snapshot(
        pools=(pool,),
        collectors=make_collectors(device_mapper=make_failed_state()),
        guard=make_guard_report(pools={pool.label: guard}),
    )


def hostile() -> Snapshot:
    """Return names that nobody should give, and two pools of one name."""
    kernel = make_kernel_pool(dm_name=HOSTILE, dm_uuid=HOSTILE)
    pool = make_pool(vg_name=HOSTILE, name=HOSTILE, kernel=kernel, profile=HOSTILE)
    twin = make_pool(vg_name=HOSTILE, name=HOSTILE, thin_volumes=99)
    group = make_volume_group(name=HOSTILE)
    return make_snapshot(
        pools=(pool, twin),
        volume_groups=(group, make_volume_group(name=HOSTILE, size_bytes=1)),
        docker=make_docker(server_version=HOSTILE, pool_name=HOSTILE),
        storage=(
            make_place(
                path=HOSTILE, driver=HOSTILE, pools=((HOSTILE, HOSTILE), (HOSTILE, "x"))
            ),
        ),
        guard=make_guard_report(pools={pool.label: make_pool_guard()}),
    )


def filled() -> Snapshot:
    """Return a host that tells who fills its pool."""
    return make_snapshot(pools=(make_pool(volumes=make_volumes()),))


def unread() -> Snapshot:
    """Return a pool that neither the kernel nor LVM has told of for long: a size, no usage."""
    lvm = make_lvm_pool(data_percent=None, metadata_percent=None)
    kernel = make_kernel_pool(status=UNKNOWN_STATUS)
    pool = make_pool(mode=PoolMode.UNKNOWN, kernel=kernel, lvm=lvm)
    guard = make_pool_guard(is_responsible=False, reason=Reason.USAGE_UNKNOWN)
    report = make_guard_report(pools={pool.label: guard}, errors={Stage.POLL: 41})
    return make_snapshot(pools=(pool,), guard=report)


def silent_guard() -> Snapshot:
    """Return a host whose guard completes no cycle; the collectors go on."""
    pool = make_pool(volumes=make_volumes())
    guard = make_pool_guard(filling={Device.DATA: FILLING}, queue_seconds_left=12.5)
    report = make_guard_report(last_cycle_at=TAKEN_AT - 45, pools={pool.label: guard})
    return make_snapshot(pools=(pool,), guard=report)


def old() -> Snapshot:
    """Return a host whose guard is dead: nothing has been published for a while."""
    snapshot = silent_guard()
    return replace(
        snapshot,
        taken_at=TAKEN_AT - 61,
        pools=(replace(snapshot.pools[0], is_monitored=True), *loopback().pools),
        dmeventd=Dmeventd(is_alive=True, pid=812, state="S"),
    )


def many() -> Snapshot:
    """Return a host with several pools."""
    return make_large_snapshot(5)


SNAPSHOTS: dict[str, Callable[[], Snapshot]] = {
    make.__name__: make
    for make in (
        article,
        loopback,
        inactive,
        failed,
        unknown,
        monitored,
        latched,
        kernel_mute,
        hostile,
        many,
        filled,
        unread,
        silent_guard,
        old,
    )
}
