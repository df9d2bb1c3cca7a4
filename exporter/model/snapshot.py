"""The Snapshot: everything known about the host and the guard at one time."""

from __future__ import annotations

from msgspec import Struct

from exporter.model.guard import GuardReport
from exporter.model.host import (
    Dmeventd,
    DockerInfo,
    KernelPool,
    LvmPool,
    Policy,
    Problem,
    Usage,
    VolumeGroup,
)
from exporter.model.words import Collector, PoolMode, PoolSource

POOL_LAYER_SUFFIX = "-tpool"  # of a pool's device where LVM has volumes in it


class CollectorState(Struct, frozen=True, kw_only=True):
    """How the last reading of one source went; times are seconds since the epoch.

    `succeeded_at` is the age of the value in use: a failed reading leaves it standing.
    """

    is_ok: bool = False
    error: str | None = None
    attempted_at: float | None = None
    succeeded_at: float | None = None
    duration_seconds: float | None = None


class ConfigurationState(Struct, frozen=True, kw_only=True):
    """The settings in force: since when (seconds since the epoch), and why no newer ones."""

    loaded_at: float
    error: str | None = None


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

    @property
    def label(self) -> str:
        """`vg/pool` as LVM's commands take it, or the device-mapper name."""
        return f"{self.vg_name}/{self.name}" if self.vg_name else self.name

    @property
    def is_renamed(self) -> bool:
        """Whether the kernel has it under other names than LVM told, which have changed since.

        Source: lvm2 libdm/libdm-string.c, dm_build_dm_name: dashes in names are doubled.
        """
        if self.lvm is None or self.kernel is None:
            return False
        names = (name.replace("-", "--") for name in (self.lvm.vg_name, self.lvm.name))
        own = "-".join(names)
        return self.kernel.dm_name not in {own, f"{own}{POOL_LAYER_SUFFIX}"}

    @property
    def data(self) -> Usage | None:
        """Exact data usage, if the kernel gave it."""
        return self.kernel.status.data if self.kernel else None

    @property
    def metadata(self) -> Usage | None:
        """Exact metadata usage, if the kernel gave it."""
        return self.kernel.status.metadata if self.kernel else None


class Snapshot(Struct, frozen=True, kw_only=True):
    """Everything known about the host at one time (seconds since the epoch).

    The parts of a source without a value of its own tell how its reading went.
    """

    taken_at: float
    is_simulated: bool
    pools: tuple[ThinPool, ...]
    volume_groups: tuple[VolumeGroup, ...]
    lvm_version: tuple[int, int, int] | None
    dmeventd: Dmeventd
    docker: DockerInfo | None
    collectors: dict[Collector, CollectorState]
    problems: tuple[Problem, ...] = ()
    guard: GuardReport | None = None
    configuration: ConfigurationState | None = None

    def volume_group(self, name: str) -> VolumeGroup | None:
        """Find a VG by its name."""
        return next((group for group in self.volume_groups if group.name == name), None)
