"""LVM's reports into records: what is there, what is odd, and what is no report at all."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from exporter.command import Output
from exporter.errors import (
    CommandFailedError,
    CommandStuckError,
    HostError,
    ParseError,
)
from exporter.model import Dmeventd, LvmLayout
from exporter.sources.lvm import (
    LV_FIELDS,
    MAX_LINES,
    PV_FIELDS,
    VG_FIELDS,
    argv_lvs,
    argv_monitoring,
    read_layout,
    read_monitoring,
)
from exporter.sources.lvm_layout import merge
from exporter.sources.lvm_report import parse_report

LV = {
    "vg_name": "docker",
    "vg_uuid": "Sx1nZv-0aQy-4bTd-WfKe-Jh2m-Gc9r-U7oPil",
    "lv_name": "thinpool",
    "lv_uuid": "k3VtQe-Yb5w-Lz8c-Rn1x-Ms6d-Hj0g-A4uFyo",
    "lv_role": "private",
    "lv_size": "20396900352",
    "lv_metadata_size": "213909504",
    "lv_profile": "docker-thinpool",
    "lv_permissions": "writeable",
    "lv_active_locally": "1",
    "lv_suspended": "0",
    "lv_allocation_locked": "0",
    "lv_allocation_policy": "inherit",
    "lv_converting": "0",
    "lv_check_needed": "0",
    "lv_health_status": "",
    "lv_when_full": "queue",
    "data_percent": "0.19",
    "metadata_percent": "0.03",
    "pool_lv": "",
    "data_lv": "[thinpool_tdata]",
    "metadata_lv": "[thinpool_tmeta]",
    "segtype": "thin-pool",
    "seg_start_pe": "0",
    "stripes": "1",
    "stripe_size": "0",
    "data_copies": "1",
    "chunk_size": "524288",
    "discards": "passdown",
}
VG = {
    "vg_name": "docker",
    "vg_uuid": LV["vg_uuid"],
    "vg_size": "21470642176",
    "vg_free": "645922816",
    "vg_extent_size": "4194304",
    "vg_seqno": "7",
    "vg_profile": "",
    "vg_permissions": "writeable",
    "vg_exported": "0",
    "vg_partial": "0",
    "vg_shared": "0",
    "vg_clustered": "0",
    "vg_allocation_policy": "normal",
    "vg_systemid": "",
}
PV = {
    "pv_name": "/dev/sdb",
    "vg_name": "docker",
    "pv_allocatable": "1",
    "pv_missing": "0",
    "pv_pe_count": "5119",
    "pv_pe_alloc_count": "4965",
}


def hidden(name: str, **changes: str) -> dict[str, str]:
    """Make the row of a hidden LV."""
    return LV | {"lv_name": f"[{name}]", "segtype": "linear", "data_lv": ""} | changes


LVS = [
    LV,
    hidden("thinpool_tdata", seg_start_pe="4863", segtype="striped", stripes="2"),
    hidden("thinpool_tdata"),
    hidden("thinpool_tmeta", lv_role="private,thin,pool,metadata", lv_size="213909504"),
    hidden("lvol0_pmspare", lv_role="private,pool,spare", lv_size="213909504"),
]


def report(key: str, rows: Sequence[dict[str, str]], **more: object) -> str:
    """Print a report as LVM does."""
    return json.dumps({"report": [{key: list(rows)}], **more})


class Lvm:
    """Answers with these texts; an error is raised instead."""

    def __init__(self, **answers: str | HostError) -> None:
        defaults: dict[str, str | HostError] = {
            "lvs": report("lv", LVS),
            "vgs": report("vg", [VG]),
            "pvs": report("pv", [PV]),
            "seg_monitor": report(
                "seg",
                [{"vg_name": "docker", "lv_name": "thinpool", "seg_monitor": "monitored"}],
            ),
        }
        self.answers = defaults | answers
        self.stderr = ""
        self.asked: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str]) -> Output:
        """Run one command."""
        self.asked.append(argv)
        name = "seg_monitor" if "seg_monitor" in argv[-1] else argv[1]
        answer = self.answers[name]
        if isinstance(answer, HostError):
            raise answer
        return Output(argv=tuple(argv), status=0, stdout=answer, stderr=self.stderr)


ABSENT = Dmeventd(is_alive=False)
ALIVE = Dmeventd(is_alive=True, pid=7, state="S")


def test_reads_the_articles_pool() -> None:
    """Sizes in bytes, percentages as printed, hidden LVs joined to their pool."""
    layout = read_layout(Lvm(), "/sbin/lvm")

    (pool,), (group,) = layout.pools, layout.volume_groups
    assert (pool.vg_name, pool.name, pool.profile) == ("docker", "thinpool", "docker-thinpool")
    assert (pool.size_bytes, pool.metadata_size_bytes) == (20396900352, 213909504)
    assert (pool.data_percent, pool.metadata_percent) == (0.19, 0.03)
    assert (pool.is_active, pool.is_writable, pool.needs_check) == (True, True, False)
    assert (group.spare_extents, group.largest_metadata_extents) == (51, 51)
    assert group.usable_free_extents == 154
    assert layout.problems == ()


@pytest.mark.parametrize(
    ("own", "is_foreign"), [("elsewhere", False), ("here", True), ("", True)]
)
def test_a_vg_of_another_host_is_marked(own: str, *, is_foreign: bool) -> None:
    """By its system ID; the host's own is asked only where a VG has one."""
    lvm = Lvm(
        vgs=report("vg", [VG | {"vg_systemid": "elsewhere"}]),
        systemid=f"  system ID: {own}\n",
        lvmconfig="extra_system_ids=[]\n",
    )

    layout = read_layout(lvm, "/sbin/lvm")

    (group,) = layout.volume_groups
    assert (group.system_id, group.is_foreign) == ("elsewhere", is_foreign)
    assert not layout.problems


def test_a_system_id_that_cannot_be_asked_is_a_problem() -> None:
    """Not one of the VG's: LVM will refuse by itself, or not."""
    error = CommandStuckError(("/sbin/lvm", "systemid"), 30)
    lvm = Lvm(vgs=report("vg", [VG | {"vg_systemid": "elsewhere"}]), systemid=error)

    layout = read_layout(lvm, "/sbin/lvm")

    assert not layout.volume_groups[0].is_foreign
    assert [problem.subject for problem in layout.problems] == ["systemid"]


def test_the_last_segment_says_how_an_extension_is_laid_out() -> None:
    """Whatever the order of the rows."""
    (pool,) = read_layout(Lvm(), "/sbin/lvm").pools

    assert (pool.data_segment_type, pool.data_stripes, pool.data_areas) == ("striped", 2, 2)


@pytest.mark.parametrize(
    ("segtype", "stripes", "copies", "expected"),
    [
        ("linear", "1", "1", (1, 1)),
        ("striped", "3", "1", (3, 3)),
        ("raid1", "2", "2", (1, 2)),
        ("raid10", "4", "2", (2, 4)),
        ("raid5", "3", "2", (2, 3)),
        ("raid5_ls", "3", "2", (2, 3)),
        ("raid6", "5", "3", (3, 5)),
    ],
)
def test_areas_that_add_to_the_size(
    segtype: str, stripes: str, copies: str, expected: tuple[int, int]
) -> None:
    """Copies and parity take space and give none."""
    rows = [LV, hidden("thinpool_tdata", segtype=segtype, stripes=stripes, data_copies=copies)]

    (pool,) = read_layout(Lvm(lvs=report("lv", rows)), "/sbin/lvm").pools

    assert (pool.data_stripes, pool.data_areas) == expected


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("cache", "_corig"), ("cache+METADATA2", ""), ("writecache", "_wcorig")],
)
def test_a_cache_over_the_data_is_looked_through(kind: str, suffix: str) -> None:
    """LVM extends what lies below; a kind that nobody knows is taken as it is."""
    rows = [
        LV,
        hidden("thinpool_tdata", segtype=kind, stripes="1"),
        hidden(f"thinpool_tdata{suffix or '_corig'}", segtype="striped", stripes="3"),
    ]

    (pool,) = read_layout(Lvm(lvs=report("lv", rows)), "/sbin/lvm").pools

    assert (pool.data_segment_type, pool.data_areas) == (
        ("striped", 3) if suffix else (kind, 1)
    )


@pytest.mark.parametrize(
    ("is_pool_active", "components"),
    [("0", ("thinpool_tmeta", "thinpool_tdata")), ("1", ()), ("-1", ())],
)
def test_components_are_told_that_keep_a_pool_from_activation(
    is_pool_active: str, components: tuple[str, ...]
) -> None:
    """A failed activation or a repair leaves them active; below an active pool they must be."""
    pool = LV | {"lv_active_locally": is_pool_active}
    layout = read_layout(Lvm(lvs=report("lv", [pool, *LVS[1:]])), "lvm")

    assert layout.pools[0].active_components == components


def test_components_that_are_down_with_their_pool_are_not_told() -> None:
    """Then nothing stands in the way of an activation."""
    rows = [row | {"lv_active_locally": "0"} for row in LVS]
    layout = read_layout(Lvm(lvs=report("lv", rows)), "lvm")

    assert layout.pools[0].active_components == ()


def test_vgs_of_one_name_are_kept_apart() -> None:
    """With what LVM says of each, except for the PVs: those may be of any of them."""
    other = VG | {"vg_uuid": "other", "vg_partial": "1"}
    layout = read_layout(Lvm(vgs=report("vg", [VG, other])), "lvm")

    assert layout.volume_groups == ()
    assert [(group.uuid, group.is_partial) for group in layout.same_named_groups] == [
        (VG["vg_uuid"], False),
        ("other", True),
    ]
    assert all(group.physical_volumes == () for group in layout.same_named_groups)
    again = merge(layout, LvmLayout(), keep=lambda name: name == "docker")
    assert again.same_named_groups == layout.same_named_groups


def test_vgs_of_one_name_are_a_problem() -> None:
    """LVM takes names, and then changes neither: what they can give is unknown."""
    other = VG | {"vg_uuid": "other"}
    layout = read_layout(Lvm(vgs=report("vg", [VG, other])), "/sbin/lvm")

    assert layout.volume_groups == ()
    (problem,) = layout.problems
    assert (problem.subject, "vgrename" in problem.message) == ("VG docker", True)


def test_what_lvm_does_not_say_is_unknown() -> None:
    """An inactive or failed pool has no percentages, and -1 is neither yes nor no."""
    row = LV | {"data_percent": "", "metadata_percent": "", "lv_check_needed": "-1"}

    (pool,) = read_layout(Lvm(lvs=report("lv", [row])), "/sbin/lvm").pools

    assert (pool.data_percent, pool.metadata_percent, pool.needs_check) == (None, None, None)


@pytest.mark.parametrize(
    ("word", "is_writable"),
    [
        ("writeable", True),
        ("unknown", True),
        ("read-only", False),
        ("read-only-override", False),
    ],
)
def test_only_what_lvm_calls_read_only_is_so(word: str, *, is_writable: bool) -> None:
    """It says "unknown" of a pool whose own LV is down, and extends it all the same."""
    row = LV | {"lv_permissions": word}

    (pool,) = read_layout(Lvm(lvs=report("lv", [row])), "/sbin/lvm").pools

    assert pool.is_writable is is_writable


def test_dmeventd_is_asked_only_while_it_lives() -> None:
    """Asking would start it; and it is asked without LVM's lock."""
    absent, alive = Lvm(), Lvm()

    assert read_monitoring(absent, "/sbin/lvm", ABSENT) == ({}, [])
    assert absent.asked == []
    assert read_monitoring(alive, "/sbin/lvm", ALIVE) == ({"docker/thinpool": "monitored"}, [])
    assert "--nolocking" in argv_monitoring("/sbin/lvm")
    assert "seg_monitor" not in LV_FIELDS


@pytest.mark.parametrize("state", ["T", "Z"])
def test_a_stopped_dmeventd_is_not_asked(state: str) -> None:
    """It would never answer."""
    lvm = Lvm()

    monitoring, _ = read_monitoring(lvm, "lvm", Dmeventd(is_alive=True, pid=7, state=state))

    assert monitoring == {}
    assert lvm.asked == []


def test_a_dmeventd_that_does_not_answer_is_a_problem() -> None:
    """It is named; nothing is known of monitoring."""
    lvm = Lvm(seg_monitor=CommandStuckError(("lvm", "lvs"), 30))

    monitoring, problems = read_monitoring(lvm, "/sbin/lvm", ALIVE)

    assert monitoring == {}
    assert [problem.subject for problem in problems] == ["seg_monitor"]


def test_one_bad_vg_does_not_hide_the_others() -> None:
    """LVM exits with 5, but what it could read is in its report."""
    broken = CommandFailedError(
        ("lvm", "lvs"), 5, "  Cannot process volume group bad", stdout=report("lv", LVS)
    )

    layout = read_layout(Lvm(lvs=broken), "/sbin/lvm")

    assert [pool.name for pool in layout.pools] == ["thinpool"]
    assert "Cannot process volume group bad" in layout.problems[0].message


class LockedLvm(Lvm):
    """A VG's lock is held: whoever waits for it waits for ever."""

    def __call__(self, argv: Sequence[str]) -> Output:
        """Run one command."""
        if "--nolocking" not in argv:
            raise CommandStuckError(argv, 30)
        return super().__call__(argv)


def test_a_held_lock_does_not_hide_what_can_be_read() -> None:
    """The report is made without locks then, and it is said what has happened."""
    layout = read_layout(LockedLvm(), "/sbin/lvm")

    assert [pool.name for pool in layout.pools] == ["thinpool"]
    assert [problem.subject for problem in layout.problems] == ["lvs", "vgs", "pvs"]


def test_one_vg_is_read_without_the_locks_of_the_others() -> None:
    """Its own is waited for; pvs, which cannot be asked of one VG, waits for none."""
    lvm = Lvm()

    read_layout(lvm, "/sbin/lvm", ["docker"])

    assert ["--nolocking" in argv for argv in lvm.asked] == [False, False, True]


def test_an_lvm_that_hangs_without_locks_too_is_the_sources_failure() -> None:
    """It is not asked a third time."""
    lvm = Lvm(lvs=CommandStuckError(("lvs",), 30))

    with pytest.raises(CommandStuckError):
        read_layout(lvm, "/sbin/lvm")

    assert len(lvm.asked) == 2


def test_one_unreadable_row_becomes_a_problem() -> None:
    """It names the LV; the other rows count."""
    odd = LV | {"lv_name": "odd", "lv_size": "20.40g"}
    short = {key: value for key, value in LV.items() if key != "lv_uuid"}

    layout = read_layout(Lvm(lvs=report("lv", [odd, short, *LVS])), "/sbin/lvm")

    assert len(layout.pools) == 1
    assert "docker/odd" in layout.problems[0].subject
    assert "lv_uuid" in layout.problems[1].message


def test_later_lvm_adds_a_log() -> None:
    """2.03.26 and later print it beside the report; fields we do not know do no harm."""
    rows = [row | {"lv_new": "x"} for row in LVS]

    layout = read_layout(Lvm(lvs=report("lv", rows, log=[])), "/sbin/lvm")

    assert len(layout.pools) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"report": 1}',
        '{"report": [{"lv": [1]}]}',
        "[" * 100_000,
        "é\\x",
    ],
)
def test_what_is_no_report_is_an_error(text: str) -> None:
    """One error that names the command, whatever the bytes."""
    with pytest.raises(ParseError, match="lvs"):
        parse_report(text, LV_FIELDS, source="lvs")


@pytest.mark.parametrize("name", ["lvs", "vgs", "pvs"])
def test_a_command_that_fails_is_the_sources_failure(name: str) -> None:
    """Exit status 5 without a report, or any other status, gives no layout at all."""
    error = CommandFailedError(("lvm", name), 3, "no such option")

    with pytest.raises(CommandFailedError):
        read_layout(Lvm(**{name: error}), "/sbin/lvm")


def test_the_fields_asked_for_are_the_fields_read() -> None:
    """One table makes both."""
    argv = argv_lvs("/sbin/lvm", ["docker"])

    assert argv[-1] == "docker"
    assert set(argv[argv.index("-o") + 1].split(",")) == set(LV_FIELDS)
    assert {"--binary", "--nosuffix"} <= set(argv)
    assert set(VG_FIELDS) | set(PV_FIELDS)


DUPLICATES = {
    "2.03.16": (
        "  WARNING: Not using device /dev/sdc for PV vZFWX3-ctXp-N3vl-LvmB-dywt-PinM-uANxvo.\n"
        "  WARNING: PV vZFWX3-ctXp-N3vl-LvmB-dywt-PinM-uANxvo prefers device {used} because "
        "device name matches previous.\n"
    ),
    "2.02.98": (
        "  Found duplicate PV vZFWX3ctXpN3vlLvmBdywtPinMuANxvo: using {used} not /dev/sdc\n"
    ),
}


@pytest.mark.parametrize("version", DUPLICATES)
@pytest.mark.parametrize("is_of_this_vg", [True, False])
def test_a_pv_on_two_devices_is_known_by_lvms_warnings(
    version: str, *, is_of_this_vg: bool
) -> None:
    """No field of a report tells; LVM refuses to change the VG of that PV, and no other."""
    used = "/dev/sdb" if is_of_this_vg else "/dev/sdx"
    lvm = Lvm()
    lvm.stderr = DUPLICATES[version].format(used=used)

    layout = read_layout(lvm, "/sbin/lvm")

    (group,) = layout.volume_groups
    assert group.has_duplicate_pvs is is_of_this_vg
    told = [problem.message for problem in layout.problems]
    assert told == [line.strip() for line in lvm.stderr.splitlines()], "once, not three times"
    assert all(problem.is_warning for problem in layout.problems)


def test_what_a_verbose_lvm_says_is_no_warning() -> None:
    """Where lvm.conf wants it so, it talks until it has read what it is told."""
    lvm = Lvm()
    lvm.stderr = (
        "  log/journal not found in config: defaulting to journal = [ ]\n"
        "  Logging initialised at Mon Nov 30 13:14:31 2026\n"
        "  Set umask from 0022 to 0077\n"
        "  WARNING: VG docker is missing PV a (last written to /dev/sdb).\n"
    )

    (problem,) = read_layout(lvm, "/sbin/lvm").problems

    assert problem.message.startswith("WARNING: VG docker")


def test_what_lvm_says_has_a_limit() -> None:
    """A disk that fails may be told of a thousand times."""
    lvm = Lvm()
    lvm.stderr = "".join(f"  WARNING: {number}\n" for number in range(1000)) + "x" * 100_000

    problems = read_layout(lvm, "/sbin/lvm").problems

    assert 0 < len(problems) <= 3 * MAX_LINES
    assert max(len(problem.message) for problem in problems) < 1000


def test_a_reading_of_which_no_row_is_understood_is_a_failure() -> None:
    """Else the collector would count as successful, and every pool as gone."""
    rows = [{"vg_name": row["vg_name"], "lv_name": row["lv_name"]} for row in LVS]

    with pytest.raises(HostError, match="no vg_uuid"):
        read_layout(Lvm(lvs=report("lv", rows)), "/sbin/lvm")


@pytest.mark.parametrize(
    "field", ["vg_profile", "lv_profile", "lv_health_status", "lv_when_full"]
)
def test_a_column_that_is_missing_is_blank(field: str) -> None:
    """LVM leaves out those that are blank in every row, where it is told to be compact."""
    whole = read_layout(Lvm(lvs=report("lv", [row | {field: ""} for row in LVS])), "lvm")
    without = [{key: row[key] for key in row if key != field} for row in LVS]

    assert read_layout(Lvm(lvs=report("lv", without)), "lvm") == whole


@pytest.mark.parametrize(
    ("lv", "vg", "expected"),
    [
        ("inherit", "normal", (None, "normal")),
        ("contiguous", "normal", ("contiguous", "normal")),
        ("inherit", "cling", (None, "cling")),
    ],
)
def test_allocation_policies_are_those_of_the_hidden_lvs(
    lv: str, vg: str, expected: tuple[str | None, str]
) -> None:
    """Of what LVM extends; the pool's own says nothing."""
    rows = [
        row | {"lv_allocation_policy": lv if "_t" in row["lv_name"] else "anywhere"}
        for row in LVS
    ]
    group = VG | {"vg_allocation_policy": vg}

    layout = read_layout(Lvm(lvs=report("lv", rows), vgs=report("vg", [group])), "/sbin/lvm")

    (pool,), (found,) = layout.pools, layout.volume_groups
    assert (pool.data_allocation, found.allocation) == expected
    assert pool.metadata_allocation == pool.data_allocation
