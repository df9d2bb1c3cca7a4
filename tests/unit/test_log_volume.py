"""How much is logged while trouble lasts: somebody reads it, and the disk may be full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from exporter.errors import HostError
from exporter.model import Collector
from tests.fakes import GuardedHost, docker_host

POOL = "docker/thinpool"
SECONDS = 180
LINES_A_MINUTE = 10
LVM_SECONDS, DOCKER_SECONDS = 15, 60


def refused(guarded: GuardedHost) -> None:
    """Let LVM refuse what the guard asks for."""
    guarded.host.fill(POOL, 8000)  # all of it: the guard tries every two seconds
    guarded.host.refuse_extend("  Volume group is not writable.\n")


def over_threshold(guarded: GuardedHost) -> None:
    """Let LVM refuse where nobody waits yet."""
    guarded.host.fill(POOL, 6800)
    guarded.host.refuse_extend("  Volume group is not writable.\n")


def without_space(guarded: GuardedHost) -> None:
    """Leave no extent to a pool that is full."""
    guarded.host.fill(POOL, 8000)
    guarded.host.add_linear("docker/rest", size_bytes=(1000 - 125 - 2 - 2) * 4 * 1024**2)


def without_lvs(guarded: GuardedHost) -> None:
    """Have lvs fail, of a pool that is full."""
    guarded.host.fill(POOL, 8000)
    guarded.host.fail("lvs", HostError("lvs: no"))


def without_kernel(guarded: GuardedHost) -> None:
    """Have the kernel answer nothing."""
    guarded.host.fail("device_mapper", HostError("ioctl: no"))


def without_docker(guarded: GuardedHost) -> None:
    """Stop Docker."""
    guarded.host.remove_docker()


@pytest.mark.parametrize(
    "trouble",
    [refused, over_threshold, without_space, without_lvs, without_kernel, without_docker],
)
def test_lasting_trouble_is_told_in_a_few_lines(trouble: Callable[[GuardedHost], None]) -> None:
    """Three minutes of it, at the guard's and the sources' own pace."""
    guarded = docker_host()
    guarded.cycle()
    trouble(guarded)
    began = len(guarded.log.lines)
    for second in range(SECONDS):
        guarded.clock.now += 1
        if second % LVM_SECONDS == 0:
            guarded.collection.refresh(Collector.LVM)
        if second % DOCKER_SECONDS == 0:
            guarded.collection.refresh(Collector.DOCKER)
        guarded.cycle()

    lines = guarded.log.lines[began:]
    assert len(lines) <= LINES_A_MINUTE * SECONDS / 60, Counter(event for event, _ in lines)
