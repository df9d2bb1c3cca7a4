"""What the guard tells the user's hook, and when it stops."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.guard import Rules
from exporter.hooks import HookEvent, Hooks, Trust
from exporter.model import GuardMode
from tests.fakes import LVM_RULES, MIB, GuardedHost, docker_host
from tests.waiting import eventually

POOL = "docker/thinpool"
Make = Callable[..., GuardedHost]


@pytest.fixture
def hooked(tmp_path: Path) -> Make:
    """Make hosts whose guard calls a hook; the simulated host keeps the calls."""
    command = tmp_path / "hook"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o700)

    def make(*, vg_extents: int = 1000, rules: Rules = LVM_RULES) -> GuardedHost:
        guarded = docker_host(vg_extents=vg_extents, rules=rules)
        trust = Trust(owner_uid=os.getuid(), root=str(tmp_path))
        guarded.guard.call(
            Hooks(
                guarded.host,
                str(command),
                deadline_seconds=60,
                clock=guarded.clock,
                log=guarded.log,
                trust=trust,
            )
        )
        return guarded

    return make


def told(guarded: GuardedHost, event: HookEvent) -> list[dict[str, str]]:
    """Find the calls for an event."""
    return [told for _, told in guarded.host.calls if told["THINPOOL_EVENT"] == event]


def test_a_growth_is_told_with_what_was_added(hooked: Make) -> None:
    """Once, with the pool as it then is."""
    guarded = hooked()
    guarded.host.fill(POOL, 6800)

    guarded.cycle(3)

    assert eventually(lambda: bool(told(guarded, HookEvent.EXTENDED)))
    (call,) = told(guarded, HookEvent.EXTENDED)
    assert call["THINPOOL_DATA_ADDED_BYTES"] == str(100 * MIB)
    assert call["THINPOOL_DATA_SIZE_BYTES"] == str(600 * MIB)
    assert call["DMEVENTD_THIN_POOL_DATA"] == "70"
    assert guarded.host.calls[0][0][1:] == (POOL,)


def test_a_growth_that_is_impossible_is_told_until_it_is_possible(hooked: Make) -> None:
    """Once for the state, and again when it comes back."""
    guarded = hooked(vg_extents=125 + 4)
    guarded.host.fill(POOL, 6800)
    for _ in range(5):
        guarded.clock.now += 1
        guarded.cycle()
    assert eventually(lambda: len(told(guarded, HookEvent.IMPOSSIBLE)) == 1)
    assert told(guarded, HookEvent.IMPOSSIBLE)[0]["THINPOOL_REASON"] == "no_space"

    guarded.host.fill(POOL, 100)
    guarded.cycle(2)
    guarded.host.fill(POOL, 6900)
    guarded.cycle(2)

    assert eventually(lambda: len(told(guarded, HookEvent.IMPOSSIBLE)) == 2)


def test_a_full_pool_is_told_with_the_seconds_that_its_writers_have(hooked: Make) -> None:
    """Beside the growth that is impossible."""
    guarded = hooked(vg_extents=125 + 4)
    guarded.host.fill(POOL, 8000)

    guarded.cycle(2)

    assert eventually(lambda: bool(told(guarded, HookEvent.FULL)))
    (call,) = told(guarded, HookEvent.FULL)
    assert call["THINPOOL_SECONDS_LEFT"] == "60"
    assert call["DMEVENTD_THIN_POOL_DATA"] == "100"


def test_a_guard_that_is_off_tells_nothing(hooked: Make) -> None:
    """Whatever becomes of the pool."""
    guarded = hooked(vg_extents=125 + 4, rules=Rules(mode=GuardMode.OFF))
    guarded.host.fill(POOL, 8000)

    guarded.cycle(3)

    assert guarded.host.calls == []
