"""A quiet month: fleets of ordinary hosts page nobody, and each ticket is one that is needed.

THINPOOL_MONTH_DAYS is how long it is; `make month` lives through 30 days of two fleets, in one
promtool. Two days of one fleet run in every edition.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.programs import Edition
from tests.rules import month
from tests.rules.promtool import Answers, Series, answers, expect, promtools

DAYS = int(os.environ.get("THINPOOL_MONTH_DAYS", "2"))
IS_SHORT = DAYS <= 2
HOUR, DAY = 60, 24 * 60  # minutes
# As often as it is scraped; in the short form, half as often, so that it is short.
EVERY = 2 * month.STEP_MINUTES if IS_SHORT else month.STEP_MINUTES
FLEETS = (1,) if IS_SHORT else (1, 2)
TIMEOUT_SECONDS = 600 * DAYS

# The fleet, by its seed, and the promtool.
Life = tuple[int, Edition]

pytestmark = pytest.mark.timeout(TIMEOUT_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A ticket that somebody needs: it fires by a day, and why it is right."""

    kind: str
    alert: str
    by_day: int
    why: str


NO_STEP = "LVM extends by a whole step or not at all, and the group has less than one"
TICKETS = (
    Ticket(kind="half_full", alert="NextExtensionPartial", by_day=1, why=NO_STEP),
    Ticket(kind="needs_a_disk", alert="NextExtensionPartial", by_day=9, why=NO_STEP),
    Ticket(
        kind="needs_a_disk",
        alert="NextExtensionImpossible",
        by_day=22,
        why="the guard has given it what was left; above its threshold nothing extends it",
    ),
    Ticket(
        kind="needs_a_disk",
        alert="FullWithinWeeks",
        by_day=21,
        why="it grows by the same each day, and is full two weeks later: order a disk",
    ),
    Ticket(
        kind="needs_a_disk",
        alert="AboveThreshold",
        by_day=23,
        why="it has crossed its threshold, and nothing is left to extend it",
    ),
)
WHY = {(ticket.kind, ticket.alert): ticket.why for ticket in TICKETS}


@dataclass(frozen=True, kw_only=True)
class Fired:
    """An alert that fired: its host, its first and last hour, and its minutes in all."""

    alert: str
    severity: str
    of: str
    kind: str
    first_hour: int
    last_hour: int
    minutes: int

    def __str__(self) -> str:
        """Write a row of the table."""
        since, till = (
            f"day {h // 24:2} {h % 24:02}h" for h in (self.first_hour, self.last_hour)
        )
        lasted = f"{self.minutes // HOUR:4} h {self.minutes % HOUR:02} min"
        why = WHY.get((self.kind, self.alert), "nobody needs it")
        row = f"{self.severity:8}  {self.of:16}  {self.alert:24}  {since} – {till}  {lasted}"
        return f"{row}  {why}"


def live(directory: Path, series: Series, edition: Edition) -> list[Fired]:
    """Live through a fleet's month: all that fired."""
    directory.mkdir()
    asked = f'count_over_time(ALERTS{{alertstate="firing"}}[{HOUR - 1}m])'
    found = answers(
        directory,
        series,
        *(expect(minute, asked) for minute in range(HOUR, DAYS * DAY, HOUR)),
        every=EVERY,
        interval=f"{month.STEP_MINUTES}m",
        edition=edition,
        timeout_seconds=TIMEOUT_SECONDS,
    )
    return sorted(fired(found), key=lambda one: (one.severity, one.of, one.first_hour))


def fired(found: Answers) -> Iterable[Fired]:
    """Put the hours of each alert together."""
    hours: dict[tuple[tuple[str, str], ...], dict[int, float]] = {}
    for minute, labels, count in found:
        hours.setdefault(tuple(sorted(labels.items())), {})[minute // HOUR - 1] = count
    for pairs, counts in hours.items():
        labels = dict(pairs)
        host = labels.get("instance", labels["job"]).partition(":")[0]
        yield Fired(
            alert=labels["alertname"].removeprefix("ThinPool"),
            severity=labels["severity"],
            of=host,
            kind=host.rpartition("-")[0],
            first_hour=min(counts),
            last_hour=max(counts),
            minutes=int(sum(counts.values())) * EVERY,
        )


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> dict[Life, list[Fired]]:
    """Live through every fleet's month, as many at a time as there are processors."""
    directory = tmp_path_factory.mktemp("months")
    editions = list(Edition)[: len(promtools())] if IS_SHORT else [Edition.INSTALLED]
    fleets = {seed: month.fleet(seed, DAYS * DAY // month.STEP_MINUTES) for seed in FLEETS}
    lives = [(seed, edition) for seed in FLEETS for edition in editions]

    def lived(life: Life) -> list[Fired]:
        seed, edition = life
        return live(directory / f"{seed}-{edition.value}", fleets[seed], edition)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return dict(zip(lives, threads.map(lived, lives), strict=True))


def test_nobody_is_paged(months: dict[Life, list[Fired]]) -> None:
    """At no minute, of no host and of no fleet."""
    for (seed, edition), all_fired in months.items():
        table = "\n".join(map(str, all_fired)) or "nothing"
        print(f"\nFleet {seed}, {DAYS} days, promtool {edition.value}:\n{table}")  # noqa: T201
    pages = [
        str(one) for lived in months.values() for one in lived if one.severity == "critical"
    ]
    assert not pages, "\n".join(pages)


def test_each_ticket_is_needed(months: dict[Life, list[Fired]]) -> None:
    """Those of hosts that run out of room, and no other."""
    due = {(ticket.kind, ticket.alert) for ticket in TICKETS if ticket.by_day < DAYS}
    for lived in months.values():
        tickets = {(one.kind, one.alert) for one in lived if one.severity != "critical"}
        assert due <= tickets <= set(WHY), "\n".join(map(str, lived))
