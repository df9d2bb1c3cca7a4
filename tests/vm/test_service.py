"""The program beside real Docker and a real Prometheus, when one of them misbehaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prometheus import lint, scraped, scraping
from tests.vm import scenarios
from tests.vm.conftest import kept_with_devicemapper
from tests.vm.guest import CONFIG, check, collect, running
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool

POOL = {"vg": "docker", "pool": "thinpool"}


@pytest.fixture(scope="module")
def on_docker_kept(booted: Machine) -> str:
    """Run Docker on a small pool that nobody but us protects, and keep that state."""

    def make(machine: Machine) -> None:
        scenarios.mask_dmeventd(machine)
        scenarios.make_pool(machine, Pool(error_when_full=False))
        scenarios.docker_direct_lvm(machine)

    return kept_with_devicemapper(booted, "on-docker", make)


@pytest.fixture
def on_docker(booted: Machine, on_docker_kept: str) -> Machine:
    """Give the machine with Docker on its pool."""
    booted.restore(on_docker_kept)
    return booted


def test_a_stopped_dockerd_costs_its_own_figures_only(on_docker: Machine) -> None:
    """Its part ages, the rest goes on, and so does the guard."""
    machine = on_docker
    docker = "collect: {docker_interval: 5s, docker_deadline: 15s}"
    machine.write(CONFIG, f"guard: {{anticipate: false}}\n{docker}\n")
    with running(machine) as guest:
        before = guest.wait_for(90, "thinpool_docker_up", 1)
        machine.run("systemctl kill --kill-who=main -s STOP docker")

        metrics = guest.wait_for(90, "thinpool_docker_up", 0)
        assert metrics.value("thinpool_collector_success", collector="docker") == 0
        assert metrics.value("thinpool_collector_success", collector="lvm") == 1
        size = "thinpool_docker_data_size_bytes"
        assert metrics.value(size) == before.value(size)
        age = "thinpool_collector_last_success_timestamp_seconds"
        assert (metrics.value(age, collector="docker") or 0) < (
            metrics.value(age, collector="device_mapper") or 0
        )

        machine.run("dmsetup message docker-thinpool 0 'create_thin 900'")
        machine.run(
            "dmsetup create thin900 --table '0 8388608 thin /dev/mapper/docker-thinpool 900'"
        )
        assert scenarios.fill(machine, "/dev/mapper/thin900", 405).returncode == 0
        guest.wait_for(60, "thinpool_guard_extends_total", 1, device="data", **POOL)

        machine.run("systemctl kill --kill-who=main -s CONT docker")
        guest.wait_for(90, "thinpool_docker_up", 1)
        failures = [
            line for line in guest.events("source_failed") if line["source"] == "docker"
        ]
        assert len(failures) == 1


def test_a_real_prometheus_scrapes_a_real_host(on_docker: Machine, tmp_path: Path) -> None:
    """The pool's figures arrive, and promtool has nothing to say about them."""
    machine = on_docker
    with running(machine) as guest:
        assert lint(guest.metrics().text.encode()) == (0, "")

        with scraping(f"127.0.0.1:{machine.port()}", tmp_path) as address:
            found = scraped(address, "thinpool_data_used_bytes > 0")
    assert [(labels["vg"], labels["pool"]) for labels in found] == [("docker", "thinpool")]


def test_a_user_without_root_is_told(on_docker: Machine) -> None:
    """`check` says what it may not see; nothing is invented."""
    machine = on_docker
    machine.run("useradd --create-home someone || adduser --disabled-password someone")

    result = machine.run("su someone -c 'thinpool-exporter check'", check=False)

    assert result.returncode == 3
    assert "root" in result.stdout
    status, report = check(machine)
    assert status == 2 or "not protected" in report


def test_lvm_that_is_taken_away_leaves_the_kernels_figures(on_docker: Machine) -> None:
    """LVM's part fails; usage comes from the kernel all the same."""
    machine = on_docker
    machine.write(CONFIG, "commands: {lvm: /nonexistent/lvm}\n")

    metrics = collect(machine)

    assert metrics.value("thinpool_collector_success", collector="lvm") == 0
    assert metrics.value("thinpool_data_size_bytes", **POOL) == 500 * 1024**2
