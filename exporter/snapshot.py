"""Merges what the sources returned into one immutable Snapshot."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct, structs

from exporter import autoextend
from exporter.model import (
    POOL_LAYER_SUFFIX,
    Collector,
    CollectorState,
    Dmeventd,
    DockerInfo,
    KernelPool,
    KernelReading,
    LvmLayout,
    LvmPool,
    Policies,
    Policy,
    PoolMode,
    PoolSource,
    Problem,
    Snapshot,
    ThinPool,
)

LVM_UUID_PREFIX = "LVM-"
LVM_UUID_LENGTH = len(LVM_UUID_PREFIX) + 2 * 32


class Readings(Struct, frozen=True, kw_only=True):
    """The last good value of each source; None until there was one."""

    kernel: KernelReading | None = None
    lvm: LvmLayout | None = None
    policies: Policies | None = None
    docker: DockerInfo | None = None


def overlay(reading: KernelReading, live: Iterable[KernelPool]) -> KernelReading:
    """Put newer pools into a reading, which alone knows the files under loop devices."""
    loops = {pool.device_number: pool.loop for pool in reading.pools}
    pools = tuple(structs.replace(pool, loop=loops.get(pool.device_number)) for pool in live)
    return structs.replace(reading, pools=pools)


def build(
    readings: Readings,
    states: Mapping[Collector, CollectorState],
    *,
    taken_at: float,
    is_simulated: bool = False,
) -> Snapshot:
    """Merge the readings; each part may be absent, and the others still count."""
    lvm = readings.lvm or LvmLayout()
    kernel = readings.kernel or KernelReading()
    return Snapshot(
        taken_at=taken_at,
        is_simulated=is_simulated,
        pools=tuple(_Merge(readings).pools()),
        volume_groups=lvm.volume_groups,
        lvm_version=readings.policies.lvm_version if readings.policies else None,
        dmeventd=lvm.dmeventd if readings.lvm else Dmeventd(is_alive=None),
        docker=readings.docker,
        collectors=dict(states),
        problems=(
            *_failures(states),
            *kernel.problems,
            *lvm.problems,
            *_profile_problems(readings.policies),
        ),
    )


def _failures(states: Mapping[Collector, CollectorState]) -> Iterable[Problem]:
    return (
        Problem(subject=str(name), message=state.error)
        for name, state in states.items()
        if state.error
    )


def _profile_problems(policies: Policies | None) -> Iterable[Problem]:
    unreadable = policies.unreadable_profiles if policies else {}
    return (
        Problem(subject=f"profile {name}", message=message)
        for name, message in unreadable.items()
    )


def split_dm_name(dm_name: str) -> tuple[str, str] | None:
    """Split LVM's device-mapper name into VG and LV: dashes in either are doubled.

    None when it is not of that form. Source: lvm2 libdm/libdm-string.c, dm_build_dm_name.
    """
    # In a volume's own name the dash before would be doubled.
    has_layer = re.search(r"(?<!-)(--)*-tpool$", dm_name)
    base = dm_name.removesuffix(POOL_LAYER_SUFFIX) if has_layer else dm_name
    marked = base.replace("--", "\0")
    group, dash, volume = marked.partition("-")
    if not dash or not group or not volume or "-" in volume:
        return None
    return group.replace("\0", "-"), volume.replace("\0", "-")


def lvm_uuid(vg_uuid: str, lv_uuid: str) -> str:
    """Make the device-mapper UUID, without layer suffix, of an LV."""
    return LVM_UUID_PREFIX + (vg_uuid + lv_uuid).replace("-", "")


class _Merge:
    """Joins pools by the UUID that LVM gives to their device."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._kernel = readings.kernel or KernelReading()
        version = readings.policies.lvm_version if readings.policies else None
        self._rules = autoextend.rules_of(version)
        self._by_uuid = {
            pool.dm_uuid[:LVM_UUID_LENGTH]: pool
            for pool in self._kernel.pools
            if pool.dm_uuid.startswith(LVM_UUID_PREFIX)
        }
        self._group_profiles = {
            group.name: group.profile for group in (readings.lvm or LvmLayout()).volume_groups
        }
        self._foreign_thins: dict[str, list[int]] = defaultdict(list)
        for thin in self._kernel.thins:
            if not thin.dm_uuid.startswith(LVM_UUID_PREFIX):
                self._foreign_thins[thin.pool_device_number].append(thin.size_bytes)
        self._lvm_thins: dict[tuple[str, str], list[int]] = defaultdict(list)
        for volume in (readings.lvm or LvmLayout()).thins:
            self._lvm_thins[volume.vg_name, volume.pool_name].append(volume.size_bytes)

    def pools(self) -> Iterable[ThinPool]:
        """Join them; of several that share VG and name, the one that lives stands for all."""
        found: dict[tuple[str, str], ThinPool] = {}
        for pool in self._all_pools():
            key = (pool.vg_name, pool.name)
            if key not in found or not found[key].kernel:
                found[key] = pool
        return found.values()

    def _all_pools(self) -> Iterable[ThinPool]:
        known = set()
        for lvm in (self._readings.lvm or LvmLayout()).pools:
            kernel = self._by_uuid.get(lvm_uuid(lvm.vg_uuid, lvm.lv_uuid))
            if kernel:
                known.add(kernel.dm_name)
            yield self._lvm_pool(lvm, kernel)
        for kernel in self._kernel.pools:
            if kernel.dm_name not in known:
                yield self._unlisted_pool(kernel)

    def _lvm_pool(self, lvm: LvmPool, kernel: KernelPool | None) -> ThinPool:
        profile = lvm.profile or self._group_profile(lvm.vg_name)
        policy = self._policy(profile)
        word = (self._readings.lvm or LvmLayout()).monitoring.get(f"{lvm.vg_name}/{lvm.name}")
        sizes = self._thin_sizes(lvm, kernel)
        rules = self._rules
        threshold = (
            None
            if policy is None
            else autoextend.effective_threshold_percent(policy.threshold_percent, rules=rules)
        )
        return ThinPool(
            vg_name=lvm.vg_name,
            name=lvm.name,
            source=PoolSource.LVM,
            mode=self._mode(lvm, kernel),
            lvm=lvm,
            kernel=kernel,
            policy=policy,
            profile=profile,
            is_profile_missing=self._is_missing(profile),
            effective_threshold_percent=threshold,
            metadata_threshold_percent=None
            if threshold is None
            else autoextend.metadata_threshold_percent(
                lvm.metadata_size_bytes, threshold, rules=rules
            ),
            is_monitored=self._is_monitored(word, policy),
            monitoring=word,
            thin_volumes=len(sizes),
            virtual_size_bytes=sum(sizes),
        )

    def _thin_sizes(self, lvm: LvmPool, kernel: KernelPool | None) -> list[int]:
        """Sizes of LVM's thin volumes, active or not, and of live ones that are others'."""
        own = self._lvm_thins.get((lvm.vg_name, lvm.name), [])
        foreign = self._foreign_thins.get(kernel.device_number, []) if kernel else []
        return own + foreign

    def _unlisted_pool(self, kernel: KernelPool) -> ThinPool:
        """Make a pool that lvs does not list: not LVM's, or hidden from or by LVM."""
        is_lvm = kernel.dm_uuid.startswith(LVM_UUID_PREFIX)
        names = (split_dm_name(kernel.dm_name) if is_lvm else None) or ("", kernel.dm_name)
        sizes = [
            thin.size_bytes
            for thin in self._kernel.thins
            if thin.pool_device_number == kernel.device_number
        ]
        return ThinPool(
            vg_name=names[0],
            name=names[1],
            source=PoolSource.LVM if is_lvm else PoolSource.DEVICE_MAPPER,
            mode=kernel.status.mode,
            kernel=kernel,
            thin_volumes=len(sizes),
            virtual_size_bytes=sum(sizes),
        )

    def _mode(self, lvm: LvmPool, kernel: KernelPool | None) -> PoolMode:
        if kernel:
            return kernel.status.mode
        if self._readings.kernel is None and lvm.is_active is not False:
            return PoolMode.UNKNOWN
        return PoolMode.INACTIVE

    def _group_profile(self, vg_name: str) -> str | None:
        return self._group_profiles.get(vg_name)

    def _policy(self, profile: str | None) -> Policy | None:
        policies = self._readings.policies
        return policies.by_profile.get(profile or "") if policies else None

    def _is_missing(self, profile: str | None) -> bool | None:
        policies = self._readings.policies
        if policies is None or (profile and profile not in policies.by_profile):
            return None
        return profile in policies.unreadable_profiles

    def _is_monitored(self, word: str | None, policy: Policy | None) -> bool | None:
        """Read seg_monitor; with no live dmeventd nobody monitors, whatever it last said.

        It is blank where lvm.conf switches monitoring off: LVM then registers no pool.
        """
        lvm = self._readings.lvm
        if lvm is None or lvm.dmeventd.is_alive is None:
            return None
        if not lvm.dmeventd.is_alive:
            return False
        if not word:
            return False if policy and policy.is_monitoring_enabled is False else None
        return word == "monitored"
