"""One pool with everything that the report judges it by."""

from __future__ import annotations

from msgspec import Struct

from exporter.autoextend import NEVER_PERCENT, PERCENT_1, usage_percent
from exporter.model import (
    Collector,
    Decision,
    Device,
    Dmeventd,
    DockerInfo,
    Engine,
    GuardMode,
    GuardNote,
    LvmSettings,
    NextStep,
    PoolGuard,
    PoolMode,
    PoolSource,
    Reason,
    Snapshot,
    ThinPool,
    Usage,
    VolumeGroup,
)
from exporter.policy import Limits, decide, next_steps
from exporter.report.text import shown


class Case(Struct, frozen=True, kw_only=True):
    """One pool and its surroundings.

    `judged` and `note` are the guard's; `silence_seconds` is for how long it has completed no
    cycle, if that is too long. `decision` and `steps` are LVM's own, without the guard's modes
    and limits: what dmeventd would be up against. `namesakes` are the VGs that share the name
    of the pool's VG, itself included, if several do: `group` is None then.
    """

    pool: ThinPool
    group: VolumeGroup | None
    namesakes: tuple[VolumeGroup, ...] = ()
    settings: LvmSettings = LvmSettings()
    no_space_timeout_seconds: float | None = None
    dmeventd: Dmeventd
    docker: DockerInfo | None
    is_docker_s: bool
    vg_names: frozenset[str]
    judged: PoolGuard | None
    note: GuardNote | None
    silence_seconds: float | None
    decision: Decision
    steps: tuple[NextStep, ...]
    is_lvm_read: bool
    # The pool whose device is this one's data device; "" for any other device.
    lies_on: str = ""

    @classmethod
    def of(
        cls,
        pool: ThinPool,
        snapshot: Snapshot,
        note: GuardNote | None,
        silence_seconds: float | None = None,
    ) -> Case:
        """Gather what belongs to a pool."""
        group = snapshot.volume_group(pool.vg_name)
        lvm = snapshot.collectors.get(Collector.LVM)
        guard, version = snapshot.guard, snapshot.lvm_version
        return cls(
            pool=pool,
            group=group,
            namesakes=tuple(
                other
                for other in snapshot.same_named_groups
                if pool.vg_name and other.name == pool.vg_name
            ),
            settings=snapshot.lvm_settings,
            no_space_timeout_seconds=snapshot.no_space_timeout_seconds,
            dmeventd=snapshot.dmeventd,
            docker=snapshot.docker,
            is_docker_s=_is_docker_s(pool, snapshot),
            vg_names=frozenset(known.name for known in snapshot.volume_groups),
            judged=guard.pools.get(pool.label) if guard else None,
            note=note,
            silence_seconds=silence_seconds,
            decision=decide(pool, group, Limits(), lvm_version=version),
            steps=next_steps(pool, group, Limits(), lvm_version=version),
            is_lvm_read=lvm is not None and lvm.is_ok,
            lies_on=_pool_under(pool, snapshot),
        )

    @classmethod
    def of_name(cls, pool: ThinPool) -> Case:
        """Make the case of a pool of which nothing but its name can be shown."""
        return cls(
            pool=ThinPool(
                vg_name=pool.vg_name, name=pool.name, source=pool.source, mode=PoolMode.UNKNOWN
            ),
            group=None,
            dmeventd=Dmeventd(is_alive=None),
            docker=None,
            is_docker_s=False,
            vg_names=frozenset(),
            judged=None,
            note=None,
            silence_seconds=None,
            decision=Decision(reason=Reason.INTERNAL_ERROR),
            steps=(),
            is_lvm_read=False,
        )

    @property
    def name(self) -> str:
        """The pool's label, safe to show."""
        return shown(self.pool.label)

    @property
    def is_lvm(self) -> bool:
        """Whether LVM's commands know the pool."""
        return self.pool.source is PoolSource.LVM

    @property
    def dm_name(self) -> str:
        """The device-mapper name, or the label where the kernel does not tell."""
        return self.pool.kernel.dm_name if self.pool.kernel else self.pool.label

    @property
    def guard_name(self) -> str:
        """How the report calls the guard that runs."""
        if self.note is None:
            return "no guard"
        mode = self.judged.mode if self.judged else self.note.mode
        return f"this guard ({mode}, pid {self.note.pid})"

    @property
    def is_guard_at_work(self) -> bool:
        """Whether a guard runs, and completes its cycles."""
        return self.note is not None and self.silence_seconds is None

    @property
    def fits(self) -> bool:
        """Whether the VG can give the whole next extension, as LVM demands."""
        return bool(self.steps) and all(
            step.possible_bytes >= step.wanted_bytes for step in self.steps
        )

    @property
    def is_takeover_likely(self) -> bool:
        """Whether a guard in `auto` would give what there is when dmeventd does not."""
        is_auto = self.judged is not None and self.judged.mode is GuardMode.AUTO
        can_give = self.judged is not None and any(
            step.possible_bytes for step in self.judged.steps
        )
        return self.is_guard_at_work and is_auto and can_give

    def usage(self, device: Device) -> Usage | None:
        """Exact usage of one device."""
        return self.pool.data if device is Device.DATA else self.pool.metadata

    def threshold(self, device: Device) -> int | None:
        """Percentage above which LVM extends one device."""
        if device is Device.DATA:
            return self.pool.effective_threshold_percent
        return self.pool.metadata_threshold_percent

    def is_over(self, device: Device) -> bool:
        """Whether one device is above its threshold, so far as that is known."""
        usage, threshold = self.usage(device), self.threshold(device)
        if usage is None or threshold is None or threshold >= NEVER_PERCENT:
            return False
        return usage_percent(usage.used_blocks, usage.total_blocks) > threshold * PERCENT_1

    @property
    def devices_over(self) -> tuple[Device, ...]:
        """The devices above their thresholds."""
        return tuple(device for device in Device if self.is_over(device))

    def step(self, device: Device) -> NextStep | None:
        """Find what the next extension of one device needs."""
        return next((step for step in self.steps if step.device is device), None)


def _pool_under(pool: ThinPool, snapshot: Snapshot) -> str:
    number = pool.kernel.data_device_number if pool.kernel else None
    return next(
        (
            other.label
            for other in snapshot.pools
            if other.kernel and other.kernel.device_number == number
        ),
        "",
    )


def _is_docker_s(pool: ThinPool, snapshot: Snapshot) -> bool:
    """Whether Docker makes its volumes in the pool, or keeps its data on one of its volumes."""
    named = snapshot.docker.pool_name if snapshot.docker else None
    on = snapshot.pools_of(Engine.DOCKER)
    return pool.is_called(named) or (pool.vg_name, pool.name) in on
