"""Serves a fleet: `python tests/bench/fleet/generator.py DIRECTORY --hosts 2000`.

One process for all hosts; a host's metrics are at /NAME. Writes what Prometheus finds them by
(file_sd) into DIRECTORY/targets.json, and prints its address once it listens. It ends with its
standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.bench.fleet.hosts import Host, Template, fleet
from tests.bench.fleet.specimens import specimens

MAX_REQUEST_BYTES = 8192
ANSWER = (
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n"
)


class Scraped(asyncio.Protocol):
    """One connection of a Prometheus; it is kept, and asks for one host after the other."""

    def __init__(self, hosts: Mapping[str, Host], templates: Mapping[str, Template]) -> None:
        self._hosts = hosts
        self._templates = templates
        self._heard = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._heard += data
        while b"\r\n\r\n" in self._heard:
            request, _, self._heard = self._heard.partition(b"\r\n\r\n")
            self._answer(request.split(b" ", 2)[1].decode().removeprefix("/"))
        if len(self._heard) > MAX_REQUEST_BYTES:
            self._hang_up()

    def _answer(self, name: str) -> None:
        host = self._hosts.get(name)
        template = self._templates.get(host.kind) if host else None
        if host is None or template is None or self._transport is None:
            self._hang_up()
            return
        body = template.body(host, time.time()).encode()
        self._transport.write(ANSWER.format(len(body)).encode() + body)

    def _hang_up(self) -> None:
        self._heard = b""
        if self._transport is not None:
            self._transport.abort()


def targets(hosts: Sequence[Host], address: str) -> str:
    """Write what file_sd reads: all at one address, each by its path and its labels."""
    return json.dumps(
        [
            {
                "targets": [address],
                "labels": {
                    "__metrics_path__": f"/{host.name}",
                    "instance": host.name,
                    "rack": host.rack,
                },
            }
            for host in hosts
        ]
    )


async def serve(directory: Path, hosts: Sequence[Host], began_at: float) -> None:
    """Serve until standard input ends."""
    templates = {kind: Template(kind, text, began_at) for kind, text in specimens().items()}
    by_name = {host.name: host for host in hosts}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Scraped(by_name, templates), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    (directory / "targets.json").write_text(targets(hosts, f"{host}:{port}"))
    sys.stdout.write(f"{host}:{port}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Read what is wanted, and serve it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--hosts", type=int, required=True)
    parser.add_argument("--lost-racks", type=int, default=0)
    parser.add_argument("--began-at", type=float, help="of the fleet (default: now)")
    parser.add_argument("--sick", nargs="*", default=(), metavar="KIND=COUNT")
    options = parser.parse_args()
    words = (word.partition("=") for word in options.sick)
    sick = {kind: int(count) for kind, _, count in words}
    hosts = fleet(options.hosts, sick, lost_racks=options.lost_racks)
    asyncio.run(serve(options.directory, hosts, options.began_at or time.time()))


if __name__ == "__main__":
    main()
