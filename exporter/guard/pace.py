"""How soon the guard looks at a pool again: often enough to see it fill before it is full."""

from __future__ import annotations

from exporter.guard.sight import SeenPool
from exporter.model import Device, Reason

# Nothing tells of a burst before it comes. A quick disk takes this much of data, and that
# fills metadata at a thousandth of it.
BURST_BYTES_PER_SECOND = {Device.DATA: 1024.0**3, Device.METADATA: 1024.0**2}
# So many looks between the first write and a full pool: a few to know the rate, and most
# of the time for lvextend.
LOOKS = 16
SHORTEST_SECONDS = 0.03

# In these an extension is possible, so that seeing the need earlier helps.
HURRIED = frozenset(
    {
        Reason.BELOW_THRESHOLD,
        Reason.EXTEND,
        Reason.EXTEND_CLAMPED,
        Reason.EXTEND_ANTICIPATED,
        Reason.BUSY,
        Reason.LAYOUT_DIFFERS,
    }
)


def pause_seconds(seen: SeenPool, reason: Reason, interval_seconds: float) -> float:
    """Seconds until the next look at a pool; `interval_seconds` is the most."""
    if reason not in HURRIED:
        return interval_seconds
    left = min(
        seen.seconds_until_full(device, at_least=BURST_BYTES_PER_SECOND[device])
        for device in Device
    )
    return min(max(left / LOOKS, SHORTEST_SECONDS), interval_seconds)
