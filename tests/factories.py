"""Records for tests: the article's host, with whatever a test wants to be different.

One 20 GiB PV in VG `docker`, `lvcreate -l 95%VG` for data and 1 % for metadata, profile
`docker-thinpool` with threshold 80 and step 20, Docker 1.12.6 after its first pull.
"""

from __future__ import annotations

from msgspec.structs import replace

from exporter.model import (
    METADATA_BLOCK_BYTES,
    Collector,
    CollectorState,
    Device,
    DeviceCounters,
    Dmeventd,
    DockerInfo,
    Engine,
    GuardMode,
    GuardNote,
    GuardReport,
    Histogram,
    KernelPool,
    LoopBacking,
    LoopFile,
    LvmPool,
    NextStep,
    PhysicalVolume,
    Policy,
    PoolGuard,
    PoolMode,
    PoolSource,
    PoolStatus,
    ProcessFigures,
    Reason,
    Snapshot,
    StoragePlace,
    ThinPool,
    ThinVolume,
    Usage,
    VolumeGroup,
)

TAKEN_AT = 1_500_000_000.25
EXTENT_BYTES = 4 * 1024**2
CHUNK_BYTES = 512 * 1024
DATA_EXTENTS, METADATA_EXTENTS, VG_EXTENTS = 4863, 51, 5119
USED_EXTENTS = DATA_EXTENTS + 2 * METADATA_EXTENTS  # twice: LVM keeps a spare
VG_UUID = "Sx1nZv-0aQy-4bTd-WfKe-Jh2m-Gc9r-U7oPil"
LV_UUID = "k3VtQe-Yb5w-Lz8c-Rn1x-Ms6d-Hj0g-A4uFyo"


def make_usage(**changes: object) -> Usage:
    """Return data usage after `docker pull busybox`: 20.45 MB of 20.4 GB."""
    usage = Usage(
        used_blocks=39,
        total_blocks=DATA_EXTENTS * EXTENT_BYTES // CHUNK_BYTES,
        block_bytes=CHUNK_BYTES,
    )
    return replace(usage, **changes)


def make_metadata_usage(**changes: object) -> Usage:
    """Return metadata usage after the same: 61.44 kB of 213.9 MB."""
    usage = Usage(
        used_blocks=15,
        total_blocks=METADATA_EXTENTS * EXTENT_BYTES // METADATA_BLOCK_BYTES,
        block_bytes=METADATA_BLOCK_BYTES,
    )
    return replace(usage, **changes)


def make_status(**changes: object) -> PoolStatus:
    """Return the status of a healthy pool on Linux 4.x."""
    status = PoolStatus(
        mode=PoolMode.RW,
        transaction_id=0,
        data=make_usage(),
        metadata=make_metadata_usage(),
        discard="discard_passdown",
        queue_if_no_space=True,
        needs_check=False,
    )
    return replace(status, **changes)


def make_loop(**changes: object) -> LoopBacking:
    """Return what lies under a pool on one sparse file, with 50 GiB left."""
    file = LoopFile(
        device="/dev/loop0", file="/srv/data", file_system="259:1", free_bytes=50 * 1024**3
    )
    return LoopBacking(files=(replace(file, **changes),))


def make_kernel_pool(**changes: object) -> KernelPool:
    """Describe the live target; without the suffix -tpool, since no LV of LVM's uses it."""
    kernel = KernelPool(
        dm_name="docker-thinpool",
        dm_uuid=f"LVM-{VG_UUID}{LV_UUID}".replace("-", "").replace("LVM", "LVM-"),
        device_number="253:4",
        data_device_number="253:3",
        metadata_device_number="253:2",
        chunk_bytes=CHUNK_BYTES,
        low_water_mark_blocks=7780,
        status=make_status(),
    )
    return replace(kernel, **changes)


def make_lvm_pool(**changes: object) -> LvmPool:
    """Describe the pool as lvs does."""
    lvm = LvmPool(
        vg_name="docker",
        vg_uuid=VG_UUID,
        name="thinpool",
        lv_uuid=LV_UUID,
        size_bytes=DATA_EXTENTS * EXTENT_BYTES,
        metadata_size_bytes=METADATA_EXTENTS * EXTENT_BYTES,
        chunk_bytes=CHUNK_BYTES,
        discards="passdown",
        profile="docker-thinpool",
        data_percent=0.1,
        metadata_percent=0.03,
        when_full="queue",
        is_active=True,
        is_suspended=False,
        is_locked=False,
        is_writable=True,
        needs_check=False,
        health="",
        data_segment_type="linear",
        metadata_segment_type="linear",
    )
    return replace(lvm, **changes)


def make_policy(**changes: object) -> Policy:
    """Return the article's profile."""
    policy = Policy(threshold_percent=80, step_percent=20, is_monitoring_enabled=True)
    return replace(policy, **changes)


def make_pool(**changes: object) -> ThinPool:
    """Return docker/thinpool, on a host without dmeventd."""
    pool = ThinPool(
        vg_name="docker",
        name="thinpool",
        source=PoolSource.LVM,
        mode=PoolMode.RW,
        lvm=make_lvm_pool(),
        kernel=make_kernel_pool(),
        policy=make_policy(),
        effective_threshold_percent=80,
        metadata_threshold_percent=80,
        profile="docker-thinpool",
        is_profile_missing=False,
        is_monitored=False,
        monitoring="not monitored",
        thin_volumes=4,
        virtual_size_bytes=4 * 10 * 1024**3,
    )
    return replace(pool, **changes)


def make_volumes() -> tuple[ThinVolume, ...]:
    """Return who fills docker/thinpool: an LV, a container, an image, and a hostile one."""
    docker_s = "docker-253:0-131-" + "5e" * 32
    gib = 1024**3
    return (
        ThinVolume(name="backup", size_bytes=40 * gib, mapped_bytes=21 * gib),
        ThinVolume(
            name=docker_s,
            size_bytes=10 * gib,
            mapped_bytes=3 * gib,
            fill_bytes_per_second=12.5 * 1024**2,
            container="shop",
            image="registry.example/shop:7",
        ),
        ThinVolume(
            name=docker_s.replace("5e", "b1"),
            size_bytes=10 * gib,
            mapped_bytes=gib,
            image="base",
        ),
        ThinVolume(
            name='na"me', size_bytes=gib, mapped_bytes=0, container="\x1b[31m|é", image="\udcff"
        ),
    )


def make_numbered_pool(number: int, **changes: object) -> ThinPool:
    """Return one of many pools, each with a VG of its own."""
    vg_name, name = f"vg{number:03}", "thinpool"
    usage = make_usage(used_blocks=39 + 100 * number)
    pool = make_pool(
        vg_name=vg_name,
        name=name,
        lvm=make_lvm_pool(vg_name=vg_name, name=name),
        kernel=make_kernel_pool(dm_name=f"{vg_name}-{name}", status=make_status(data=usage)),
        thin_volumes=10,
    )
    return replace(pool, **changes)


def make_physical_volume(**changes: object) -> PhysicalVolume:
    """Return the article's one disk."""
    volume = PhysicalVolume(
        name="/dev/sdb",
        vg_name="docker",
        is_allocatable=True,
        is_missing=False,
        extents=VG_EXTENTS,
        allocated_extents=USED_EXTENTS,
    )
    return replace(volume, **changes)


def make_volume_group(**changes: object) -> VolumeGroup:
    """Return VG docker, with 616 MiB left: a sixth of one extension step."""
    group = VolumeGroup(
        name="docker",
        uuid=VG_UUID,
        size_bytes=VG_EXTENTS * EXTENT_BYTES,
        free_bytes=(VG_EXTENTS - USED_EXTENTS) * EXTENT_BYTES,
        extent_bytes=EXTENT_BYTES,
        seqno=7,
        profile=None,
        is_writable=True,
        is_exported=False,
        is_partial=False,
        is_shared=False,
        spare_extents=METADATA_EXTENTS,
        largest_metadata_extents=METADATA_EXTENTS,
        physical_volumes=(make_physical_volume(),),
    )
    return replace(group, **changes)


def make_docker(**changes: object) -> DockerInfo:
    """Return what `docker info` says on the article's host, rounded as it prints."""
    docker = DockerInfo(
        server_version="1.12.6",
        storage_driver="devicemapper",
        root_directory="/var/lib/docker",
        pool_name="docker-thinpool",
        data_used_bytes=20_450_000,
        data_size_bytes=20_400_000_000,
        data_available_bytes=20_380_000_000,
        metadata_used_bytes=61_440,
        metadata_size_bytes=213_900_000,
        metadata_available_bytes=213_800_000,
        min_free_space_bytes=2_039_000_000,
        base_device_size_bytes=10_740_000_000,
        deferred_deleted_devices=0,
    )
    return replace(docker, **changes)


def make_place(**changes: object) -> StoragePlace:
    """Return Docker's data on a thin volume, not by devicemapper."""
    place = StoragePlace(
        engine=Engine.DOCKER,
        path="/var/lib/docker",
        driver="overlay2",
        pools=(("docker", "thinpool"),),
        file_system="xfs",
        source="/dev/mapper/docker-data",
    )
    return replace(place, **changes)


def make_pool_guard(**changes: object) -> PoolGuard:
    """Return a guard at rest: the pool is nearly empty, and nothing was ever done."""
    guard = PoolGuard(
        mode=GuardMode.AUTO,
        is_responsible=True,
        reason=Reason.BELOW_THRESHOLD,
        steps=(
            NextStep(
                device=Device.METADATA,
                wanted_bytes=11 * EXTENT_BYTES,
                possible_bytes=11 * EXTENT_BYTES,
            ),
            NextStep(
                device=Device.DATA,
                wanted_bytes=973 * EXTENT_BYTES,
                possible_bytes=154 * EXTENT_BYTES,
            ),
        ),
        counters={device: DeviceCounters() for device in Device},
        attainable_bytes={
            Device.DATA: (4864 + 154) * EXTENT_BYTES,
            Device.METADATA: (51 + 77) * EXTENT_BYTES,
        },
    )
    return replace(guard, **changes)


def make_histogram(**changes: object) -> Histogram:
    """Return the durations of no extension at all."""
    histogram = Histogram(bounds=(0.1, 0.5, 1, 5, 30), counts=(0, 0, 0, 0, 0, 0))
    return replace(histogram, **changes)


def make_guard_report(**changes: object) -> GuardReport:
    """Report on docker/thinpool alone."""
    report = GuardReport(
        last_cycle_at=TAKEN_AT,
        extend_durations=make_histogram(),
        note=GuardNote(pid=123, mode=GuardMode.AUTO),
        pools={"docker/thinpool": make_pool_guard()},
        process=ProcessFigures(
            cpu_seconds=12.5,
            resident_bytes=40 * 2**20,
            virtual_bytes=200 * 2**20,
            started_at=TAKEN_AT - 3600,
            open_files=30,
            max_files=1024,
        ),
        is_memory_locked=True,
        hook_calls={"done": 2, "failed": 1},
    )
    return replace(report, **changes)


def make_collector_state(**changes: object) -> CollectorState:
    """Return a reading that went well a second ago."""
    state = CollectorState(
        is_ok=True,
        attempted_at=TAKEN_AT - 1,
        succeeded_at=TAKEN_AT - 1,
        duration_seconds=0.125,
    )
    return replace(state, **changes)


def make_failed_state(**changes: object) -> CollectorState:
    """Return a reading that never went well."""
    failed = make_collector_state(is_ok=False, error="no answer", succeeded_at=None)
    return replace(failed, **changes)


def make_collectors(**changes: CollectorState) -> dict[Collector, CollectorState]:
    """Return every source as read without fault, but for those named."""
    states = {collector: make_collector_state() for collector in Collector}
    return states | {Collector(name): state for name, state in changes.items()}


def make_snapshot(**changes: object) -> Snapshot:
    """Return the article's host, guarded."""
    snapshot = Snapshot(
        taken_at=TAKEN_AT,
        is_simulated=False,
        pools=(make_pool(),),
        volume_groups=(make_volume_group(),),
        no_space_timeout_seconds=60.0,
        lvm_version=(2, 2, 166),
        dmeventd=Dmeventd(is_alive=False),
        docker=make_docker(),
        collectors=make_collectors(),
        guard=make_guard_report(),
    )
    return replace(snapshot, **changes)


def make_large_snapshot(count: int, **changes: object) -> Snapshot:
    """Return a host with many pools, each guarded and in a VG of its own."""
    pools = tuple(make_numbered_pool(number) for number in range(count))
    report = make_guard_report(pools={pool.label: make_pool_guard() for pool in pools})
    groups = tuple(make_volume_group(name=pool.vg_name) for pool in pools)
    snapshot = make_snapshot(pools=pools, volume_groups=groups, guard=report)
    return replace(snapshot, **changes)
