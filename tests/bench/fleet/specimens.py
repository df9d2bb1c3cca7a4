"""What real expositions of hosts look like: each from the program itself, on a simulated host.

The text of `/metrics` with all that the program says, its own process included.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Mapping

import structlog

from exporter import log
from exporter.config import Settings
from exporter.config.settings import GuardSettings
from exporter.guard import Clocks
from exporter.model import GuardMode
from exporter.service.reloading import Reloading
from exporter.service.service import Service
from exporter.service.serving import WebOptions
from exporter.simulation import SimulatedHost
from exporter.simulation.figures import GIB, KIB, MIB
from exporter.simulation.lvm_config import STEP, THRESHOLD
from exporter.simulation.records import PoolSpec
from tests.waiting import wait_for

POOL = "docker/thinpool"
DATA_BYTES, METADATA_BYTES = 100 * GIB, GIB
VG_BYTES = 400 * GIB
EXTENT_BYTES, CHUNK_BYTES = 4 * MIB, 512 * KIB
READY_SECONDS = 30.0
OBSERVING = Settings(guard=GuardSettings(mode=GuardMode.OBSERVE))
# A filling pool's families are complete once its rate is known.
LAST_TO_COME = 'thinpool_seconds_until_full{device="metadata"'


def make_host(change: Callable[[SimulatedHost], None], *, vg_bytes: int) -> SimulatedHost:
    """Make a host with Docker on the one pool of LVM's that it has."""
    host = SimulatedHost(time.monotonic)
    host.set_config(THRESHOLD, 80)
    host.set_config(STEP, 20)
    host.add_vg("docker", extents=vg_bytes // EXTENT_BYTES)
    spec = PoolSpec(
        data_bytes=DATA_BYTES,
        metadata_bytes=METADATA_BYTES,
        chunk_bytes=CHUNK_BYTES,
        used_bytes=DATA_BYTES // 2,
        metadata_used_bytes=METADATA_BYTES // 5,
        bytes_per_second=16 * MIB,
        metadata_bytes_per_second=64 * KIB,
    )
    host.add_pool(POOL, spec)
    for number in range(3):
        host.add_docker_thin(POOL, size_bytes=60 * GIB, container=f"web-{number}")
    host.set_docker(POOL)
    change(host)
    return host


def _nothing(_: SimulatedHost) -> None:
    """Leave the host as it is."""


def _needs_check(host: SimulatedHost) -> None:
    host.set_needs_check(POOL)


def specimen(
    change: Callable[[SimulatedHost], None] = _nothing,
    settings: Settings | None = None,
    *,
    vg_bytes: int = VG_BYTES,
    last: str = LAST_TO_COME,
) -> str:
    """Run the program on a host; what a scrape gets once the last figure is there."""
    log.configure("error")
    host, logger = make_host(change, vg_bytes=vg_bytes), structlog.get_logger("fleet")
    service = Service(
        host.access(),
        settings or Settings(),
        WebOptions(addresses=["127.0.0.1:0"], telemetry_path="/metrics"),
        reloading=Reloading(Settings, wall_clock=time.time, log=logger),
        clocks=Clocks(monotonic=time.monotonic, wall=time.time),
        log=logger,
    )
    stop, is_ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=service.run, args=(stop, is_ready.set))
    thread.start()
    try:
        assert is_ready.wait(READY_SECONDS)
        url = f"http://{service.addresses[0]}/metrics"
        return wait_for(
            lambda: _complete(url, last), seconds=READY_SECONDS, what="every figure is known"
        )
    finally:
        stop.set()
        thread.join(READY_SECONDS)


def _complete(url: str, last: str) -> str | None:
    with urllib.request.urlopen(url, timeout=READY_SECONDS) as answer:
        text: str = answer.read().decode()
    return text if last in text else None


def specimens() -> Mapping[str, str]:
    """Make one of each: a healthy host, and those whose trouble is to be seen."""
    return {
        "healthy": specimen(),
        "unprotected": specimen(settings=OBSERVING),
        "no_room": specimen(vg_bytes=DATA_BYTES + 2 * METADATA_BYTES),
        "needs_check": specimen(_needs_check, last="thinpool_docker_data_size_bytes "),
    }
