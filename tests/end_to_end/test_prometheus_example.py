"""The example configurations: Prometheus takes them, and finds a host by them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.bench.fleet.server import running
from tests.end_to_end.program import Program
from tests.grafana.boards import load
from tests.programs import Edition, need
from tests.prometheus import PACKAGES
from tests.waiting import wait_for

RULES = Path(__file__).resolve().parents[2] / "rules"
SCRAPE_SECONDS = 60.0
# What the example has in /etc/prometheus.
FILES = (
    "thinpool/ca.crt",
    "thinpool/client.crt",
    "thinpool/client.key",
    "thinpool/password",
    "remote-write-password",
)
TARGETS = ("thinpool/hosts.yml", "thinpool-tls/hosts.yml", "thinpool-fleet/hosts.yml")


def installed(name: str, directory: Path, address: str = "127.0.0.1:10128") -> Path:
    """Lay an example's files out in a directory, and point the example at them."""
    for file in FILES:
        (directory / file).parent.mkdir(exist_ok=True)
        (directory / file).touch()
    for file in TARGETS:
        (directory / file).parent.mkdir(exist_ok=True)
        (directory / file).write_text(json.dumps([{"targets": [address]}]))
    text = (RULES / name).read_text().replace("/etc/prometheus", str(directory))
    path = directory / name
    path.write_text(text.replace("/usr/share/thinpool-exporter/rules", str(RULES)))
    return path


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("prometheus.example.yml", ()),
        ("prometheus-edge.example.yml", ()),
        ("prometheus-agent.example.yml", ("--agent",)),
    ],
)
def test_promtool_takes_it(
    tmp_path: Path, name: str, flags: tuple[str, ...], edition: Edition
) -> None:
    """With every file that it names, and the rules."""
    path = installed(name, tmp_path)
    checked = subprocess.run(
        [need("promtool", PACKAGES, edition), "check", "config", *flags, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_prometheus_finds_a_host_by_it(tmp_path: Path, edition: Edition) -> None:
    """By the first of its jobs; the services of the others are not here."""
    with Program("demo", directory=tmp_path) as demo:
        path = installed("prometheus.example.yml", tmp_path, demo.address)
        config = yaml.safe_load(path.read_text())
        config["global"]["scrape_interval"] = config["global"]["evaluation_interval"] = "1s"
        config["scrape_configs"][0]["scrape_timeout"] = "1s"
        config["scrape_configs"] = config["scrape_configs"][:1]
        with running(tmp_path, config, edition) as prometheus:
            found = wait_for(
                lambda: prometheus.values("thinpool:used:ratio") or None,
                seconds=SCRAPE_SECONDS,
                what="a scrape, and what the rules make of it",
            )
    assert {labels["job"] for labels, _ in found} == {"thinpool"}
    assert {labels["instance"] for labels, _ in found} == {demo.address}


def test_the_fleets_dashboard_has_what_the_edge_sends() -> None:
    """Every series that it asks for, in the store for all."""
    config = yaml.safe_load((RULES / "prometheus-edge.example.yml").read_text())
    (kept,) = config["remote_write"][0]["write_relabel_configs"]
    asked = {
        name
        for _, expr in load("thinpool-fleet").expressions()
        for name in re.findall(r"(?:\w+:)?thinpool[\w:]+|ALERTS|\bup\b", expr)
    }
    assert len(asked) > 10
    assert {name for name in asked if not re.fullmatch(kept["regex"], name)} == set()


def test_the_jobs_are_one_for_the_rules() -> None:
    """Each but the first says so itself."""
    config = yaml.safe_load((RULES / "prometheus.example.yml").read_text())
    first, *others = config["scrape_configs"]
    assert first["job_name"] == "thinpool"
    for job in others:
        names = {
            rule.get("target_label"): rule.get("replacement") for rule in job["relabel_configs"]
        }
        assert names["job"] == "thinpool", job["job_name"]
