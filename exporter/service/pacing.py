"""How often Snapshots are passed on: each second, but for a small share of the processor."""

HEALTH_SECONDS = 1.0
PUBLISH_SECONDS = 1.0
# A hundred pools take tens of milliseconds to render: at most this share of one core, but
# on a slow one no figure becomes older than a scrape interval.
PUBLISH_SHARE, PUBLISH_LATEST_SECONDS = 0.01, 10.0


def publish_pause(used_seconds: float, *, is_awaited: bool) -> float:
    """Seconds until the next Snapshot, after one that took so much processor time.

    Somebody waits (`is_awaited`) until everything has been read once.
    """
    longest = 0.0 if is_awaited else PUBLISH_LATEST_SECONDS
    return max(PUBLISH_SECONDS, min(used_seconds / PUBLISH_SHARE, longest))
