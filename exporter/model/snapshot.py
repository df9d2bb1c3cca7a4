"""The Snapshot: everything known about the host and the guard at one time."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, structs

from exporter.dm_names import (
    POOL_LAYER,
    POOL_LAYER_SUFFIX,
    STRATIS_PREFIX,
    join_dm_name,
)
from exporter.model.guard import GuardReport
from exporter.model.host import (
    Dmeventd,
    DockerInfo,
    KernelPool,
    LvmPool,
    LvmSettings,
    Policy,
    PoolStatus,
    Problem,
    Usage,
    VolumeGroup,
)
from exporter.model.storage import StoragePlace
from exporter.model.words import Absence, Collector, Content, Engine, PoolMode, PoolSource


class CollectorState(Struct, frozen=True, kw_only=True):
    """How the last reading of one source went; times are seconds since the epoch.

    `succeeded_at` is the age of the value in use: a failed reading leaves it standing.
    `absence` is set if there is nothing to read on this host, which is wrong only if the
    configuration requires it.
    """

    is_ok: bool = False
    error: str | None = None
    attempted_at: float | None = None
    succeeded_at: float | None = None
    duration_seconds: float | None = None
    absence: Absence | None = None
    is_required: bool = False


class ConfigurationState(Struct, frozen=True, kw_only=True):
    """The settings in force: since when (seconds since the epoch), and why no newer ones."""

    loaded_at: float
    error: str | None = None


class Maintenance(Struct, frozen=True, kw_only=True):
    """Planned work on the host: when it ends (seconds since the epoch), and why."""

    until: float
    reason: str = ""


class ThinVolume(Struct, frozen=True, kw_only=True):
    """One live thin volume; `name` is the LV's, else device-mapper's.

    What it maps it may share with snapshots, and with the image that it began as. It gains
    `fill_bytes_per_second`, None while it gains nothing.
    """

    name: str
    size_bytes: int
    mapped_bytes: int
    fill_bytes_per_second: float | None = None
    container: str | None = None
    image: str | None = None


class ThinPool(Struct, frozen=True, kw_only=True):
    """One thin pool: LVM's description, the kernel's figures, and its policy."""

    vg_name: str  # "" when LVM does not own the pool
    name: str  # the LV's name, else the device-mapper name
    source: PoolSource
    mode: PoolMode
    lvm: LvmPool | None = None
    kernel: KernelPool | None = None
    policy: Policy | None = None
    # What LVM makes of the policy; for metadata it depends on the LV's size as well.
    effective_threshold_percent: int | None = None
    metadata_threshold_percent: int | None = None
    profile: str | None = None
    is_profile_missing: bool | None = None
    is_monitored: bool | None = None
    monitoring: str | None = None
    thin_volumes: int | None = None
    virtual_size_bytes: int | None = None
    # Of the live ones those that map most, and those that grow fastest; the largest first.
    volumes: tuple[ThinVolume, ...] = ()

    @property
    def label(self) -> str:
        """`vg/pool` as LVM's commands take it, or the device-mapper name."""
        return f"{self.vg_name}/{self.name}" if self.vg_name else self.name

    @property
    def device_name(self) -> str:
        """Name the pool's device, by LVM's rule where the kernel does not tell."""
        if self.kernel:
            return self.kernel.dm_name
        if not self.vg_name:
            return self.name
        return join_dm_name(self.vg_name, self.name)

    def is_called(self, device: str | None) -> bool:
        """Whether an engine that was given this device uses this pool.

        LVM may keep the pool in a device below the one of its name.
        """
        if not device:
            return False
        ours = self.device_name
        # A name may end in -tpool without being a layer's: VG "vg" may have a pool "tpool".
        pool, layer = sorted((device, ours), key=len)
        is_layer = layer == pool + POOL_LAYER_SUFFIX and POOL_LAYER.search(layer) is not None
        return is_layer or device in {ours, f"/dev/{self.label}"}

    @property
    def is_stratis(self) -> bool:
        """Whether stratisd made the pool, and so extends it; told by its name."""
        return not self.vg_name and self.name.startswith(STRATIS_PREFIX)

    @property
    def is_renamed(self) -> bool:
        """Whether the kernel has it under other names than LVM told, which are then old."""
        if self.lvm is None or self.kernel is None:
            return False
        own = join_dm_name(self.lvm.vg_name, self.lvm.name)
        return self.kernel.dm_name not in {own, f"{own}{POOL_LAYER_SUFFIX}"}

    @property
    def status(self) -> PoolStatus | None:
        """The status by the kernel, or by lvs while the kernel does not give it.

        None while neither does. What was read too long ago has been taken out of both.
        """
        if self.kernel and self.kernel.status.is_known:
            return self.kernel.status
        if self.lvm is None or self.mode is PoolMode.INACTIVE:
            return None
        return self.lvm.status

    @property
    def is_by_kernel(self) -> bool:
        """Whether `status` is the kernel's."""
        return self.kernel is not None and self.kernel.status.is_known

    @property
    def data(self) -> Usage | None:
        """Data usage, exact if the kernel gives it; None: unknown."""
        return self.status.data if self.status else None

    @property
    def metadata(self) -> Usage | None:
        """Metadata usage, exact if the kernel gives it; None: unknown."""
        return self.status.metadata if self.status else None

    def with_kernel(self, kernel: KernelPool) -> ThinPool:
        """Return the pool with another reading of the kernel's."""
        pool = structs.replace(self, kernel=kernel, mode=PoolMode.UNKNOWN)
        status = pool.status or kernel.status
        return structs.replace(pool, mode=status.mode)


class Snapshot(Struct, frozen=True, kw_only=True):
    """Everything known about the host at one time (seconds since the epoch).

    The parts of a source without a value of its own tell how its reading went.
    `no_space_timeout_seconds` is how long writes to a full pool wait before the kernel fails
    them: 0 is for ever, None unknown.
    """

    taken_at: float
    is_simulated: bool
    pools: tuple[ThinPool, ...]
    volume_groups: tuple[VolumeGroup, ...]
    same_named_groups: tuple[VolumeGroup, ...] = ()
    lvm_settings: LvmSettings = LvmSettings()
    no_space_timeout_seconds: float | None = None
    lvm_version: tuple[int, int, int] | None
    dmeventd: Dmeventd
    docker: DockerInfo | None
    collectors: dict[Collector, CollectorState]
    problems: tuple[Problem, ...] = ()
    guard: GuardReport | None = None
    configuration: ConfigurationState | None = None
    storage: tuple[StoragePlace, ...] = ()
    maintenance: Maintenance | None = None  # as set last, also if it is over

    def volume_group(self, name: str) -> VolumeGroup | None:
        """Find a VG by its name."""
        return next((group for group in self.volume_groups if group.name == name), None)

    def pools_of(
        self, engine: Engine, contents: Iterable[Content] = tuple(Content)
    ) -> tuple[tuple[str, str], ...]:
        """Name the pools (VG and name) that an engine's data is on, as far as that is known."""
        wanted = frozenset(contents)
        places = (
            place for place in self.storage if place.engine is engine and place.holds in wanted
        )
        return tuple(dict.fromkeys(pool for place in places for pool in place.pools or ()))
