"""The records that pass between the parts: frozen, typed, no I/O.

A field of None is unknown, which is never the same as 0 or empty.
"""

from exporter.model.guard import (
    Decision,
    DeviceCounters,
    Extension,
    GuardReport,
    Histogram,
    NextStep,
    PoolGuard,
)
from exporter.model.host import (
    Dmeventd,
    DockerInfo,
    KernelPool,
    KernelReading,
    KernelThin,
    LoopBacking,
    LvmLayout,
    LvmPool,
    LvmThin,
    PhysicalVolume,
    Policies,
    Policy,
    PoolStatus,
    Usage,
    VolumeGroup,
)
from exporter.model.snapshot import CollectorState, Problem, Snapshot, ThinPool
from exporter.model.words import (
    Collector,
    Device,
    Failure,
    GuardMode,
    PoolMode,
    PoolSource,
    Reason,
)

__all__ = [
    "Collector",
    "CollectorState",
    "Decision",
    "Device",
    "DeviceCounters",
    "Dmeventd",
    "DockerInfo",
    "Extension",
    "Failure",
    "GuardMode",
    "GuardReport",
    "Histogram",
    "KernelPool",
    "KernelReading",
    "KernelThin",
    "LoopBacking",
    "LvmLayout",
    "LvmPool",
    "LvmThin",
    "NextStep",
    "PhysicalVolume",
    "Policies",
    "Policy",
    "PoolGuard",
    "PoolMode",
    "PoolSource",
    "PoolStatus",
    "Problem",
    "Reason",
    "Snapshot",
    "ThinPool",
    "Usage",
    "VolumeGroup",
]
