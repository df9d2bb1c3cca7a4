"""Merges what the sources returned into one immutable Snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from msgspec import Struct, structs

from exporter import autoextend, placement
from exporter.bulkhead import Bulkheads
from exporter.dm_names import (
    LVM_UUID_LENGTH,
    LVM_UUID_PREFIX,
    POOL_LAYER_SUFFIX,
    join_dm_name,
    lvm_uuid,
    split_dm_name,
)
from exporter.errors import quote
from exporter.growth import VolumeKey
from exporter.model import (
    UNKNOWN_STATUS,
    Collector,
    CollectorState,
    Dmeventd,
    DockerInfo,
    KernelPool,
    KernelReading,
    LvmLayout,
    LvmPool,
    LvmSettings,
    Policies,
    Policy,
    PoolMode,
    PoolSource,
    Problem,
    Snapshot,
    Stage,
    StorageReading,
    ThinPool,
    VolumeOwner,
)
from exporter.volumes import Volumes

MAX_VOLUMES = 10  # of each pool, unless the configuration says otherwise


class Readings(Struct, frozen=True, kw_only=True):
    """The last good value of each source; None until there was one.

    `growth` is what thin volumes gain, in bytes a second; `owners` are by device.
    `groups_read_at` is when each VG was last read, in monotonic seconds; `is_list_old`: the
    kernel has not told for long which devices there are.
    """

    kernel: KernelReading | None = None
    lvm: LvmLayout | None = None
    policies: Policies | None = None
    settings: LvmSettings = LvmSettings()
    no_space_timeout_seconds: float | None = None
    docker: DockerInfo | None = None
    growth: Mapping[VolumeKey, float] = {}
    owners: Mapping[str, VolumeOwner] = {}
    storage: StorageReading | None = None
    groups_read_at: Mapping[str, float] = {}
    is_list_old: bool = False


class LivePools(Struct, frozen=True, kw_only=True):
    """The pools as the guard last saw them; times are monotonic seconds.

    `read_at` is when the status of each was read, by its device; `listed_at` when the kernel
    last told which devices there are. A status is current for `lasts_seconds`.
    """

    reading: KernelReading
    read_at: Mapping[str, float]
    listed_at: float
    lasts_seconds: float


def overlay(
    reading: KernelReading, read_at: float, live: LivePools | None, *, oldest: float
) -> KernelReading:
    """Take of each pool the status that was read last, none that is older than `oldest`.

    `reading` is the collector's: it alone knows the files under loop devices.
    """
    if live is None:
        pools = [(pool, read_at) for pool in reading.pools]
        return structs.replace(reading, pools=tuple(_current(*row, oldest) for row in pools))
    slow = {_identity(pool): pool for pool in reading.pools}
    quick = {_identity(pool): pool for pool in live.reading.pools}
    listed = quick if live.listed_at >= read_at else slow
    pools = []
    for identity in listed:
        rows = [
            (quick.get(identity), live.read_at.get(identity[0], oldest)),
            (slow.get(identity), read_at),
        ]
        known = [(pool, at) for pool, at in rows if pool and pool.status.is_known]
        newest, at = max(known or [(listed[identity], oldest)], key=lambda row: row[1])
        loop = slow[identity].loop if identity in slow else None
        pools.append((structs.replace(newest, loop=loop), at))
    unread = {problem.subject: problem for problem in live.reading.problems}
    problems = {problem.subject: problem for problem in reading.problems} | unread
    return structs.replace(
        reading,
        pools=tuple(_current(pool, at, oldest) for pool, at in pools),
        problems=tuple(problems.values()),
    )


def _identity(pool: KernelPool) -> tuple[str, str, str]:
    return pool.dm_name, pool.dm_uuid, pool.device_number


def _current(pool: KernelPool, read_at: float, oldest: float) -> KernelPool:
    return pool if read_at >= oldest else structs.replace(pool, status=UNKNOWN_STATUS)


def without_old_percentages(
    layout: LvmLayout, read_at: Mapping[str, float], *, oldest: float
) -> LvmLayout:
    """Drop the usage by lvs of VGs that were read before `oldest`; the layout stays."""
    pools = tuple(
        pool
        if read_at.get(pool.vg_name, oldest) >= oldest
        else structs.replace(pool, data_percent=None, metadata_percent=None)
        for pool in layout.pools
    )
    return structs.replace(layout, pools=pools)


def build(
    readings: Readings,
    states: Mapping[Collector, CollectorState],
    *,
    taken_at: float,
    is_simulated: bool = False,
    max_volumes: int = MAX_VOLUMES,
    bulkheads: Bulkheads | None = None,
) -> Snapshot:
    """Merge the readings; each part may be absent, and the others still count.

    A pool that cannot be merged has nothing but its name, and a problem says why.
    """
    lvm = readings.lvm or LvmLayout()
    kernel = readings.kernel or KernelReading()
    storage = readings.storage
    merge = _Merge(readings, max_volumes, bulkheads)
    pools = tuple(merge.pools())
    return Snapshot(
        taken_at=taken_at,
        is_simulated=is_simulated,
        pools=pools,
        volume_groups=lvm.volume_groups,
        same_named_groups=lvm.same_named_groups,
        lvm_settings=readings.settings,
        no_space_timeout_seconds=readings.no_space_timeout_seconds,
        lvm_version=readings.policies.lvm_version if readings.policies else None,
        dmeventd=lvm.dmeventd if readings.lvm else Dmeventd(is_alive=None),
        docker=readings.docker,
        collectors=dict(states),
        problems=(
            *_failures(states),
            *kernel.problems,
            *lvm.problems,
            *_profile_problems(readings.policies),
            *(storage.problems if storage else ()),
            *merge.problems,
        ),
        storage=placement.places(storage, pools, is_kernel_known=readings.kernel is not None),
    )


def _failures(states: Mapping[Collector, CollectorState]) -> Iterable[Problem]:
    return (
        Problem(subject=str(name), message=state.error)
        for name, state in states.items()
        if state.error
    )


def _profile_problems(policies: Policies | None) -> Iterable[Problem]:
    if policies is None:
        return
    for fault in policies.faults:
        yield Problem(subject="lvm.conf", message=fault, is_warning=True)
    for name, message in policies.unreadable_profiles.items():
        # It is known what LVM does without it.
        yield Problem(subject=f"profile {name}", message=message, is_warning=True)


class _Merge:
    """Joins pools by the UUID that LVM gives to their device."""

    def __init__(
        self, readings: Readings, max_volumes: int, bulkheads: Bulkheads | None
    ) -> None:
        self._readings = readings
        self._bulkheads = bulkheads
        self.problems: list[Problem] = []
        self._kernel = readings.kernel or KernelReading()
        self._is_unasked = readings.kernel is None or readings.is_list_old
        self._unread = {problem.subject for problem in self._kernel.problems}
        self._volumes = Volumes(
            self._kernel.thins, readings.growth, readings.owners, limit=max_volumes
        )
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
            bare = ThinPool(
                vg_name=lvm.vg_name,
                name=lvm.name,
                source=PoolSource.LVM,
                mode=PoolMode.UNKNOWN,
            )
            yield self._contained(bare, partial(self._lvm_pool, lvm, kernel))
        for kernel in self._kernel.pools:
            if kernel.dm_name not in known:
                bare = ThinPool(
                    vg_name="",
                    name=kernel.dm_name,
                    source=PoolSource.DEVICE_MAPPER,
                    mode=PoolMode.UNKNOWN,
                )
                yield self._contained(bare, partial(self._unlisted_pool, kernel))

    def _contained(self, bare: ThinPool, make: Callable[[], ThinPool]) -> ThinPool:
        if self._bulkheads is None:
            return make()
        with self._bulkheads.contain(Stage.REPORT, bare.label) as bulkhead:
            return make()
        self.problems.append(Problem(subject=bare.label, message=quote(repr(bulkhead.error))))
        return bare

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
            volumes=self._volumes.of(kernel.device_number) if kernel else (),
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
            volumes=self._volumes.of(kernel.device_number),
        )

    def _mode(self, lvm: LvmPool, kernel: KernelPool | None) -> PoolMode:
        """Return the mode by the kernel, or by lvs while the kernel gives no status."""
        if kernel and kernel.status.is_known:
            return kernel.status.mode
        name = join_dm_name(lvm.vg_name, lvm.name)
        is_unread = {name, f"{name}{POOL_LAYER_SUFFIX}"} & self._unread
        if kernel is None and (lvm.is_active is False or not (self._is_unasked or is_unread)):
            return PoolMode.INACTIVE
        return lvm.status.mode if lvm.status else PoolMode.UNKNOWN

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
