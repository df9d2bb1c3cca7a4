"""A real Prometheus over a generated fleet, with the rules loaded."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.programs import Edition, need
from tests.prometheus import PACKAGES, free_port
from tests.waiting import wait_for

GENERATOR = Path(__file__).resolve().with_name("generator.py")
RULES = Path(__file__).resolve().parents[3] / "rules"
START_SECONDS = 120.0
ASK_SECONDS = 60.0


class Rates(NamedTuple):
    """How often is scraped, and how often the rules are evaluated that do not say."""

    scrape: str = "15s"
    evaluation: str = "30s"


class Prometheus(NamedTuple):
    """A server that runs."""

    pid: int
    url: str

    def get(self, path: str, **arguments: str) -> Any:  # noqa: ANN401 - JSON
        """Ask its API: the `data` of the answer."""
        query = urllib.parse.urlencode(arguments)
        with urllib.request.urlopen(
            f"{self.url}/api/v1/{path}?{query}", timeout=ASK_SECONDS
        ) as answer:
            return json.load(answer)["data"]

    def values(self, expr: str) -> list[tuple[Mapping[str, str], float]]:
        """Evaluate an expression now: labels and value of each series."""
        result = self.get("query", query=expr)["result"]
        return [(row["metric"], float(row["value"][1])) for row in result]

    def own(self, name: str) -> float:
        """Read a figure that it tells of itself."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=ASK_SECONDS) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if _is(line, name))

    def value(self, expr: str) -> float:
        """Evaluate an expression of one series."""
        ((_, value),) = self.values(expr)
        return value


def _is(line: str, name: str) -> bool:
    return line.startswith((f"{name} ", f"{name}{{"))


@contextmanager
def generating(directory: Path, hosts: int, *flags: str) -> Iterator[int]:
    """Serve a fleet; the targets are in the directory. Gives the generator's process."""
    argv = (sys.executable, str(GENERATOR), str(directory), f"--hosts={hosts}", *flags)
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline(), "the generator has not started"
            yield process.pid
        finally:
            process.kill()


@contextmanager
def watching(directory: Path, rates: Rates) -> Iterator[Prometheus]:
    """Run Prometheus on the targets in the directory, with all rules."""
    config = {
        "global": {
            "scrape_interval": rates.scrape,
            "scrape_timeout": rates.scrape,
            "evaluation_interval": rates.evaluation,
        },
        "rule_files": [str(RULES / name) for name in ("recording.yaml", "alerts.yaml")],
        "scrape_configs": [
            {"job_name": "thinpool", "file_sd_configs": [{"files": ["targets.json"]}]}
        ],
    }
    with running(directory, config) as server:
        yield server


@contextmanager
def running(
    directory: Path, config: Mapping[str, object], edition: Edition = Edition.INSTALLED
) -> Iterator[Prometheus]:
    """Run Prometheus, with its data in the directory."""
    port = free_port()
    (directory / "prometheus.yml").write_text(json.dumps(config))
    argv = (
        need("prometheus", PACKAGES, edition),
        f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(argv, stderr=log)
    server = Prometheus(process.pid, f"http://127.0.0.1:{port}")
    try:
        wait_for(lambda: _is_ready(server, process), seconds=START_SECONDS, what="Prometheus")
        yield server
    finally:
        process.kill()
        process.wait()


def _is_ready(server: Prometheus, process: subprocess.Popen[bytes]) -> bool | None:
    assert process.poll() is None, "Prometheus has ended: see prometheus.log"
    try:
        with urllib.request.urlopen(f"{server.url}/-/ready", timeout=ASK_SECONDS):
            return True
    except OSError:
        return None
