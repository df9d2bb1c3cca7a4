"""What the settings let the guard do, and the clocks it goes by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct, structs

from exporter.guard.lock import GuardNote
from exporter.model import GuardMode, ThinPool
from exporter.policy import Limits


class PoolRule(Struct, frozen=True, kw_only=True):
    """What the settings say of one pool."""

    mode: GuardMode | None = None
    max_size_bytes: int | None = None


class Rules(Struct, frozen=True, kw_only=True):
    """What the settings let the guard do; `pools` by `vg/pool`."""

    mode: GuardMode = GuardMode.AUTO
    reserve_bytes: int = 0
    takeover_after_seconds: float = 30.0
    interval_seconds: float = 1.0
    pools: Mapping[str, PoolRule] = {}

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

    def as_noted(self, note: GuardNote) -> Rules:
        """Take the modes of the guard that runs, which may differ from the settings."""
        labels = self.pools.keys() | note.pools.keys()
        pools = {
            label: PoolRule(
                mode=note.pools.get(label),
                max_size_bytes=self.pools[label].max_size_bytes
                if label in self.pools
                else None,
            )
            for label in labels
        }
        return structs.replace(self, mode=note.mode, pools=pools)


class Clocks(Struct, frozen=True, kw_only=True):
    """Monotonic seconds for waiting, seconds since the epoch for people."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]
