"""What the program costs while nothing happens: `python tests/bench/idle.py`.

Quiet pools on a host that answers from memory, default intervals, a scrape every 15 s as
by Prometheus. What starting real commands costs the program is in host.py's figure.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import structlog

from exporter import log
from exporter.config import Settings
from exporter.guard import Clocks
from exporter.service.reloading import Reloading
from exporter.service.service import Service
from exporter.service.serving import WebOptions
from exporter.simulation import SimulatedHost
from exporter.simulation.figures import GIB, MIB
from exporter.simulation.records import PoolSpec
from tests.bench import frozen

SCRAPE_SECONDS = 15.0
SETTLE_SECONDS = 5.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pools", type=int, default=1)
    options = parser.parse_args()
    log.configure("error", "auto")
    service = make_service(options.pools)
    stop, is_ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=service.run, args=(stop, is_ready.set))
    thread.start()
    try:
        is_ready.wait()
        share = measure(service.addresses[0], options.seconds)
    finally:
        stop.set()
        thread.join()
    sys.stdout.write(f"{options.pools} pools: {100 * share:.3f} % of a core\n")


def make_service(pools: int) -> Service:
    """Wire the program to a host of quiet pools."""
    web = WebOptions(addresses=["127.0.0.1:0"], telemetry_path="/metrics")
    clocks = Clocks(monotonic=time.monotonic, wall=time.time)
    logger = structlog.get_logger("bench")
    return Service(
        frozen.access(quiet_host(pools)),
        Settings(),
        web,
        reloading=Reloading(Settings, wall_clock=time.time, log=logger),
        clocks=clocks,
        log=logger,
    )


def quiet_host(pools: int) -> SimulatedHost:
    """Make a host of pools that nobody writes to."""
    simulated = SimulatedHost(time.monotonic)
    simulated.add_vg("docker", extents=pools * 2560)
    for number in range(pools):
        spec = PoolSpec(data_bytes=5 * GIB, metadata_bytes=64 * MIB, used_bytes=GIB)
        simulated.add_pool(f"docker/pool{number}", spec)
    return simulated


def measure(address: str, seconds: float) -> float:
    """Scrape for a while; return this process's share of one core meanwhile."""
    time.sleep(SETTLE_SECONDS)
    used, began = time.process_time(), time.monotonic()
    while time.monotonic() < began + seconds:
        time.sleep(min(SCRAPE_SECONDS, seconds))
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
            page.read()
    return (time.process_time() - used) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
