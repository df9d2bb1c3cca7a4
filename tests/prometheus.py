"""Debian's Prometheus servers and promtools, and what they make of our metrics."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.programs import Edition, need
from tests.waiting import wait_for

PACKAGES = "prometheus"
SCRAPE_SECONDS = 60.0


def lint(exposition: bytes, edition: Edition = Edition.INSTALLED) -> tuple[int, str]:
    """Let promtool check an exposition: its exit status, and all that it says."""
    result = subprocess.run(
        [need("promtool", PACKAGES, edition), "check", "metrics"],
        input=exposition,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=60,
    )
    return result.returncode, result.stdout.decode()


@contextmanager
def scraping(
    target: str,
    directory: Path,
    more: Mapping[str, object] | None = None,
    edition: Edition = Edition.INSTALLED,
) -> Iterator[str]:
    """Run Prometheus on a target, and give its address; `more` goes into its configuration."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "thinpool", "static_configs": [{"targets": [target]}]}],
        **(more or {}),
    }
    (directory / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    argv = (
        need("prometheus", PACKAGES, edition),
        f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(argv, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def scraped(prometheus: str, expression: str) -> list[dict[str, str]]:
    """Wait until the target is up and the expression has series: their labels."""
    return wait_for(
        lambda: _query(prometheus, f"({expression}) and on () (up == 1)"),
        seconds=SCRAPE_SECONDS,
        what=f"a scrape with {expression}",
    )


def _query(prometheus: str, expression: str) -> list[dict[str, str]] | None:
    """Evaluate an expression: the labels of its series; None while there is none."""
    arguments = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(
            f"{prometheus}/api/v1/query?{arguments}", timeout=10
        ) as page:
            result = json.load(page)["data"]["result"]
    except OSError:
        return None
    return [row["metric"] for row in result] or None


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
