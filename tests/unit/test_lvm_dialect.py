"""An LVM that lacks something is asked what it has, once, and then in its own words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec import structs

from exporter.command import Output
from exporter.errors import CommandFailedError, CommandStuckError
from exporter.model import Dmeventd
from exporter.sources.lvm import (
    LVS,
    MONITOR_FIELDS,
    PVS,
    VGS,
    argv_lvs,
    read_layout,
    read_monitoring,
)
from exporter.sources.lvm_dialect import (
    ASK_AGAIN_SECONDS,
    FULL,
    Dialect,
    Dialects,
)
from exporter.sources.lvm_output import FORM, HINTS, config_option
from tests.unit.test_lvm import LV, PV, VG, report
from tests.unit.test_lvm import LVS as LV_ROWS

OLD_ATTRIBUTES = {"lv_attr": "twi-a-tz-", "vg_attr": "wz--n-", "pv_attr": "a--"}
NEWER = {
    *("lv_role", "lv_active_locally", "lv_suspended", "lv_allocation_locked"),
    *("lv_converting", "lv_check_needed", "lv_health_status", "lv_when_full"),
    *("lv_allocation_policy", "vg_allocation_policy"),
    *("lv_permissions", "lv_profile", "data_copies", "seg_monitor"),
    *("vg_profile", "vg_permissions", "vg_exported", "vg_partial", "vg_shared"),
    *("vg_clustered", "vg_systemid", "pv_allocatable", "pv_missing"),
}
MODERN = ("--select", "--binary", "--reportformat")
ROWS = {"lvs": LV_ROWS, "vgs": [VG], "pvs": [PV]}


class OldLvm:
    """Knows these options and no `NEWER` fields; prints the rows in its own form."""

    def __init__(
        self,
        *options: str,
        lacks: set[str] = NEWER,
        unknown: Sequence[str] = (),
        aborts_on_errors: bool = False,
    ) -> None:
        self.options = set(options)
        self.lacks = lacks
        self.unknown = unknown  # settings
        self.aborts_on_errors = aborts_on_errors
        self.asked: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str]) -> Output:
        """Run one command."""
        self.asked.append(argv)
        self._refuse_options(argv)
        warnings = self._warnings(argv)
        if warnings and self.aborts_on_errors:
            raise CommandFailedError(argv, 5, f"{warnings}  LVM_ configuration invalid.\n")
        return structs.replace(self._run(argv), stderr=warnings)

    def _run(self, argv: Sequence[str]) -> Output:
        if argv[-1] == "--version":
            return self._output(argv, "  LVM version: 2.02.98(2)\n")
        names = argv[argv.index("-o") + 1].split(",")
        if names == ["help"] or self.lacks & set(names):
            # As 2.02.166 does: a report of no section at all, and the list beside it.
            nothing = '{"report": []}' if "--reportformat" in argv else ""
            raise CommandFailedError(argv, 5, self._help(), stdout=nothing)
        return self._output(argv, self._report(argv, names))

    def _refuse_options(self, argv: Sequence[str]) -> None:
        for option in ("--reportformat", "--binary", "--select"):
            if option in argv and option not in self.options:
                raise CommandFailedError(argv, 3, f"unrecognized option '{option}'")

    def _warnings(self, argv: Sequence[str]) -> str:
        config = argv[argv.index("--config") + 1] if "--config" in argv else ""
        told = [path for path in self.unknown if f"{path.partition('/')[2]}=" in config]
        return "".join(f'  Configuration setting "{path}" unknown.\n' for path in told)

    def _help(self) -> str:
        known = {*LVS.fields, *VGS.fields, *PVS.fields, *MONITOR_FIELDS, *OLD_ATTRIBUTES}
        return "".join(f"    {name:<20} - A field.\n" for name in sorted(known - self.lacks))

    def _report(self, argv: Sequence[str], names: Sequence[str]) -> str:
        rows = [OLD_ATTRIBUTES | row for row in ROWS[argv[1]]]
        if "--reportformat" in argv:
            return report("lv", [{name: row[name] for name in names} for row in rows])
        lines = (" ".join(f"LVM2_{n.upper()}='{row[n]}'" for n in names) for row in rows)
        return "".join(f"  {line}\n" for line in lines)

    @staticmethod
    def _output(argv: Sequence[str], text: str) -> Output:
        return Output(argv=tuple(argv), status=0, stdout=text, stderr="")


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--select",),
        ("--select", "--binary"),
        ("--select", "--binary", "--reportformat"),
    ],
)
def test_reads_the_same_of_every_age(options: tuple[str, ...]) -> None:
    """What LVM tells in one way or another; the rest is unknown or none."""
    layout = read_layout(OldLvm(*options), "lvm")

    (pool,), (group,) = layout.pools, layout.volume_groups
    assert (pool.vg_name, pool.name, pool.size_bytes) == ("docker", "thinpool", 20396900352)
    assert (pool.is_active, pool.is_suspended, pool.is_locked) == (True, False, False)
    assert (pool.needs_check, pool.when_full, pool.profile) == (None, None, None)
    assert (pool.is_writable, pool.data_percent) == (True, 0.19)
    assert (group.is_writable, group.is_exported, group.usable_free_extents) == (
        True,
        False,
        154,
    )
    assert group.largest_metadata_extents == 51
    assert layout.problems == ()


@pytest.mark.parametrize("field", sorted(NEWER - {"seg_monitor"}))
def test_a_single_field_that_lacks_is_completed(field: str) -> None:
    """As with 2.02.166, which has all of an LV's fields but data_copies."""
    lvm = OldLvm("--select", "--binary", "--reportformat", lacks={field})

    layout = read_layout(lvm, "lvm")

    assert [pool.name for pool in layout.pools] == ["thinpool"]
    assert [group.name for group in layout.volume_groups] == ["docker"]
    assert layout.problems == ()


def test_it_is_asked_once() -> None:
    """From then on each report is one command."""
    lvm, dialects = OldLvm(), Dialects()
    read_layout(lvm, "lvm", dialects=dialects)
    lvm.asked.clear()

    read_layout(lvm, "lvm", dialects=dialects)

    assert [argv[1] for argv in lvm.asked] == ["lvs", "vgs", "pvs"]
    assert not dialects.current.is_full
    assert dialects.current.has_hints


def test_one_that_lacks_nothing_is_asked_nothing() -> None:
    """And in the words that it has always been asked."""
    lvm = OldLvm("--select", "--binary", "--reportformat", lacks=set())

    read_layout(lvm, "lvm")

    assert [argv[1] for argv in lvm.asked] == ["lvs", "vgs", "pvs"]
    assert lvm.asked[0] == argv_lvs("lvm")


def test_an_lvm_without_hints_is_not_told_to_go_by_none() -> None:
    """Before 2.03.03 it warns of the setting, and syslog gets that of every command."""
    lvm = OldLvm(*MODERN, lacks=set(), unknown=(HINTS,))
    dialects = Dialects()

    def run(argv: Sequence[str]) -> Output:
        output = lvm(argv)
        stdout = output.stdout.replace('"vg_partial": "0"', '"vg_partial": "1"')
        assert argv[1] != "vgs" or stdout != output.stdout
        return structs.replace(output, stdout=stdout)

    layouts = [read_layout(run, "lvm", dialects=dialects) for _ in range(2)]

    for layout in layouts:
        assert [pool.name for pool in layout.pools] == ["thinpool"]
        assert [(vg.is_partial, vg.has_stale_hints) for vg in layout.volume_groups] == [
            (True, False)
        ]
        assert layout.problems == ()
    told = [argv[1] for argv in lvm.asked if "hints=" in argv[3]]
    assert told == ["lvs"]


@pytest.mark.parametrize("aborts_on_errors", [False, True])
@pytest.mark.parametrize("path", FORM)
def test_a_setting_that_it_does_not_know_is_left_out(
    path: str, *, aborts_on_errors: bool
) -> None:
    """It warns of one, or refuses all; either way it is told of that one no more."""
    lvm = OldLvm(*MODERN, lacks=set(), unknown=(path,), aborts_on_errors=aborts_on_errors)
    dialects = Dialects()

    first = read_layout(lvm, "lvm", dialects=dialects)
    lvm.asked.clear()
    again = read_layout(lvm, "lvm", dialects=dialects)

    assert first == again
    assert (len(first.pools), first.problems) == (1, ())
    assert dialects.current.unknown_settings == {path}
    told = config_option({path})
    assert [argv[2:4] for argv in lvm.asked] == [told] * 3


def test_after_an_upgrade_it_may_be_asked_everything() -> None:
    """The old words still serve; a newer version is told to forget them."""
    lvm, dialects = OldLvm(), Dialects()
    read_layout(lvm, "lvm", dialects=dialects)

    dialects.forget()

    assert dialects.current == FULL


class Broken:
    """Fails in one way, whatever it is asked."""

    def __init__(self, status: int, stderr: str = "") -> None:
        self.status, self.stderr = status, stderr
        self.asked = 0

    def __call__(self, argv: Sequence[str]) -> Output:
        """Fail."""
        self.asked += 1
        raise CommandFailedError(argv, self.status, self.stderr)


def test_a_broken_lvm_is_not_asked_each_time() -> None:
    """But again after five minutes, as it may have been exchanged."""
    now = 0.0
    lvm, dialects = Broken(5), Dialects(lambda: now)
    counts = []
    for moment in (0.0, 10.0, ASK_AGAIN_SECONDS + 1):
        now, before = moment, lvm.asked
        with pytest.raises(CommandFailedError):
            read_layout(lvm, "lvm", dialects=dialects)
        counts.append(lvm.asked - before)

    assert counts == [5, 1, 5]
    assert dialects.current == FULL


def test_another_status_is_no_matter_of_dialect() -> None:
    """Such as that of an LVM that cannot begin at all."""
    lvm = Broken(4)

    with pytest.raises(CommandFailedError):
        read_layout(lvm, "lvm")

    assert lvm.asked == 1


def test_what_it_refuses_to_tell_of_itself_is_the_first_error() -> None:
    """An LVM that hangs over its fields has not been understood."""

    def run(argv: Sequence[str]) -> Output:
        if argv[-1] == "help":
            raise CommandStuckError(argv, 30)
        raise CommandFailedError(argv, 3, "no such option")

    with pytest.raises(CommandFailedError, match="no such option"):
        read_layout(run, "lvm")


def test_what_another_thread_has_found_is_used() -> None:
    """A refusal of the words that were in force before asks nothing."""
    dialects = Dialects()
    dialects.current = found = Dialect(has_json=False)

    assert dialects.revise(Broken(3), "lvm", FULL, {})
    assert dialects.current == found


@pytest.mark.parametrize("word", ["monitored", "not monitored", "pending", "not enabled", ""])
def test_seg_monitor_in_older_words(word: str) -> None:
    """Without --select every LV is told of; the words are LVM's own."""
    row = f"LVM2_VG_NAME='docker' LVM2_LV_NAME='thinpool' LVM2_SEG_MONITOR='{word}'\n"
    asked: list[Sequence[str]] = []

    def run(argv: Sequence[str]) -> Output:
        asked.append(argv)
        return Output(argv=tuple(argv), status=0, stdout=f"  {row}", stderr="")

    alive = Dmeventd(is_alive=True, pid=7, state="S")
    dialect = Dialect(has_json=False, has_selection=False)
    assert read_monitoring(run, "lvm", alive, dialect=dialect) == (
        {"docker/thinpool": word},
        [],
    )
    assert "--select" not in asked[0]


def test_an_lvm_that_knows_nothing_of_monitoring_is_not_asked() -> None:
    """2.02.98 has no such field."""
    dialect = Dialect(fields={"lvs": frozenset({"lv_name"})})
    alive = Dmeventd(is_alive=True, pid=7, state="S")

    assert read_monitoring(Broken(5), "lvm", alive, dialect=dialect) == ({}, [])


def test_two_vgs_that_share_a_name_are_neither_of_them_extended() -> None:
    """LVM extends by name, and nobody can tell which one that would be."""

    class Twins(OldLvm):
        def _report(self, argv: Sequence[str], names: Sequence[str]) -> str:
            text = super()._report(argv, names)
            return text + (text.replace(LV["vg_uuid"], "other") if argv[1] == "vgs" else "")

    layout = read_layout(Twins(), "lvm")

    assert layout.volume_groups == ()
    assert [problem.subject for problem in layout.problems] == ["VG docker"]
