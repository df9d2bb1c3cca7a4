"""What a pool needs: by LVM's own arithmetic, and by how fast it fills."""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct

from exporter import autoextend
from exporter.autoextend import NEWEST, Rules
from exporter.model import Device, Policy, ThinPool, Usage

# A rate is expected to last for so many times as long as it has lasted: what was written in a
# quarter of a second says little about the next ten.
PERSISTENCE = 4.0
# For a writer that becomes faster, an lvextend that is slower than the last ones, and the pause
# until the next look at the pool.
MARGIN = 1.5
# Up to here the time of an lvextend is planned with whoever writes; a longer one, which may
# have waited for a lock, only as far as the writer is expected to last.
QUICK_SECONDS = 2.0
# However quick lvextend is: each extension suspends the pool, and the next may be a slow one.
LEAST_AHEAD_SECONDS = 2.0


class Outlook(Struct, frozen=True, kw_only=True):
    """What is to be expected of a pool; a device that does not fill may be absent.

    `lasted_seconds`: for how long a device has been filling at its rate; absent means for
    long. `reaction_seconds`: the time from a decision to extend until the next extension can
    begin, by when the first one has taken effect. `horizon_seconds`: for how long an
    extension should last at the present rate.
    """

    bytes_per_second: Mapping[Device, float]
    lasted_seconds: Mapping[Device, float] = {}
    reaction_seconds: float
    horizon_seconds: float
    is_for_any_policy: bool = False  # the user wants it although LVM would never extend

    def wanted_bytes(self, device: Device, usage: Usage, *, is_over: bool) -> int:
        """Return the bytes to add so that the next extension comes in time; 0: none needed.

        With F free bytes, a rate of R and a reaction of E seconds: an extension decided now
        takes effect after E; the next one can be decided then, and takes effect after 2 E.
        So the bytes A that are added now must satisfy F + A >= R * 2 * E * MARGIN. They are as
        many as last for S seconds, S >= 2 * E * MARGIN. Nothing is added while F >= R * S / 2:
        then a later decision is in time, and each extension adds at least S / 2 seconds. An E
        above QUICK_SECONDS is cut down until 2 * E * MARGIN is no longer than the rate is
        expected to last.
        A device that is extended for its threshold gets as much in the same command: every
        extension suspends the pool, so fewer are better.
        """
        rate = self.bytes_per_second.get(device, 0.0)
        free = usage.total_bytes - usage.used_bytes
        wanted = math.ceil(rate * self._seconds_ahead(device))
        if not is_over and free >= wanted / 2:
            return 0
        return max(0, wanted - free)

    def _reaction_seconds(self, device: Device) -> float:
        longest = self._lasts_seconds(device) / (2 * MARGIN)
        return min(self.reaction_seconds, max(QUICK_SECONDS, longest))

    def _lasts_seconds(self, device: Device) -> float:
        """Return for how many seconds the present rate is expected to last."""
        return PERSISTENCE * self.lasted_seconds.get(device, math.inf)

    def _seconds_ahead(self, device: Device) -> float:
        """Return for how many seconds an extension should last.

        A short burst is not expected to last for the whole horizon; but whatever the horizon,
        what is added must outlast the next extension.
        """
        expected = max(LEAST_AHEAD_SECONDS, self._lasts_seconds(device))
        reactions = 2 * self._reaction_seconds(device) * MARGIN
        return max(reactions, min(self.horizon_seconds, expected))


NOTHING_EXPECTED = Outlook(bytes_per_second={}, reaction_seconds=0.0, horizon_seconds=0.0)


class Need(Struct, frozen=True, kw_only=True):
    """Percent of each LV that LVM's policy asks for, bytes that the outlook does."""

    policy: Policy
    data_percent: int
    metadata_percent: int
    data_bytes: int = 0
    metadata_bytes: int = 0

    @property
    def is_data(self) -> bool:
        """Whether the data LV needs to grow."""
        return bool(self.data_percent or self.data_bytes)

    @property
    def is_metadata(self) -> bool:
        """Whether the metadata LV needs to grow."""
        return bool(self.metadata_percent or self.metadata_bytes)

    @classmethod
    def of(
        cls, pool: ThinPool, outlook: Outlook = NOTHING_EXPECTED, rules: Rules = NEWEST
    ) -> Need | None:
        """Compute it; None where usage or policy is unknown."""
        lvm, policy = pool.lvm, pool.policy
        if lvm is None or policy is None or pool.data is None or pool.metadata is None:
            return None
        threshold, step = policy.threshold_percent, policy.step_percent
        data = autoextend.step_percent(
            pool.data, threshold_percent=threshold, policy_percent=step, rules=rules
        )
        metadata = autoextend.metadata_step_percent(
            pool.metadata,
            size_bytes=lvm.metadata_size_bytes,
            threshold_percent=threshold,
            policy_percent=step,
            rules=rules,
        )
        return cls(
            policy=policy,
            data_percent=data,
            metadata_percent=metadata,
            data_bytes=outlook.wanted_bytes(Device.DATA, pool.data, is_over=bool(data)),
            metadata_bytes=outlook.wanted_bytes(
                Device.METADATA, pool.metadata, is_over=bool(metadata)
            ),
        )

    def without_policy(self) -> Need:
        """Leave what the outlook alone asks for."""
        return Need(
            policy=self.policy,
            data_percent=0,
            metadata_percent=0,
            data_bytes=self.data_bytes,
            metadata_bytes=self.metadata_bytes,
        )
