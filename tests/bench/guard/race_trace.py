"""Watches one pool in the guest: a line for each change, in seconds of the monotonic clock.

`race_trace.py DM_NAME` prints `SECONDS USED TOTAL` in blocks of the pool, which are chunks,
until it is ended.
"""

from __future__ import annotations

import sys
import time

from exporter.devmapper import IoctlKernel

LOOK_SECONDS = 0.02


def main(name: str) -> None:
    """Look again and again."""
    kernel = IoctlKernel()
    last = ""
    while True:
        device = kernel.device(name)
        words = (device.status or "").split() if device else []
        seen = " ".join(words[2:3]).replace("/", " ") if len(words) > 2 else "none"
        if seen != last:
            last = seen
            sys.stdout.write(f"{time.monotonic():.3f} {seen}\n")
            sys.stdout.flush()
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])
