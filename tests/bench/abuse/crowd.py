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

# What issue 4 lists; the stalled handshakes need a server that speaks TLS.
LISTED: Counts = {"idle": 200, "slow_reader": 50, "endless_header": 20, "many_headers": 20}
STALLED: Counts = {"stalled": 50}
# What it does not list, each by itself.
WORSE: Mapping[str, Counts] = {
    "connection churn": {"churn": 20},
    "requests that are reset": {"reset": 20},
    "requests whose answer nobody reads": {"unread": 4},
    "byte by byte": {"slowloris": 400},
    "a crowd": {"idle": 10_000},
    "huge URLs": {"huge_url": 20},
    "huge bodies": {"huge_body": 20},
    "pipelining": {"pipeline": 50},
    "garbage": {"garbage": 50},
    "HTTP/2": {"http2": 20},
}
WORSE_OF_TLS: Mapping[str, Counts] = {
    "handshakes": {"handshakes": 4},
    "a crowd of stalled handshakes": {"stalled": 1000},
}


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
