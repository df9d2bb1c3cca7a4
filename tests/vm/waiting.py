"""Wait for a condition with a deadline; the only place of the harness that sleeps."""

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], bool],
    *,
    deadline_seconds: float,
    what: str,
    interval_seconds: float = 0.1,
) -> None:
    """Poll condition until it holds; raise TimeoutError naming what was awaited."""
    deadline = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {deadline_seconds:g} s: {what}")
        time.sleep(interval_seconds)
