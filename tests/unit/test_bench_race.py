"""The race's turns, its file of runs, and its table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.guard import race, race_table
from tests.bench.guard.fio import Job, argv_fio
from tests.bench.guard.race_table import DEVICE, Run


def make_run(**changes: object) -> Run:
    """Make a run of the guard's that went well."""
    known: dict[str, object] = {
        "boot": 1,
        "guest": "idle",
        "when_full": "error",
        "side": "guard",
        "number": 1,
        "mib_per_second": 400.0,
        "written_mib": 3072.0,
        "longest_wait_seconds": 0.1,
        "extensions": 2,
        "error": 0,
        "load": 0.5,
    }
    return Run(**(known | changes))  # type: ignore[arg-type]


RUNS = [
    make_run(side=DEVICE, mib_per_second=500.0, longest_wait_seconds=0.04, extensions=0),
    make_run(),
    make_run(number=2, mib_per_second=450.0, longest_wait_seconds=0.3, extensions=4),
    make_run(number=3, mib_per_second=90.0, error=28, extensions=1, journal="/kept"),
    make_run(side="dmeventd", error=28, extensions=3),
    make_run(guest="busy", mib_per_second=200.0),
]

TABLE = """\
| idle | error | the device's own speed | 1 | – | 500 (500) | 1.00 (1.00) | 0.040 s (0.040 s) | – |
| idle | error | dmeventd | 1 | 1 | – | – | – | 3 (3 to 3) |
| idle | error | guard | 3 | 1 | 425 (400) | 0.85 (0.80) | 0.200 s (0.300 s) | 2 (1 to 4) |
| busy | error | guard | 1 | 0 | 200 (200) | – | 0.100 s (0.100 s) | 2 (2 to 2) |
"""  # noqa: E501 - as it stands in a README


def test_the_table_counts_losses_and_leaves_their_throughput_out() -> None:
    """Beside the device's own speed in the same condition, where it was measured."""
    assert race_table.table(RUNS).splitlines()[2:] == TABLE.splitlines()


def test_a_lost_run_s_journal_is_named() -> None:
    """With what else the figures depend on."""
    text = race_table.circumstances([*RUNS, make_run(boot=2, load=3.0)])

    assert text.splitlines() == [
        "2 boot(s); load of this machine before a run: median 0.5, highest 3.0",
        "lost: /kept",
    ]


def test_every_run_is_kept_as_it_ends(tmp_path: Path) -> None:
    """What a later run meets takes nothing away."""
    file = tmp_path / "runs.jsonl"
    assert race_table.load(file) == []

    for run in RUNS:
        race_table.append(file, run)

    assert race_table.load(file) == RUNS


def test_a_report_of_runs_fails_where_the_guard_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What dmeventd loses is no failure."""
    lost, won = tmp_path / "lost", tmp_path / "won"
    for run in RUNS:
        race_table.append(lost, run)
        if run.side != "guard" or not run.is_lost:
            race_table.append(won, run)

    assert race.measure(("--report", str(won)))
    assert not race.measure(("--report", str(lost)))
    assert "| idle | error | guard | 3 | 1 |" in capsys.readouterr().out


def test_sides_take_turns_in_each_condition() -> None:
    """The device goes first; a side that is named twice runs twice as often."""
    options = race.parse(
        ("--runs=2", "--sides=dmeventd,guard,guard", "--guests=busy", "--when-full=queue")
    )

    turns = [(turn.side.name, turn.number) for turn in race.turns_of(options)]

    assert turns[race.DEVICE_RUNS :] == [
        ("dmeventd", 1),
        ("guard", 1),
        ("guard", 2),
        ("dmeventd", 2),
        ("guard", 3),
        ("guard", 4),
    ]
    assert {name for name, _ in turns[: race.DEVICE_RUNS]} == {DEVICE}


def test_a_variant_is_the_guard_with_other_lines_in_its_unit() -> None:
    """Beside the sides, as one more."""
    options = race.parse(("--runs=1", "--sides=", "--variant=plain:Nice=0;CPUWeight=100"))

    side = list(race.turns_of(options))[-1].side

    assert side.is_guard
    assert (side.name, side.lines) == ("plain", ("Nice=0", "CPUWeight=100"))


def test_several_writes_at_a_time_are_asynchronous() -> None:
    """As fio has them: it takes the last engine that is named."""
    argv = argv_fio(Job(device="/dev/docker/volume", mib=100, depth=8))

    assert argv[-2:] == ("--ioengine=libaio", "--iodepth=8")
