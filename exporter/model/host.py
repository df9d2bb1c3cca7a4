"""What the sources return: LVM's, the kernel's, dmeventd's and Docker's own accounts."""

from __future__ import annotations

from msgspec import Struct

from exporter.model.loop import LoopBacking
from exporter.model.words import PoolMode

SECTOR_BYTES = 512
METADATA_BLOCK_BYTES = 4096  # dm-thin-metadata.h: THIN_METADATA_BLOCK_SIZE
# Of a larger metadata LV the kernel is given no more by some LVMs; lib/activate/dev_manager.c
# and libdm's DM_THIN_MAX_METADATA_SIZE, in sectors.
MAX_METADATA_BYTES = 33161216 // 8 * METADATA_BLOCK_BYTES


class Problem(Struct, frozen=True, kw_only=True):
    """Something that could not be read or makes no sense; `subject` names the thing.

    `is_warning`: everything was read, and this is what somebody should know of it.
    """

    subject: str
    message: str
    is_warning: bool = False


class Usage(Struct, frozen=True, kw_only=True):
    """Blocks of one device, as the kernel counts them."""

    used_blocks: int
    total_blocks: int
    block_bytes: int

    @property
    def used_bytes(self) -> int:
        """Space in use."""
        return self.used_blocks * self.block_bytes

    @property
    def total_bytes(self) -> int:
        """Space that the kernel can use, which may be less than the LV's size."""
        return self.total_blocks * self.block_bytes


class PoolStatus(Struct, frozen=True, kw_only=True):
    """One reading of a pool's device-mapper status line, or what lvs says of the same.

    Source: kernel admin-guide/device-mapper/thin-provisioning.rst. Old kernels leave
    out trailing words, and `Fail` or `Error` stand alone: those fields are None.
    """

    mode: PoolMode
    transaction_id: int | None = None
    data: Usage | None = None
    metadata: Usage | None = None
    held_root_block: int | None = None
    discard: str | None = None
    queue_if_no_space: bool | None = None
    needs_check: bool | None = None
    is_suspended: bool = False
    event_number: int = 0

    @property
    def is_known(self) -> bool:
        """Whether it says how full the pool is, or that the pool has failed."""
        return self.data is not None or self.mode is PoolMode.FAILED

    @property
    def sizes(self) -> tuple[int | None, int | None]:
        """Total blocks of data and of metadata."""
        return (
            self.data.total_blocks if self.data else None,
            self.metadata.total_blocks if self.metadata else None,
        )


UNKNOWN_STATUS = PoolStatus(mode=PoolMode.UNKNOWN)


class KernelPool(Struct, frozen=True, kw_only=True):
    """A live thin-pool target: its table and its status."""

    dm_name: str
    dm_uuid: str
    device_number: str  # "253:4"
    data_device_number: str
    metadata_device_number: str
    chunk_bytes: int
    low_water_mark_blocks: int
    status: PoolStatus
    loop: LoopBacking | None = None


class KernelThin(Struct, frozen=True, kw_only=True):
    """A live thin target.

    `mapped_bytes` are those of the pool that it maps, shared with snapshots or not.
    """

    dm_name: str
    dm_uuid: str
    pool_device_number: str
    thin_id: int
    size_bytes: int
    mapped_bytes: int | None = None


class VolumeOwner(Struct, frozen=True, kw_only=True):
    """Whose a thin volume of Docker's is; without a container it is a layer of an image."""

    container: str | None = None
    image: str | None = None


class KernelReading(Struct, frozen=True, kw_only=True):
    """Every thin pool and thin volume that device-mapper knows."""

    pools: tuple[KernelPool, ...] = ()
    thins: tuple[KernelThin, ...] = ()
    problems: tuple[Problem, ...] = ()


class LvmPool(Struct, frozen=True, kw_only=True):
    """A thin pool as LVM describes it (lvs).

    Sizes are those of the LVs; `data_stripes` and `data_areas` describe the last
    segment of the data LV: areas is the number of PVs that one extension step needs
    at the same time (none where the data takes nothing of the VG), stripes how many of
    these add to the size. `data_allocation` and `metadata_allocation` are policies of their
    own, as lvm(8) names them; None where the VG's counts.
    """

    vg_name: str
    vg_uuid: str
    name: str
    lv_uuid: str
    size_bytes: int
    metadata_size_bytes: int
    chunk_bytes: int
    discards: str | None
    profile: str | None
    data_percent: float | None
    metadata_percent: float | None
    when_full: str | None
    is_active: bool | None
    is_suspended: bool | None
    is_locked: bool
    is_writable: bool
    needs_check: bool | None
    health: str | None
    # The hidden LVs with its metadata and its data that are active although the pool is not.
    active_components: tuple[str, ...] = ()
    data_segment_type: str | None = None
    data_stripes: int = 1
    data_areas: int = 1
    data_stripe_bytes: int = 0
    metadata_segment_type: str | None = None
    metadata_areas: int = 1
    data_allocation: str | None = None
    metadata_allocation: str | None = None

    @property
    def label(self) -> str:
        """`vg/pool` as LVM's commands take it."""
        return f"{self.vg_name}/{self.name}"

    @property
    def status(self) -> PoolStatus | None:
        """The status by lvs, which serves while the kernel does not give it; None: unknown.

        Units: lvs prints hundredths of a percent, so used blocks are right to 1/10,000.
        Source: lvmthin(7); lv_health_status in lvs(8).
        """
        data = _by_percent(self.data_percent, self.size_bytes, self.chunk_bytes)
        metadata = _by_percent(
            self.metadata_percent,
            min(self.metadata_size_bytes, MAX_METADATA_BYTES),
            METADATA_BLOCK_BYTES,
        )
        if self.health == "failed" and self.is_active:
            return PoolStatus(mode=PoolMode.FAILED)  # lvs then prints no percentages
        if data is None or metadata is None or self.is_active is False:
            return None
        return PoolStatus(
            mode=_MODE_BY_HEALTH.get(self.health or "", PoolMode.UNKNOWN),
            data=data,
            metadata=metadata,
            queue_if_no_space={"queue": True, "error": False}.get(self.when_full or ""),
            needs_check=self.needs_check,
            is_suspended=bool(self.is_suspended),
        )


_MODE_BY_HEALTH = {
    "": PoolMode.RW,
    "out_of_data": PoolMode.OUT_OF_DATA_SPACE,
    "metadata_read_only": PoolMode.RO,
    "failed": PoolMode.FAILED,
}


def _by_percent(percent: float | None, size_bytes: int, block_bytes: int) -> Usage | None:
    if percent is None or not 0 <= percent <= 100 or not 0 < block_bytes <= size_bytes:  # noqa: PLR2004 - percent
        return None
    total = size_bytes // block_bytes
    return Usage(
        used_blocks=round(total * percent / 100), total_blocks=total, block_bytes=block_bytes
    )


class LvmThin(Struct, frozen=True, kw_only=True):
    """A thin volume that LVM owns."""

    vg_name: str
    name: str
    lv_uuid: str
    pool_name: str
    size_bytes: int


class PhysicalVolume(Struct, frozen=True, kw_only=True):
    """One PV; only those that are allocatable and present can serve an extension."""

    name: str
    vg_name: str
    is_allocatable: bool
    is_missing: bool
    extents: int
    allocated_extents: int

    @property
    def usable_free_extents(self) -> int:
        """Extents that lvextend may take from this PV."""
        if not self.is_allocatable or self.is_missing:
            return 0
        return max(0, self.extents - self.allocated_extents)


class VolumeGroup(Struct, frozen=True, kw_only=True):
    """A VG with its PVs. `spare_extents` is the size of the pool metadata spare LV.

    `is_foreign`: its system ID is another host's. `has_stale_hints`: a command that goes by
    LVM's hints misses a disk that is there. `has_duplicate_pvs`: LVM sees one of its PVs on
    two devices.
    """

    name: str
    uuid: str
    size_bytes: int
    free_bytes: int
    extent_bytes: int
    seqno: int
    profile: str | None
    is_writable: bool
    is_exported: bool
    is_partial: bool
    is_shared: bool
    is_clustered: bool = False
    system_id: str | None = None
    is_foreign: bool = False
    has_stale_hints: bool = False
    has_duplicate_pvs: bool = False
    allocation: str | None = None
    spare_extents: int = 0
    largest_metadata_extents: int = 0
    physical_volumes: tuple[PhysicalVolume, ...] = ()

    @property
    def usable_free_extents(self) -> int:
        """Extents on present PVs that may be allocated from."""
        return sum(volume.usable_free_extents for volume in self.physical_volumes)


class Dmeventd(Struct, frozen=True, kw_only=True):
    """Whether a dmeventd process lives; `state` is its letter in /proc/PID/stat."""

    is_alive: bool | None
    pid: int | None = None
    state: str | None = None

    @property
    def is_answering(self) -> bool:
        """Whether it may be asked: a stopped or dead one never replies."""
        return bool(self.is_alive) and self.state not in {"T", "t", "Z", "X"}


class LvmLayout(Struct, frozen=True, kw_only=True):
    """Everything that LVM says about the VGs of the host, at one time.

    VGs that share a name are in `same_named_groups`: LVM changes none of them by that name.
    """

    pools: tuple[LvmPool, ...] = ()
    thins: tuple[LvmThin, ...] = ()
    volume_groups: tuple[VolumeGroup, ...] = ()
    same_named_groups: tuple[VolumeGroup, ...] = ()
    # by "vg/pool": seg_monitor's own word; nothing where dmeventd could not be asked
    monitoring: dict[str, str] = {}
    dmeventd: Dmeventd = Dmeventd(is_alive=None)
    problems: tuple[Problem, ...] = ()


class Policy(Struct, frozen=True, kw_only=True):
    """The autoextend policy in force for one profile (percent, as LVM writes it).

    `threshold_percent` 100 or more means never. LVM uses 50 for anything lower.
    """

    threshold_percent: int
    step_percent: int
    is_monitoring_enabled: bool | None = None

    @property
    def is_off(self) -> bool:
        """Whether LVM would never extend, neither data nor metadata."""
        return self.threshold_percent >= 100  # noqa: PLR2004 - LVM's own constant


class LvmSettings(Struct, frozen=True, kw_only=True):
    """Settings of lvm.conf that decide whether LVM can extend and activate pools.

    `thin_command` is what dmeventd runs when a pool fills, None if LVM does not say.
    `missing_thin_check` is the configured thin_check program, if it is not installed.
    """

    thin_command: str | None = None
    missing_thin_check: str | None = None

    @property
    def replaced_thin_command(self) -> str | None:
        """What dmeventd runs instead of extending the pool; None if it extends.

        dmeventd runs what begins with `lvm ` itself, and anything else as one program.
        Source: lvm2 daemons/dmeventd/plugins/thin/dmeventd_thin.c, register_device.
        """
        words = (self.thin_command or "").split()
        extends = words[:2] == ["lvm", "lvextend"] and "--use-policies" in words
        return None if not words or extends else self.thin_command


class Policies(Struct, frozen=True, kw_only=True):
    """Policy by profile name ("" without one), and the profiles LVM cannot read.

    `faults`: settings of lvm.conf's that are of no use, for which LVM takes its defaults.
    """

    by_profile: dict[str, Policy]
    unreadable_profiles: dict[str, str] = {}
    faults: tuple[str, ...] = ()
    lvm_version: tuple[int, int, int] | None = None


class DockerInfo(Struct, frozen=True, kw_only=True):
    """What Docker says of itself. Sizes are rounded to four digits: never decide on them."""

    server_version: str | None = None
    storage_driver: str | None = None
    root_directory: str | None = None
    # Images and containers are containerd's, as by default since Docker 29.
    has_containerd_store: bool = False
    containerd_socket: str | None = None
    pool_name: str | None = None
    has_loop_files: bool = False
    data_loop_file: str | None = None
    metadata_loop_file: str | None = None
    data_used_bytes: int | None = None
    data_size_bytes: int | None = None
    data_available_bytes: int | None = None
    metadata_used_bytes: int | None = None
    metadata_size_bytes: int | None = None
    metadata_available_bytes: int | None = None
    min_free_space_bytes: int | None = None
    base_device_size_bytes: int | None = None
    deferred_deleted_devices: int | None = None
