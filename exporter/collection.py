"""Reads the sources and keeps of each its last good value, its age and its last error.

Each source is read by one caller at a time; a failed or hung one leaves the others alone.
Values are swapped in whole, so that readers need no lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from exporter.command import Output, Runner
from exporter.devmapper import Kernel
from exporter.errors import HostError
from exporter.model import (
    Collector,
    CollectorState,
    Dmeventd,
    DockerInfo,
    KernelPool,
    KernelReading,
    LvmLayout,
    Policies,
    PoolStatus,
    Snapshot,
    StorageReading,
)
from exporter.snapshot import Readings, build, overlay
from exporter.sources import device_mapper, docker, lvm, policy
from exporter.sources.lvm_dialect import Dialect, Dialects
from exporter.sources.lvm_layout import merge

# Commands have deadlines; the kernel itself waits for a disk for as long as that takes.
KERNEL_PATIENCE_SECONDS = 10.0
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
    has_devices_of_dmeventd: Callable[[], bool] = lambda: False
    # GET /info at Docker's socket, within so many seconds; None where there is no socket
    docker_socket: Callable[[float], str | None] = lambda _: None
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


class LivePools(Struct, frozen=True, kw_only=True):
    """The pools as the guard last saw them, and when, in monotonic seconds."""

    pools: tuple[KernelPool, ...]
    read_at: float


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
        on_group: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._host = host
        self.programs = programs
        self._wall_clock = wall_clock
        self._clock = clock
        self._on_change = on_change
        self._on_group = on_group
        self._in_use = {name: threading.Lock() for name in Collector}
        self._swap = threading.Lock()
        self._states = {name: CollectorState() for name in Collector}
        self._reading_since: dict[Collector, float] = {}
        self._readings = Readings()
        self._dialects = Dialects(clock)
        # When the reading began that the VGs' present account is of.
        self._groups_read_at: dict[str, float] = {}
        self._layout_read_at = float("-inf")
        self._kernel_read_at = float("-inf")
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
    def dialect(self) -> Dialect:
        """What the host's LVM understands."""
        return self._dialects.current

    def snapshot(self, live: LivePools | None = None) -> Snapshot:
        """Merge the last good values, and the guard's view of the pools if it is newer."""
        readings = self._readings
        if live and readings.kernel and live.read_at >= self._kernel_read_at:
            kernel = overlay(readings.kernel, live.pools)
            readings = structs.replace(readings, kernel=kernel)
        return build(
            readings,
            {name: self._state(name) for name in self._states},
            taken_at=self._wall_clock(),
            is_simulated=self._host.is_simulated,
        )

    def _is_waiting(self, name: Collector) -> bool:
        """Whether a source has been asked for so long that it counts as failed."""
        since = self._reading_since.get(name)
        patience = self._patience_seconds(name)
        return since is not None and patience is not None and self._clock() > since + patience

    def _patience_seconds(self, name: Collector) -> float | None:
        """For how long a source may be read; None where its commands see to that."""
        if name is Collector.DEVICE_MAPPER:
            return KERNEL_PATIENCE_SECONDS
        if name is Collector.DOCKER:
            return DOCKER_PATIENCE_DEADLINES * self.programs.docker_deadline_seconds
        return None

    def _state(self, name: Collector) -> CollectorState:
        if not self._is_waiting(name):
            return self._states[name]
        error = f"no answer for {self._patience_seconds(name):g} s and more"
        return structs.replace(self._states[name], is_ok=False, error=error)

    def refresh_all(self) -> None:
        """Read every source once; the policy after LVM, which names the profiles."""
        for name in Collector:
            self.refresh(name)

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
        self._on_group(vg_name)
        began = self._clock()
        layout = self._read_layout((vg_name,))
        with self._swap:
            known = self._readings.lvm
            if known is None:
                return  # the first full reading is still to come, and shows the rest too
            if began < max(self._layout_read_at, self._groups_read_at.get(vg_name, began)):
                return  # another reading, which began after this one, has ended before it
            merged = merge(known, layout, keep=lambda name: name != vg_name)
            merged = structs.replace(
                merged,
                dmeventd=known.dmeventd,
                monitoring=known.monitoring,
                problems=known.problems,
            )
            self._readings = structs.replace(self._readings, lvm=merged)
            self._groups_read_at[vg_name] = began
        self._read_unread_policies()

    def pool_status(self, dm_name: str) -> PoolStatus | None:
        """Read one pool's status now. Raises HostError."""
        device = self._host.kernel.device(dm_name)
        if device is None or device.kind != "thin-pool":
            return None
        return device_mapper.kernel_pool(device, lambda _: None).status

    def dmeventd_activity(self) -> Mapping[str, object]:
        """Look at what dmeventd's process does now, for the log."""
        return self._host.dmeventd_activity(self._host.dmeventd())

    def _attempt(self, name: Collector, read: Callable[[], None]) -> bool:
        started, began = self._wall_clock(), self._clock()
        old = self._states[name]
        self._reading_since[name] = began
        try:
            read()
        except HostError as error:
            state = structs.replace(old, is_ok=False, error=str(error))
        else:
            state = structs.replace(old, is_ok=True, error=None, succeeded_at=started)
        finally:
            del self._reading_since[name]
        state = structs.replace(
            state, attempted_at=started, duration_seconds=self._clock() - began
        )
        self._states = {**self._states, name: state}
        if old.attempted_at is None or old.is_ok != state.is_ok:
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
        self._take(kernel=reading)
        self.no_space_timeout_seconds = self._host.no_space_timeout()
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
            merged = merge(
                known, layout, keep=lambda name: self._groups_read_at.get(name, began) > began
            )
            self._layout_read_at = began
            # Of a dmeventd that has just come, nothing is known until it is asked.
            monitoring = known.monitoring if dmeventd.is_alive else {}
            merged = structs.replace(merged, dmeventd=dmeventd, monitoring=monitoring)
            self._readings = structs.replace(self._readings, lvm=merged)

    def _read_policy(self) -> None:
        policies = policy.read(self._run_lvm, self.programs.lvm, self._profiles())
        known = self._readings.policies
        if known and known.lvm_version != policies.lvm_version:
            self._dialects.forget()
        self._take(policies=policies)

    def _read_docker(self) -> None:
        deadline_seconds = self.programs.docker_deadline_seconds
        try:
            found = docker.read(
                self._run_docker,
                self.programs.docker,
                lambda: self._host.docker_socket(deadline_seconds),
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
        kernel: KernelReading | None = None,
        policies: Policies | None = None,
        docker: DockerInfo | None = None,
        storage: StorageReading | None = None,
    ) -> None:
        with self._swap:
            self._readings = structs.replace(
                self._readings,
                kernel=kernel or self._readings.kernel,
                policies=policies or self._readings.policies,
                docker=docker or self._readings.docker,
                storage=storage or self._readings.storage,
            )
