"""What the settings let the guard do, and the clocks it goes by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct, structs

from exporter.model import Device, Filling, GuardMode, GuardNote, PoolMode, ThinPool
from exporter.policy import NOTHING_EXPECTED, Limits, Outlook


class PoolRule(Struct, frozen=True, kw_only=True):
    """What the settings say of one pool."""

    mode: GuardMode | None = None
    max_size_bytes: int | None = None
    anticipate: bool | None = None


class Rules(Struct, frozen=True, kw_only=True):
    """What the settings let the guard do; `pools` by `vg/pool`."""

    mode: GuardMode = GuardMode.AUTO
    reserve_bytes: int = 0
    takeover_after_seconds: float = 30.0
    anticipate: bool = True
    horizon_seconds: float = 10.0
    interval_seconds: float = 1.0
    pools: Mapping[str, PoolRule] = {}

    @property
    def may_extend(self) -> bool:
        """Whether any pool may be extended."""
        modes = {self.mode, *(rule.mode for rule in self.pools.values())}
        return bool(modes & {GuardMode.AUTO, GuardMode.ALWAYS})

    def mode_of(self, pool: ThinPool) -> GuardMode:
        """Find the mode in force for a pool."""
        rule = self.pools.get(pool.label)
        return rule.mode if rule and rule.mode else self.mode

    def limits_of(self, pool: ThinPool) -> Limits:
        """Find the limits in force for a pool."""
        rule = self.pools.get(pool.label)
        return Limits(
            max_size_bytes=rule.max_size_bytes if rule else None,
            reserve_bytes=self.reserve_bytes,
        )

    def outlook_of(
        self, pool: ThinPool, filling: Mapping[Device, Filling], reaction_seconds: float
    ) -> Outlook:
        """Return what to expect of a pool; nothing if anticipation is switched off.

        A burst that is over is no reason to extend, unless the pool is full: then its
        writers wait.
        """
        rule = self.pools.get(pool.label)
        own = rule.anticipate if rule else None
        if not (self.anticipate if own is None else own):
            return NOTHING_EXPECTED
        is_full = pool.mode is PoolMode.OUT_OF_DATA_SPACE
        present = {
            device: rate for device, rate in filling.items() if rate.is_ongoing or is_full
        }
        return Outlook(
            bytes_per_second={
                device: rate.bytes_per_second for device, rate in present.items()
            },
            lasted_seconds={device: rate.lasted_seconds for device, rate in present.items()},
            reaction_seconds=reaction_seconds,
            horizon_seconds=self.horizon_seconds,
            is_for_any_policy=own is True,
        )

    def note(self, pid: int) -> GuardNote:
        """Say what the process of this number goes by."""
        modes = {label: rule.mode for label, rule in self.pools.items() if rule.mode}
        return GuardNote(pid=pid, mode=self.mode, pools=modes)

    def as_noted(self, note: GuardNote) -> Rules:
        """Take the modes of the guard that runs, which may differ from the settings."""
        labels = self.pools.keys() | note.pools.keys()
        pools = {
            label: structs.replace(
                self.pools.get(label, PoolRule()), mode=note.pools.get(label)
            )
            for label in labels
        }
        return structs.replace(self, mode=note.mode, pools=pools)


class Clocks(Struct, frozen=True, kw_only=True):
    """Monotonic seconds for waiting, seconds since the epoch for people."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]
