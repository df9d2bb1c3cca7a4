"""Take a host's memory: `python3 hog.py LEFT_MIB`, in the guest.

Holds all but so much of what is available, which takes the page cache with it, and evicts
what caches are left, again and again: code that runs has to be read from its disk.
"""

import re
import sys
import time
from pathlib import Path

MIB = 1024 * 1024
STEP_MIB = 16
LOOK_SECONDS = 0.2
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
IN_SILENCE = "4"  # else the kernel logs each time
EVERYTHING = "3"  # the page cache, names and inodes


def main() -> None:
    """Take memory and evict caches until the end."""
    left_mib = int(sys.argv[1])
    # First of all: the kernel shall choose this process and no other.
    Path("/proc/self/oom_score_adj").write_text("1000")
    DROP_CACHES.write_text(IN_SILENCE)
    taken = []
    while True:
        while available_mib() > left_mib + STEP_MIB:
            taken.append(b"x" * (STEP_MIB * MIB))  # zeros would take nothing
        DROP_CACHES.write_text(EVERYTHING)
        time.sleep(LOOK_SECONDS)


def available_mib() -> int:
    """Read what the kernel could still give out, page cache included."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return int(found[1]) // 1024 if found else 0


if __name__ == "__main__":
    main()
