"""Reads the sources and keeps of each its last good value, its age and its last error.

Each source is read by one caller at a time; a failed or hung one leaves the others alone.
Values are swapped in whole, so that readers need no lock.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, structs

from exporter.bulkhead import Bulkheads
from exporter.command import Output, Runner
from exporter.devmapper import Kernel
from exporter.errors import HostError, quote
from exporter.events import NoLog
from exporter.growth import Growth
from exporter.model import (
    Collector,
    CollectorState,
    Dmeventd,
    DockerInfo,
    KernelReading,
    LvmLayout,
    LvmPool,
    LvmSettings,
    Policies,
    PoolStatus,
    Snapshot,
    Stage,
    StorageReading,
    ThinPool,
    VolumeGroup,
)
from exporter.naming import ReadOwners, VolumeNames
from exporter.snapshot import (
    MAX_VOLUMES,
    LivePools,
    Readings,
    build,
    overlay,
    without_old_percentages,
)
from exporter.sources import (
    device_mapper,
    docker,
    docker_volumes,
    lvm,
    lvm_settings,
    policy,
)
from exporter.sources.docker_daemon import DockerAbsentError
from exporter.sources.lvm_dialect import Dialect, Dialects
from exporter.sources.lvm_layout import merge

# Commands have deadlines; the kernel itself waits for a disk for as long as that takes.
KERNEL_PATIENCE_SECONDS = 10.0
# Several commands, each with its deadline: a start must not wait for all of them.
LVM_PATIENCE_SECONDS = 60.0
# What was read longer ago is no longer current: intervals of the schedule, and some seconds.
KERNEL_LASTS_INTERVALS, KERNEL_LASTS_SECONDS = 2.0, 10.0
LVM_LASTS_INTERVALS = 3.0
# Docker's client is asked twice where it knows no JSON; beyond that it is a file system
# that hangs, in which a data root's links were to be followed.
DOCKER_PATIENCE_DEADLINES = 3


class HostAccess(Struct, frozen=True, kw_only=True):
    """Every way to the host that the sources use; the simulated host offers the same."""

    runner: Runner
    kernel: Kernel
    loop_backing: device_mapper.LoopReader
    dmeventd: Callable[[], Dmeventd]
    dmeventd_activity: Callable[[Dmeventd], Mapping[str, object]] = lambda _: {}
    no_space_timeout: Callable[[], float] = lambda: device_mapper.NO_SPACE_TIMEOUT_SECONDS
    can_archive: Callable[[float], bool] = lambda _: True  # within so many seconds
    # by name of the device, from the files below Docker's root directory
    volume_owners: ReadOwners = lambda _root, _names: {}
    has_devices_of_dmeventd: Callable[[], bool] = lambda: False
    is_installed: Callable[[str], bool] = lambda _: True  # a program
    # GET /info at Docker's socket, within so many seconds; None where there is no socket
    docker_socket: Callable[[float], str | None] = lambda _: None
    # None: unknown
    is_docker_running: Callable[[], bool | None] = lambda: True
    # where engines keep their data, by what Docker said last
    storage: Callable[[DockerInfo | None], StorageReading] = lambda _: StorageReading()
    close: Callable[[], None] = lambda: None
    is_simulated: bool = False


class Programs(Struct, frozen=True, kw_only=True):
    """Programs to run and how long to wait for them."""

    lvm: str
    docker: str
    lvm_deadline_seconds: float
    docker_deadline_seconds: float
    lvm_interval_seconds: float = 15.0  # from one scheduled reading to the next
    is_docker_required: bool = False


class Collection:
    """The sources' last good values, and the Snapshot that they make."""

    def __init__(
        self,
        host: HostAccess,
        programs: Programs,
        *,
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
        on_change: Callable[[Collector, CollectorState], None] = lambda *_: None,
        bulkheads: Bulkheads | None = None,
    ) -> None:
        self._host = host
        self.bulkheads = bulkheads or Bulkheads(NoLog(), clock)
        self.programs = programs
        self._wall_clock = wall_clock
        self._clock = clock
        self._on_change = on_change
        # Called with the name of a VG that is about to be read.
        self.on_group: Callable[[str], None] = lambda _: None
        self._in_use = {name: threading.Lock() for name in Collector}
        self._swap = threading.Lock()
        self._states = {name: CollectorState() for name in Collector}
        self._reading_since: dict[Collector, float] = {}
        self._readings = Readings()
        self._dialects = Dialects(clock)
        self._layout_read_at = float("-inf")
        self._kernel_read_at = float("-inf")
        self._growth = Growth()
        self._names = VolumeNames(
            host.volume_owners,
            clock,
            on_error=lambda error: self.bulkheads.failed(Stage.SOURCE, "names", error),
        )
        self.max_volumes = MAX_VOLUMES  # of each pool, in a Snapshot
        self.no_space_timeout_seconds = device_mapper.NO_SPACE_TIMEOUT_SECONDS

    @property
    def is_complete(self) -> bool:
        """Whether every source has been tried at least once."""
        return all(
            state.attempted_at is not None or self._is_waiting(name)
            for name, state in self._states.items()
        )

    @property
    def readings(self) -> Readings:
        """The last good values as they are, without any merging."""
        return self._readings

    @property
    def has_volumes(self) -> bool:
        """Whether there are thin volumes, of which more is known after another look."""
        return bool(self._readings.kernel and self._readings.kernel.thins)

    def has_stale_hints(self, vg_name: str) -> bool:
        """Whether commands that go by LVM's hints miss a disk of this VG."""
        groups = self._readings.lvm.volume_groups if self._readings.lvm else ()
        return any(group.name == vg_name and group.has_stale_hints for group in groups)

    @property
    def dialect(self) -> Dialect:
        """What the host's LVM understands."""
        return self._dialects.current

    @property
    def lvm_lasts_seconds(self) -> float:
        """For how long the usage by lvs is current."""
        return LVM_LASTS_INTERVALS * self.programs.lvm_interval_seconds

    @property
    def lvm_seconds(self) -> float | None:
        """How long the last reading of LVM took."""
        return self._states[Collector.LVM].duration_seconds

    def snapshot(self, live: LivePools | None = None) -> Snapshot:
        """Merge the last good values, with what the guard has read of the pools since."""
        readings = self._current(live)
        return build(
            readings,
            {name: self._state(name) for name in self._states},
            taken_at=self._wall_clock(),
            is_simulated=self._host.is_simulated,
            max_volumes=self.max_volumes,
            bulkheads=self.bulkheads,
        )

    def _current(self, live: LivePools | None) -> Readings:
        """Return the readings without any usage that is no longer current."""
        readings, now = self._readings, self._clock()
        lasts = KERNEL_LASTS_INTERVALS * self.programs.lvm_interval_seconds
        oldest = now - (live.lasts_seconds if live else lasts + KERNEL_LASTS_SECONDS)
        kernel, lvm, listed_at = readings.kernel, readings.lvm, self._kernel_read_at
        if kernel is None and live:
            kernel = KernelReading()
        if kernel is not None:
            kernel = overlay(kernel, self._kernel_read_at, live, oldest=oldest)
            listed_at = max(listed_at, live.listed_at) if live else listed_at
        if lvm is not None:
            oldest_lvm = now - self.lvm_lasts_seconds
            lvm = without_old_percentages(lvm, readings.groups_read_at, oldest=oldest_lvm)
            if self._layout_read_at < oldest_lvm:
                # Decisions go on by the last words: a takeover needs no more than the kernel.
                lvm = structs.replace(lvm, monitoring={})
        return structs.replace(
            readings,
            kernel=kernel,
            lvm=lvm,
            is_list_old=listed_at < oldest,
            growth=self._growth.bytes_per_second,
            owners=self._names.owners,
        )

    def _is_waiting(self, name: Collector) -> bool:
        """Whether a source has been asked for so long that it counts as failed."""
        since = self._reading_since.get(name)
        return since is not None and self._clock() > since + self._patience_seconds(name)

    def _patience_seconds(self, name: Collector) -> float:
        """Return for how long a source may be read before it counts as failed."""
        if name is Collector.DEVICE_MAPPER:
            return KERNEL_PATIENCE_SECONDS
        if name is Collector.DOCKER:
            return DOCKER_PATIENCE_DEADLINES * self.programs.docker_deadline_seconds
        return LVM_PATIENCE_SECONDS

    def _state(self, name: Collector) -> CollectorState:
        if not self._is_waiting(name):
            return self._states[name]
        error = f"no answer for {self._patience_seconds(name):g} s and more"
        return structs.replace(self._states[name], is_ok=False, error=error)

    def refresh_all(self) -> None:
        """Read every source once; the policy after LVM, which names the profiles."""
        for name in Collector:
            self.refresh(name)
        with self.bulkheads.contain(Stage.SOURCE, "names"):
            self.name_volumes()

    def name_volumes(self) -> None:
        """Find whose Docker's volumes are, in about the time that Docker itself is given."""
        kernel, docker_s = self._readings.kernel or KernelReading(), self._readings.docker
        names = frozenset(thin.dm_name for thin in kernel.thins)
        root = docker_s.root_directory if docker_s else None
        self._names.refresh(
            Path(root) if root else docker_volumes.DEFAULT_ROOT,
            frozenset(filter(docker_volumes.volume_hash, names)),
            wait_seconds=self.programs.docker_deadline_seconds,
        )

    def refresh(self, name: Collector, *, is_patient: bool = False) -> bool:
        """Read one source; false when it failed, or is still being read by another.

        The patient wait for the other's end: what it reads may be from before the change
        that they have been told of.
        """
        readers: dict[Collector, Callable[[], None]] = {
            Collector.DEVICE_MAPPER: self._read_kernel,
            Collector.LVM: self._read_lvm,
            Collector.POLICY: self._read_policy,
            Collector.DOCKER: self._read_docker,
        }
        if not self._in_use[name].acquire(blocking=is_patient):
            return False
        try:
            return self._attempt(name, readers[name])
        finally:
            self._in_use[name].release()

    def refresh_group(self, vg_name: str) -> None:
        """Read one VG anew, for a decision that is to be acted on. Raises HostError."""
        self.on_group(vg_name)
        began = self._clock()
        layout = self._read_layout((vg_name,))
        with self._swap:
            known = self._readings.lvm
            if known is None:
                return  # the first full reading is still to come, and shows the rest too
            if not self._is_newest(vg_name, began):
                return  # another reading, which began after this one, has ended before it
            merged = merge(known, layout, keep=lambda name: name != vg_name)
            merged = structs.replace(
                merged,
                dmeventd=known.dmeventd,
                monitoring=known.monitoring,
                problems=known.problems,
            )
            self._readings = structs.replace(
                self._readings,
                lvm=merged,
                groups_read_at={**self._readings.groups_read_at, vg_name: began},
            )
        self._read_unread_policies()

    def _is_newest(self, vg_name: str, began: float) -> bool:
        read_at = self._readings.groups_read_at.get(vg_name, began)
        return began >= max(self._layout_read_at, read_at)

    def update_account(
        self,
        label: str,
        update: Callable[[LvmPool, VolumeGroup], tuple[LvmPool, VolumeGroup]],
    ) -> bool:
        """Put in a pool and its VG as an extension has left them, until LVM is read again.

        False if LVM has not told of the pool. `update` gets the present account.
        """
        with self._swap:
            account, known = self.account(label), self._readings.lvm
            if account is None or known is None:
                return False
            pool, group = update(*account)
            pools = tuple(
                pool if other.lv_uuid == pool.lv_uuid else other for other in known.pools
            )
            groups = tuple(
                group if other.uuid == group.uuid else other for other in known.volume_groups
            )
            self._readings = structs.replace(
                self._readings,
                lvm=structs.replace(known, pools=pools, volume_groups=groups),
                # A reading that began before the extension ended is older than this.
                groups_read_at={
                    **self._readings.groups_read_at,
                    group.name: self._clock(),
                },
            )
        return True

    def pool_status(self, pool: ThinPool) -> PoolStatus | None:
        """Ask the kernel for one pool's status now; None if its device is gone.

        It is gone as well if another pool has its name now. Raises HostError.
        """
        device = self._host.kernel.device(pool.device_name)
        if device is None or device.kind != "thin-pool":
            return None
        if pool.kernel and device.uuid != pool.kernel.dm_uuid:
            return None
        return device_mapper.kernel_pool(device, lambda _: None).status

    def account(self, label: str) -> tuple[LvmPool, VolumeGroup] | None:
        """Return what LVM last said of a pool and its VG."""
        layout = self._readings.lvm or LvmLayout()
        pool = next((pool for pool in layout.pools if pool.label == label), None)
        groups = (
            group for group in layout.volume_groups if pool and group.name == pool.vg_name
        )
        group = next(groups, None)
        return (pool, group) if pool and group else None

    def dmeventd_activity(self) -> Mapping[str, object]:
        """Look at what dmeventd's process does now, for the log."""
        return self._host.dmeventd_activity(self._host.dmeventd())

    def _attempt(self, name: Collector, read: Callable[[], None]) -> bool:
        started, began = self._wall_clock(), self._clock()
        old = self._states[name]
        self._reading_since[name] = began
        with self.bulkheads.contain(Stage.SOURCE, name, expected=(HostError,)) as bulkhead:
            read()
        error = bulkhead.error
        if error is None:
            state = structs.replace(
                old, is_ok=True, error=None, succeeded_at=started, absence=None
            )
        else:
            text = str(error) if isinstance(error, HostError) else quote(repr(error))
            absence = error.absence if isinstance(error, DockerAbsentError) else None
            is_required = name is Collector.DOCKER and self.programs.is_docker_required
            state = structs.replace(
                old, is_ok=False, error=text, absence=absence, is_required=is_required
            )
        del self._reading_since[name]
        state = structs.replace(
            state, attempted_at=started, duration_seconds=self._clock() - began
        )
        self._states = {**self._states, name: state}
        was, now = (old.is_ok, old.absence), (state.is_ok, state.absence)
        if old.attempted_at is None or was != now:
            self._on_change(name, state)
        return state.is_ok

    def _run_lvm(self, argv: Sequence[str]) -> Output:
        return self._host.runner.run(argv, deadline_seconds=self.programs.lvm_deadline_seconds)

    def _run_docker(self, argv: Sequence[str]) -> Output:
        return self._host.runner.run(
            argv, deadline_seconds=self.programs.docker_deadline_seconds
        )

    def _read_kernel(self) -> None:
        began = self._clock()
        reading = device_mapper.read(self._host.kernel, self._host.loop_backing)
        self._growth.take(reading, began)
        self.no_space_timeout_seconds = self._host.no_space_timeout()
        with self._swap:
            self._readings = structs.replace(
                self._readings,
                kernel=reading,
                no_space_timeout_seconds=self.no_space_timeout_seconds,
            )
        self._kernel_read_at = began

    def _read_lvm(self) -> None:
        began = self._clock()
        layout = self._read_layout()
        dmeventd = self._host.dmeventd()
        self._take_layout(layout, dmeventd, began)
        # Afterwards: a dmeventd that does not answer must not keep the layout from us.
        monitoring, problems = lvm.read_monitoring(
            self._run_lvm, self.programs.lvm, dmeventd, dialect=self.dialect
        )
        with self._swap:
            layout = structs.replace(
                self._readings.lvm or layout,
                monitoring=monitoring,
                problems=(*layout.problems, *problems),
            )
            self._readings = structs.replace(self._readings, lvm=layout)
        self._read_unread_policies()

    def _read_layout(self, vg_names: Sequence[str] = ()) -> LvmLayout:
        return lvm.read_layout(
            self._run_lvm, self.programs.lvm, vg_names, dialects=self._dialects
        )

    def _read_unread_policies(self) -> None:
        unread = self._profiles() - set(self._known_profiles())
        if unread and self._readings.policies is not None:
            self.refresh(Collector.POLICY)

    def _take_layout(self, layout: LvmLayout, dmeventd: Dmeventd, began: float) -> None:
        with self._swap:
            known = self._readings.lvm or layout
            # Of a VG that has been read by itself since, what this has is older.
            read_at = self._readings.groups_read_at
            merged = merge(known, layout, keep=lambda name: read_at.get(name, began) > began)
            self._layout_read_at = began
            # Of a dmeventd that has just come, nothing is known until it is asked.
            monitoring = known.monitoring if dmeventd.is_alive else {}
            merged = structs.replace(merged, dmeventd=dmeventd, monitoring=monitoring)
            self._readings = structs.replace(
                self._readings,
                lvm=merged,
                groups_read_at={
                    group.name: max(began, read_at.get(group.name, began))
                    for group in merged.volume_groups
                },
            )

    def _read_policy(self) -> None:
        policies = policy.read(self._run_lvm, self.programs.lvm, self._profiles())
        known = self._readings.policies
        if known and known.lvm_version != policies.lvm_version:
            self._dialects.forget()
        self._take(policies=policies)
        # Afterwards, and unknown if it fails: the guard needs the policy alone.
        settings = LvmSettings()
        with contextlib.suppress(HostError):
            settings = lvm_settings.read(
                self._run_lvm, self.programs.lvm, self._host.is_installed
            )
        with self._swap:
            self._readings = structs.replace(self._readings, settings=settings)

    def _read_docker(self) -> None:
        deadline_seconds = self.programs.docker_deadline_seconds
        try:
            found = docker.read(
                self._run_docker,
                self.programs.docker,
                lambda: self._host.docker_socket(deadline_seconds),
                self._host.is_docker_running,
            )
            self._take(docker=found)
        finally:
            # Where its data lies can be told of a Docker that is silent, too.
            self._take(storage=self._host.storage(self._readings.docker))

    def _profiles(self) -> set[str]:
        layout = self._readings.lvm or LvmLayout()
        named = [pool.profile for pool in layout.pools]
        named += [group.profile for group in layout.volume_groups]
        return {profile for profile in named if profile}

    def _known_profiles(self) -> Sequence[str]:
        policies = self._readings.policies
        return tuple(policies.by_profile) if policies else ()

    def _take(
        self,
        *,
        policies: Policies | None = None,
        docker: DockerInfo | None = None,
        storage: StorageReading | None = None,
    ) -> None:
        with self._swap:
            self._readings = structs.replace(
                self._readings,
                policies=policies or self._readings.policies,
                docker=docker or self._readings.docker,
                storage=storage or self._readings.storage,
            )
