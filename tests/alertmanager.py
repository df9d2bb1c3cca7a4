"""Debian's Alertmanagers, with the routes and inhibitions of the example."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.programs import Edition, need
from tests.prometheus import free_port
from tests.waiting import PATIENCE_SECONDS, wait_for

PACKAGES = "prometheus-alertmanager"
EXAMPLE = Path(__file__).parents[1] / "rules" / "alertmanager.example.yml"
RECEIVERS = "http://127.0.0.1:9099"


def amtool(*arguments: str, edition: Edition) -> tuple[int, str]:
    """Run amtool; its exit status, and all that it says."""
    done = subprocess.run(
        (need("amtool", PACKAGES, edition), *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout


def hurried(receivers: str) -> dict[str, Any]:
    """Read the example, with other receivers, and with seconds for its minutes and hours."""
    config: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text().replace(RECEIVERS, receivers))
    route = config["route"]
    for part in (route, *route["routes"]):
        part.update({key: "1s" for key in ("group_wait", "group_interval") if key in part})
    return config


@contextmanager
def running(
    directory: Path, config: Mapping[str, Any], edition: Edition = Edition.INSTALLED
) -> Iterator[str]:
    """Run Alertmanager by itself, and give its address."""
    directory.mkdir(exist_ok=True)
    (directory / "alertmanager.yml").write_text(json.dumps(config))
    port = free_port()
    argv = (
        need("prometheus-alertmanager", PACKAGES, edition),
        f"--config.file={directory}/alertmanager.yml",
        f"--storage.path={directory}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(
            lambda: _ask(address, "/-/ready") is not None or None,
            seconds=PATIENCE_SECONDS,
            what="Alertmanager",
        )
        yield address
    finally:
        process.kill()
        process.wait()


def post(alertmanager: str, alerts: Sequence[Mapping[str, str]]) -> None:
    """Raise alerts of these labels."""
    request = urllib.request.Request(
        f"{alertmanager}/api/v2/alerts",
        data=json.dumps([{"labels": labels} for labels in alerts]).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


def alerts(alertmanager: str) -> list[dict[str, Any]]:
    """Read all alerts, with what has become of each."""
    answer = _ask(alertmanager, "/api/v2/alerts")
    return json.loads(answer) if answer else []


def _ask(address: str, path: str) -> bytes | None:
    try:
        with urllib.request.urlopen(f"{address}{path}", timeout=10) as page:
            answer: bytes = page.read()
            return answer
    except OSError:
        return None
