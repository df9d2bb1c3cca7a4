"""What LVM's own arithmetic asks for, from the kernel's usage and the policy."""

from __future__ import annotations

from msgspec import Struct

from exporter import autoextend
from exporter.model import Policy, ThinPool


class Need(Struct, frozen=True, kw_only=True):
    """What LVM's arithmetic asks for, in percent of each LV (0: nothing)."""

    policy: Policy
    data_percent: int
    metadata_percent: int

    @classmethod
    def of(cls, pool: ThinPool) -> Need | None:
        """Compute it; None where usage or policy is unknown."""
        lvm, policy = pool.lvm, pool.policy
        if lvm is None or policy is None or pool.data is None or pool.metadata is None:
            return None
        threshold, step = policy.threshold_percent, policy.step_percent
        return cls(
            policy=policy,
            data_percent=autoextend.step_percent(
                pool.data, threshold_percent=threshold, policy_percent=step
            ),
            metadata_percent=autoextend.metadata_step_percent(
                pool.metadata,
                size_bytes=lvm.metadata_size_bytes,
                threshold_percent=threshold,
                policy_percent=step,
            ),
        )
