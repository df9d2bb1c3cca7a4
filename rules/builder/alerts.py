"""Who is paged, and why."""

from __future__ import annotations

from collections.abc import Iterator

from rules.builder import texts
from rules.builder.conditions import in_mode, indented, lasting
from rules.builder.fleet import of_the_fleet
from rules.builder.growth import filling, forecasts
from rules.builder.program import of_docker, of_the_guard
from rules.builder.protection import protection
from rules.builder.rule import Alert, Group
from rules.builder.settings import Settings
from rules.builder.texts import POOL

HEADING = """
Who is paged, and why. `critical` pages somebody now; `warning` is a ticket for the day. Written
by `python -m rules.builder`: change rules/builder, or give it other settings (rules/README.md).

The rules hold for hosts that are scraped every 15 to 120 seconds, and for Prometheus 2.42 and
newer, 3.x included. What a host says is read as of its last answer within five minutes: one
missed scrape neither ends an alert nor begins one.

A page ends when the trouble has ended. When a host in trouble stops answering,
ThinPoolHostLost takes the page over.
"""


def groups(settings: Settings) -> tuple[Group, ...]:
    """Make all groups of alerts."""
    return (
        Group(name="thinpool-broken", rules=tuple(_broken(settings))),
        Group(name="thinpool-filling", rules=tuple(filling(settings))),
        Group(name="thinpool-growth", rules=tuple(forecasts(settings))),
        Group(name="thinpool-protection", rules=tuple(protection(settings))),
        Group(name="thinpool-docker", rules=tuple(of_docker(settings))),
        Group(name="thinpool-exporter", rules=tuple(of_the_guard(settings))),
        Group(name="thinpool-fleet", rules=tuple(of_the_fleet(settings))),
    )


def _broken(settings: Settings) -> Iterator[Alert]:
    left, writer = texts.left(settings, "data"), texts.writer(settings)
    yield Alert(
        name="ThinPoolOutOfDataSpace",
        severity="critical",
        scope="pool",
        expr=in_mode("out_of_data_space", settings, samples=2),
        for_="1m",
        summary="A thin pool is full. Writes to it hang or fail.",
        description=(
            f"The thin pool {POOL} has no space left for data. Writes of its containers wait for "
            "a minute and then fail. Nothing has extended it.",
            left,
            writer,
        ),
        first="lvextend -L +10G {{ $labels.vg }}/{{ $labels.pool }} (or vgextend, if the volume "
        "group has nothing left)",
        comment="The guard extends a full pool within a second, and the kernel makes writers "
        "wait for a minute: nobody need get up for that. One sample is no reason for a page "
        "either, if the scrapes after it fail.",
    )
    yield Alert(
        name="ThinPoolFailed",
        severity="critical",
        scope="pool",
        expr=in_mode("failed", settings),
        summary="A thin pool has failed. Everything on it fails.",
        description=(
            f"The thin pool {POOL} has failed: the kernel could not write its metadata. Nothing "
            "on it can be read or written until it has been repaired.",
        ),
        first="journalctl -k | grep -i thin",
    )
    yield Alert(
        name="ThinPoolReadOnly",
        severity="critical",
        scope="pool",
        expr=in_mode("ro", settings, samples=2),
        for_="1m",
        summary="A thin pool is read-only. Writes to it fail.",
        description=(
            f"The thin pool {POOL} is read-only: its metadata is full, or could not be written. "
            "Containers on it fail when they write.",
            texts.left(settings, "metadata"),
        ),
        first="thinpool-exporter check {{ $labels.vg }}/{{ $labels.pool }}",
        comment="A pool whose metadata is full is read-only until the guard has extended that.",
    )
    yield Alert(
        name="ThinPoolNeedsCheck",
        severity="critical",
        scope="pool",
        expr=f"last_over_time(thinpool_needs_check[{settings.recent}]) == 1",
        summary="A thin pool must be repaired. Nothing can extend it.",
        description=(
            f"The metadata of the thin pool {POOL} is marked needs_check. Neither LVM nor the "
            "guard can extend the pool until it has been repaired. It may become full meanwhile.",
            left,
        ),
        first="stop what uses the pool, then lvconvert --repair {{ $labels.vg }}/"
        "{{ $labels.pool }} (the runbook has each step)",
    )
    yield Alert(
        name="ThinPoolInactive",
        severity="critical",
        scope="pool",
        expr=lasting(
            in_mode("inactive", settings),
            'max without (mode) (max_over_time(thinpool_mode{mode="rw"}[1d])) == 1',
            "ThinPoolInactive",
        ),
        for_="5m",
        summary="A thin pool that was in use is not active.",
        description=(
            f"The thin pool {POOL} was in use within the last day, and is not active now. "
            "Nothing on it can be read or written. After a reboot this is mostly metadata that "
            "thin_check rejects.",
        ),
        first="lvchange -ay {{ $labels.vg }}/{{ $labels.pool }}",
        comment="Not of pools that have been inactive for long: the other host of a cluster has "
        "them.",
    )
    yield Alert(
        name="ThinPoolHangs",
        severity="critical",
        scope="pool",
        expr="max without (mode) (\n"
        + indented(
            f"min_over_time(thinpool_suspended[{settings.compared}]) == 1\nor\n"
            + lasting(
                "max without (mode) (min_over_time("
                f'thinpool_mode{{mode="unknown"}}[{settings.compared}])) == 1',
                'max without (mode) (max_over_time(thinpool_mode{mode="rw"}[1d])) == 1',
                "ThinPoolHangs",
            )
        )
        + "\n)",
        for_="1m",
        summary="All reads and writes of a thin pool hang.",
        description=(
            f"The thin pool {POOL} has been suspended for five minutes, or the kernel does not "
            "tell its status. Everything that uses it waits, and nothing extends it.",
        ),
        first="dmsetup info -c -o name,suspended (State: suspended: somebody's LVM command was "
        "killed; the runbook resumes it)",
    )
