"""The web side's real process under abuse: it answers meanwhile, and afterwards.

How fast it does is measured by `python -m tests.bench abuse`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from exporter.web.connection import Limits
from tests.bench.abuse import crowd, servers
from tests.bench.abuse.memory import memory_of
from tests.bench.abuse.servers import SIDES, Server
from tests.waiting import eventually

SCRAPES = 20
# A connection that talks takes 200 KiB at most, one that is silent next to nothing.
LIMIT_MIB = Limits().connections * 0.2
OURS = SIDES[0]


def scrape(server: Server) -> None:
    """Scrape on new connections and on one that is kept; each must be answered."""
    for keeps_connection in (False, True):
        scraper = server.scraper(keeps_connection=keeps_connection)
        for _ in range(SCRAPES):
            scraper.get()
        scraper.close()


def has_left(server: Server, before: int) -> bool:
    """Whether the process has no more open than before."""
    return sum(1 for _ in Path(f"/proc/{server.pid}/fd").iterdir()) <= before


LISTED = {"idle": 100, "slow_reader": 10, "endless_header": 5, "many_headers": 5}
STRANGE = {"huge_url": 4, "huge_body": 4, "pipeline": 4, "garbage": 4, "http2": 4}


@pytest.mark.parametrize(
    ("counts", "is_tls"),
    [
        pytest.param(LISTED, False, id="listed"),
        pytest.param({**LISTED, "stalled": 50}, True, id="listed, TLS"),
        pytest.param({"slowloris": 450}, False, id="byte by byte"),
        pytest.param({"idle": 450, "churn": 4, "reset": 4}, False, id="crowd"),
        pytest.param(STRANGE, True, id="strange, TLS"),
    ],
)
def test_answers_under_abuse(
    tmp_path: Path, counts: Mapping[str, int], *, is_tls: bool
) -> None:
    """Above its limits too; it keeps nothing of it, and logs nothing."""
    with servers.running(OURS, tmp_path, is_tls=is_tls) as server:
        before = sum(1 for _ in Path(f"/proc/{server.pid}/fd").iterdir())
        resident = memory_of(server.pid)
        with crowd.abused(server.address, counts, is_tls=is_tls):
            scrape(server)
            assert memory_of(server.pid).unique < resident.unique + LIMIT_MIB
        scrape(server)

        assert eventually(lambda: has_left(server, before))
        log = (tmp_path / "log").read_text()
    told = {json.loads(line)["event"] for line in log.splitlines()}
    assert told <= {"serving", "snapshot_readable", "stopped"}
