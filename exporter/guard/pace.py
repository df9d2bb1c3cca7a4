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
# Waking up costs a tenth of a millisecond of a processor that has slept, whatever is done
# then; ten times a second is what a calm pool may cost, and quick beside an lvextend. Of
# many small pools all together are looked at a hundred times a second.
SHORTEST_CALM_SECONDS, CALM_LOOKS_PER_SECOND = 0.1, 100.0

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


def pause_seconds(
    seen: SeenPool, reason: Reason, interval_seconds: float, *, pools: int = 1
) -> float:
    """Seconds until the next look at one of so many pools; `interval_seconds` is the most.

    By how fast it fills, and by how fast it would if a burst began now.
    """
    if reason not in HURRIED:
        return interval_seconds
    filling = min(map(seen.seconds_until_full, Device)) / LOOKS
    bursting = min(
        seen.seconds_until_full(device, at_least=BURST_BYTES_PER_SECOND[device])
        for device in Device
    )
    calm = max(SHORTEST_CALM_SECONDS, pools / CALM_LOOKS_PER_SECOND)
    return min(max(filling, SHORTEST_SECONDS), max(bursting / LOOKS, calm), interval_seconds)
