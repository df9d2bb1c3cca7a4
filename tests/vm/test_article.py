"""The article's walk to direct-lvm, command by command: what we say is what the host says."""

from __future__ import annotations

import json

import pytest

from tests.vm import scenarios
from tests.vm.guest import Metrics, collect
from tests.vm.machine import Machine

METADATA_BLOCK_BYTES = 4096
LVS = (
    "lvs --reportformat json --config activation/monitoring=0 "
    "-o lv_name,data_percent,metadata_percent,chunk_size --units b --nosuffix "
    "docker/thinpool"
)


def agrees(machine: Machine) -> Metrics:
    """Compare `collect` with dmsetup to the byte and with lvs to its rounding."""
    metrics = collect(machine)
    (status,) = scenarios.dm_status(machine).values()
    (row,) = json.loads(machine.run(LVS).stdout)["report"][0]["lv"]
    chunk = int(row["chunk_size"])
    exact = {
        "thinpool_data_used_bytes": (status.used_data or 0) * chunk,
        "thinpool_data_size_bytes": (status.total_data or 0) * chunk,
        "thinpool_metadata_used_bytes": (status.used_metadata or 0) * METADATA_BLOCK_BYTES,
        "thinpool_metadata_size_bytes": (status.total_metadata or 0) * METADATA_BLOCK_BYTES,
    }
    for name, value in exact.items():
        assert metrics.value(name, vg="docker", pool="thinpool") == value, name
    for device in ("data", "metadata"):
        used = exact[f"thinpool_{device}_used_bytes"]
        size = exact[f"thinpool_{device}_size_bytes"]
        assert abs(100 * used / size - float(row[f"{device}_percent"])) <= 0.0101
    return metrics


@pytest.mark.campaign
def test_the_articles_walk(machine: Machine) -> None:
    """From pvcreate to a container that writes, nothing is missed and nothing invented."""
    disk = machine.disk("data0")
    assert collect(machine).value("thinpool_collector_success", collector="lvm") == 1

    machine.run(("pvcreate", disk))
    assert "thinpool_vg" not in collect(machine).text

    machine.run(("vgcreate", "docker", disk))
    vgs = machine.run("vgs --noheadings --units b --nosuffix -o vg_size,vg_free docker").stdout
    size, free = (float(word) for word in vgs.split())
    metrics = collect(machine)
    assert metrics.value("thinpool_vg_size_bytes", vg="docker") == size
    assert metrics.value("thinpool_vg_free_bytes", vg="docker") == free
    assert metrics.value("thinpool_vg_allocatable_bytes", vg="docker") == free

    machine.run("lvcreate --wipesignatures y -n thinpool docker -l 95%VG")
    machine.run("lvcreate --wipesignatures y -n thinpoolmeta docker -l 1%VG")
    assert "thinpool_info" not in collect(machine).text

    machine.run(
        "lvconvert -y --zero n -c 512K --thinpool docker/thinpool "
        "--poolmetadata docker/thinpoolmeta --config activation/monitoring=0"
    )
    metrics = agrees(machine)
    assert metrics.value("thinpool_autoextend_threshold_ratio", pool="thinpool") == 1
    assert metrics.value("thinpool_monitored", pool="thinpool") == 0
    assert metrics.value("thinpool_dmeventd_up") == 0

    scenarios.write_profile(machine, "docker-thinpool", 80, 20)
    machine.run(
        "lvchange --metadataprofile docker-thinpool docker/thinpool "
        "--config activation/monitoring=0"
    )
    metrics = agrees(machine)
    assert metrics.value("thinpool_autoextend_threshold_ratio", pool="thinpool") == 0.8
    assert metrics.value("thinpool_autoextend_step_ratio", pool="thinpool") == 0.2
    assert metrics.label("thinpool_info", "profile", pool="thinpool") == "docker-thinpool"
    assert scenarios.dmeventd_pid(machine) is None

    # The article's next command starts dmeventd by itself, and from then on it is asked.
    machine.run("lvs -o+seg_monitor")
    machine.run("lvchange --monitor y docker/thinpool")
    assert scenarios.dmeventd_pid(machine) is not None
    metrics = agrees(machine)
    assert metrics.value("thinpool_dmeventd_up") == 1
    assert metrics.value("thinpool_monitored", pool="thinpool") == 1

    scenarios.docker_direct_lvm(machine)
    scenarios.docker_import_busybox(machine)
    metrics = agrees(machine)
    assert metrics.value("thinpool_docker_up") == 1
    assert metrics.value("thinpool_docker_loopback_warning") == 0
    assert metrics.label("thinpool_docker_info", "pool") == "thinpool"
    before = metrics.value("thinpool_data_used_bytes", pool="thinpool") or 0

    scenarios.docker_run(
        machine, "dd if=/dev/urandom of=/file bs=1M count=200; sync", "--name=writer"
    )
    after = agrees(machine).value("thinpool_data_used_bytes", pool="thinpool") or 0
    assert after - before >= 200 * 1024**2
