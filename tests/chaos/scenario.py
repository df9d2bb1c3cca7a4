"""What directed tests do and ask, over and over."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from exporter.config import Settings
from tests.chaos.host import ChaosHost
from tests.chaos.service import Service

# From the crossing to the kernel's new size. It takes 0.1 s; the rest is for a busy machine.
EXTENDED_SECONDS = 3.0
# Until another thread takes over from one that waits in the kernel for a disk.
STEP_OVER_SECONDS = 4.0
# A loop that spins makes thousands.
MOST_CYCLES_PER_SECOND = 120


def with_guard(settings: Settings, **changes: object) -> Settings:
    """Change what the guard may do."""
    return structs.replace(settings, guard=structs.replace(settings.guard, **changes))


def with_deadline(settings: Settings, seconds: float) -> Settings:
    """Change how long LVM is waited for."""
    collect = structs.replace(settings.collect, lvm_deadline_seconds=seconds)
    return structs.replace(settings, collect=collect)


def grows(
    host: ChaosHost,
    service: Service,
    label: str,
    *,
    to_ratio: float,
    seconds: float = EXTENDED_SECONDS,
) -> None:
    """Fill a pool at once, and check that it is extended in time."""
    before = host.truth(label).total
    host.fill_to(label, to_ratio)
    service.wait(
        lambda: host.truth(label).total > before, seconds=seconds, what=f"{label} is extended"
    )


def observe(
    service: Service, seconds: float, *, until: Callable[[], bool] = lambda: False
) -> None:
    """Let so much time pass by the guard's clock, or less if `until` becomes true."""
    ends_at = service.clock() + seconds
    service.wait(
        lambda: until() or service.clock() >= ends_at,
        what=f"{seconds} s of the guard's clock",
    )


def assert_calm(service: Service) -> None:
    """Check that the loop has paused between its cycles."""
    for call in ("kernel.arm", "kernel.wait"):
        assert service.calls.busiest(call, 1.0) <= MOST_CYCLES_PER_SECOND, call
