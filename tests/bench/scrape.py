"""How fast a scrape is while Snapshots are rendered: `python tests/bench/scrape.py`.

A host of 100 pools and 1,000 thin volumes, whose Snapshot is replaced and rendered as
often as the service does; an `lvs` that never returns. In turn with it, a bare server of
its own process sends as many bytes from memory: what that takes is the machine's.
Ends with 1 if the 99th percentile is over 10 ms.
On a busy machine measure with a priority of its own: `chrt --rr 5 python …`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from exporter.exposition import Exposition
from exporter.model import Snapshot
from exporter.service.pacing import PUBLISH_SECONDS, PUBLISH_SHARE
from exporter.web.app import build_app
from exporter.web.server import SWITCH_INTERVAL_SECONDS, WebServer
from exporter.web.traffic import Traffic
from tests.factories import TAKEN_AT, make_large_snapshot

PROMETHEUS = {
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    "Accept-Encoding": "gzip",
}
CURL = {"Accept": "*/*"}
LIMIT_SECONDS = 0.010


class Kind(NamedTuple):
    """A way to scrape."""

    name: str
    headers: dict[str, str]
    keeps_connection: bool


KINDS = (
    Kind("Prometheus, keep-alive", PROMETHEUS, keeps_connection=True),
    Kind("Prometheus, new connection", PROMETHEUS, keeps_connection=False),
    Kind("plain text, keep-alive", CURL, keeps_connection=True),
    Kind("plain text, new connection", CURL, keeps_connection=False),
)


class Publisher(threading.Thread):
    """Replaces the Snapshot as often as the service does, and has it rendered."""

    def __init__(self, pools: int, traffic: Traffic) -> None:
        super().__init__(daemon=True)
        self._pools = pools
        self.snapshot = make_large_snapshot(pools)
        self.exposition = Exposition(self.latest, wall=lambda: TAKEN_AT, pause=traffic.give_way)
        self.render_seconds: list[float] = []
        self.render_cpu_seconds: list[float] = []

    def latest(self) -> Snapshot:
        """Return the newest Snapshot."""
        return self.snapshot

    def run(self) -> None:
        """Publish until the process ends."""
        for number in range(sys.maxsize):
            self.snapshot = make_large_snapshot(self._pools, taken_at=TAKEN_AT + number / 1000)
            start, cpu_start = time.perf_counter(), time.thread_time()
            self.exposition.refresh()
            self.render_cpu_seconds.append(time.thread_time() - cpu_start)
            self.render_seconds.append(time.perf_counter() - start)
            # As the service does: seldom enough to leave the core to others.
            cost = self.render_cpu_seconds[-1]
            time.sleep(max(PUBLISH_SECONDS, cost / PUBLISH_SHARE))


def main() -> int:
    """Measure, print, and judge."""
    options = _options()
    sys.setswitchinterval(options.switch_interval)
    with _serving(options.pools) as (publisher, address), _bare_server() as bare:
        count = options.scrapes // len(KINDS)
        worst = max(_measure((address, bare), kind, count) for kind in KINDS)
        _report_rendering(publisher)
    verdict = "within" if worst < LIMIT_SECONDS else "OVER"
    say(f"p99 at worst {worst * 1000:.2f} ms: {verdict} {LIMIT_SECONDS * 1000:.0f} ms")
    return worst >= LIMIT_SECONDS


def say(line: str) -> None:
    """Print at once, since a run takes half a minute."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", type=int, default=100)
    parser.add_argument("--scrapes", type=int, default=2000)
    parser.add_argument("--switch-interval", type=float, default=SWITCH_INTERVAL_SECONDS)
    return parser.parse_args()


@contextmanager
def _serving(pools: int) -> Iterator[tuple[Publisher, str]]:
    hung_lvs = threading.Thread(target=threading.Event().wait, daemon=True)
    traffic = Traffic()
    publisher = Publisher(pools, traffic)
    app = build_app(publisher.exposition, publisher.latest)
    server = WebServer(app, ["127.0.0.1:0"], traffic=traffic)
    hung_lvs.start()
    publisher.start()
    server.start()
    try:
        yield publisher, server.addresses[0]
    finally:
        server.stop()


@contextmanager
def _bare_server() -> Iterator[str]:
    """Serve from memory, in another process; gives its address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve_bare, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"127.0.0.1:{ours.recv()}"
    finally:
        process.kill()
        process.join()


def serve_bare(pipe: Connection) -> None:
    """Answer each request, `GET /SIZE`, with so many bytes; sends the port first."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while request := await reader.readuntil(b"\r\n\r\n"):
                size = int(request.split()[1][1:])
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                writer.write(bytes(size))
                await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


def _measure(addresses: tuple[str, str], kind: Kind, count: int) -> float:
    """Scrape from another process, whose work is not the server's."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        ours, bare, size = pool.apply(scrape, (addresses, kind, count))
    say(f"{kind.name}: {count} scrapes of {size} bytes, RSS {_rss_mib():.1f} MiB")
    p99 = _say_quantiles("ours", ours)
    bare_p99 = _say_quantiles("bare", bare)
    say(f"  ratio of the 99th percentiles {p99 / bare_p99:.1f}")
    return p99


def _say_quantiles(name: str, seconds: list[float]) -> float:
    p50, p99 = (statistics.quantiles(seconds, n=100)[rank - 1] for rank in (50, 99))
    times = f"p50 {p50 * 1000:6.2f}  p99 {p99 * 1000:6.2f}  max {max(seconds) * 1000:6.2f} ms"
    say(f"  {name} {times}")
    return p99


def scrape(
    addresses: tuple[str, str], kind: Kind, count: int
) -> tuple[list[float], list[float], int]:
    """Scrape both in turn, spread over some seconds; return durations and our size."""
    ours, bare = (http.client.HTTPConnection(address, timeout=10) for address in addresses)
    size = _get(ours, "/metrics", kind)
    time.sleep(1.5)  # the publisher now renders what was asked for
    durations: tuple[list[float], list[float]] = ([], [])
    for _ in range(count):
        size = _timed_get(ours, "/metrics", kind, durations[0])
        time.sleep(0.007)  # out of step with the publisher
        _timed_get(bare, f"/{size}", kind, durations[1])
    return *durations, size


def _timed_get(
    connection: http.client.HTTPConnection, path: str, kind: Kind, seconds: list[float]
) -> int:
    if not kind.keeps_connection:
        connection.close()
    start = time.perf_counter()
    size = _get(connection, path, kind)
    seconds.append(time.perf_counter() - start)
    return size


def _get(connection: http.client.HTTPConnection, path: str, kind: Kind) -> int:
    connection.request("GET", path, headers=kind.headers)
    return len(connection.getresponse().read())


def _rss_mib() -> float:
    fields = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    line = next(line for line in fields if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def _report_rendering(publisher: Publisher) -> None:
    wall = statistics.median(publisher.render_seconds) * 1000
    cpu = statistics.median(publisher.render_cpu_seconds) * 1000
    say(f"rendering, all variants: {wall:.0f} ms, of which {cpu:.0f} ms of CPU")


if __name__ == "__main__":
    sys.exit(main())
