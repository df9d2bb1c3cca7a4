"""p01b, in a process of its own: the kernel gives no more threads (RLIMIT_NPROC).

That limit holds for every user but root; pids.max, threads-max and pid_max hold for root.
Ends with 0 if the pool was extended all the same.
"""

from __future__ import annotations

import os
import resource
import sys

from tests.chaos.host import ChaosHost
from tests.chaos.service import Service

NOBODY = 65534
EXTENDED_SECONDS = 3.0


def main() -> None:
    """Guard a pool, run out of threads, fill it."""
    host = ChaosHost()
    host.set_profile("p", threshold=80, percent=20)
    host.add_vg("a", extents=1000)
    host.make_pool("a/pool")
    with Service(host) as service:
        service.settle()
        service.exposition()  # loads what is loaded late, which nobody may read
        if os.getuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        before = host.truth("a/pool").total
        host.fill_to("a/pool", 0.9)
        service.wait(
            lambda: host.truth("a/pool").total > before,
            seconds=EXTENDED_SECONDS,
            what="a/pool is extended",
        )


if __name__ == "__main__":
    main()
    sys.stdout.write("extended\n")
