"""The demo's host shows each behaviour at about the promised time."""

from __future__ import annotations

import pytest

from exporter.simulation.clock import ManualClock
from exporter.simulation.demo import LOOP_POOL, demo_host
from exporter.simulation.extend_policy import policy_percents
from exporter.simulation.figures import lvm_size
from exporter.simulation.host import SimulatedHost


def extend(host: SimulatedHost, label: str, clock: ManualClock) -> str:
    """Let LVM's policy act, and read what it said."""
    argv = ("lvm", "lvextend", "--use-policies", label)
    running = host.start(argv, environment={})
    clock.now += 0.5
    output = running.wait(0)
    assert output is not None
    return output.stdout or output.stderr


@pytest.mark.parametrize(
    ("label", "calm", "crossed"),
    [("docker/thinpool", 9, 12), ("ci/pool", 18, 23), ("registry/pool", 13, 18)],
)
def test_pools_cross_their_thresholds_in_turn(label: str, calm: float, crossed: float) -> None:
    """Each is below its threshold first, and above it a little later."""
    clock = ManualClock(now=0.0)
    host = demo_host(clock)

    clock.now = calm
    before = policy_percents(host.pool(label), 80, 20)
    clock.now = crossed
    after = policy_percents(host.pool(label), 80, 20)

    assert before == (0, 0)
    assert after != (0, 0)


def test_extensions_go_as_the_demo_promises() -> None:
    """Docker's pool grows twice within a minute; the CI's VG has no room for a step."""
    clock = ManualClock(now=0.0)
    host = demo_host(clock)
    said: dict[str, list[str]] = {"docker/thinpool": [], "ci/pool": [], "registry/pool": []}

    while clock.now < 60:
        clock.now += 1
        for label, lines in said.items():
            lines.append(extend(host, label, clock))

    assert sum("successfully resized" in line for line in said["docker/thinpool"]) == 2
    assert any("only 768 available" in line for line in said["ci/pool"])
    assert any("_tmeta changed" in line for line in said["registry/pool"])
    assert not any("_tdata" in line for line in said["registry/pool"])


def test_the_demo_keeps_moving() -> None:
    """In 20 minutes under the policy no pool fills up, and no VG but the CI's runs dry."""
    clock = ManualClock(now=0.0)
    host = demo_host(clock)

    while clock.now < 1200:
        clock.now += 5
        for label in ("docker/thinpool", "registry/pool", "web/pool"):
            extend(host, label, clock)

    labels = ("docker/thinpool", "registry/pool", "web/pool", "ci/pool", LOOP_POOL)
    assert {host.pool(label).mode for label in labels} == {"rw"}
    assert all(host.vg(name).free_extents > 2560 for name in ("docker", "registry", "web"))
    backing = host.loop_backing("7:0")
    assert backing is not None
    assert backing.free_bytes


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (512, "512 B"),
        (4 << 20, "4.00 MiB"),
        (95 << 30, "95.00 GiB"),
        ((95 << 30) - (4 << 20), "<95.00 GiB"),
        ((10 << 30) + (4 << 20), "10.00 GiB"),
        (3 << 40, "3.00 TiB"),
    ],
)
def test_sizes_as_lvm_prints_them(size: int, text: str) -> None:
    """Two digits in units of 1024, with a mark where they were rounded up."""
    assert lvm_size(size) == text
