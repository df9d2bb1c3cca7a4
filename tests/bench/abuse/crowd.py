"""The abuse of a server, kept up by a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ATTACK = Path(__file__).resolve().with_name("attack.py")
Counts = Mapping[str, int]

SCRAPER = "127.0.0.1"
ELSEWHERE = "127.0.0.2"  # another host than the scraper's, as far as the server can see

# The crowd; the stalled handshakes need a server that speaks TLS.
LISTED: Counts = {"idle": 200, "slow_reader": 50, "endless_header": 20, "many_headers": 20}
STALLED: Counts = {"stalled": 50}


class Worse(NamedTuple):
    """What the crowd leaves out, each by itself; `has_goal`: scrapes must keep to the goal."""

    name: str
    counts: Counts
    is_tls: bool = False
    source: str = ELSEWHERE
    pools: int = 1
    has_goal: bool = False


WORSE = (
    Worse("what is listed, from the scraper's own address", LISTED, source=SCRAPER),
    Worse("the same, TLS", {**LISTED, **STALLED}, is_tls=True, source=SCRAPER),
    Worse("a runbook of 100 pools", {"runbook": 200}, pools=100, has_goal=True),
    Worse("connection churn", {"churn": 20}),
    Worse("requests that are reset", {"reset": 20}),
    Worse("requests whose answer nobody reads", {"unread": 4}),
    Worse("the same, from the scraper's own address", {"unread": 4}, source=SCRAPER),
    Worse("byte by byte", {"slowloris": 400}),
    Worse("a crowd", {"idle": 10_000}),
    Worse("huge URLs", {"huge_url": 20}),
    Worse("huge bodies", {"huge_body": 20}),
    Worse("pipelining", {"pipeline": 50}),
    Worse("garbage", {"garbage": 50}),
    Worse("HTTP/2", {"http2": 20}),
    Worse("handshakes", {"handshakes": 4}, is_tls=True),
    Worse("a crowd of stalled handshakes", {"stalled": 1000}, is_tls=True),
)


class Tally(NamedTuple):
    """How often each kind has been thrown out or has come to its end, once it is over."""

    ends: dict[str, int]

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in sorted(self.ends.items()))


@contextmanager
def abused(
    address: str, counts: Counts, *, is_tls: bool, source: str = ELSEWHERE
) -> Iterator[Tally]:
    """Abuse a server until the end of the block; the tally is filled in then."""
    words = (f"{kind}={count}" for kind, count in counts.items())
    flags = ("--source", source, *(("--tls",) if is_tls else ()))
    argv = [sys.executable, str(ATTACK), address, *words, *flags]
    tally = Tally({})
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            assert process.stdout.readline() == "under way\n"
            yield tally
            process.stdin.close()
            tally.ends.update(json.loads(process.stdout.readline()))
        finally:
            process.kill()


def listed(*, is_tls: bool) -> Counts:
    """Choose what applies."""
    return {**LISTED, **STALLED} if is_tls else LISTED
