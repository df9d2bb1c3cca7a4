"""Attribute letters into what newer LVM has fields for."""

from __future__ import annotations

import pytest

from exporter.sources.lvm_attr import complete_lvs, complete_pvs, complete_vgs


def lv(attributes: str, **fields: str) -> dict[str, str]:
    """Complete one row."""
    (row,) = complete_lvs([{"vg_name": "docker", "lv_attr": attributes, **fields}])
    return dict(row)


@pytest.mark.parametrize(
    ("attributes", "active", "suspended"),
    [
        ("twi-a-tz--", "1", "0"),
        ("twi-aotz-", "1", "0"),  # 2.02.98 has nine letters
        ("twi-s-tz--", "1", "1"),
        ("twi---tz--", "0", "-1"),
        ("twi-XXtz--", "-1", "-1"),
        ("twi", "-1", "-1"),
        ("", "-1", "-1"),
    ],
)
def test_whether_it_is_active(attributes: str, active: str, suspended: str) -> None:
    """What LVM could not find out is unknown, as it is with --binary."""
    row = lv(attributes)

    assert (row["lv_active_locally"], row["lv_suspended"]) == (active, suspended)


def test_the_other_letters_of_a_pool() -> None:
    """Each letter is one of newer LVM's words."""
    row = lv("cRI-c-tzF-")

    assert (row["lv_permissions"], row["lv_health_status"]) == ("read-only-override", "failed")
    assert (row["lv_converting"], row["lv_allocation_locked"]) == ("1", "1")
    assert row["lv_check_needed"] == "1"
    plain = lv("twi-a-tz--")
    assert (plain["lv_permissions"], plain["lv_health_status"]) == ("writeable", "")
    assert (plain["lv_converting"], plain["lv_allocation_locked"]) == ("0", "0")
    assert plain["lv_check_needed"] == "-1"


def test_what_lvm_tells_itself_is_not_derived() -> None:
    """Letters stand in for missing fields alone."""
    assert lv("twi---tz--", lv_active_locally="1", lv_profile="p")["lv_active_locally"] == "1"


def test_metadata_and_spare_are_found_by_what_names_them() -> None:
    """Before 2.02.110 there are no roles; names are compared within their VG."""
    pool = {"lv_name": "a", "metadata_lv": "[a_tmeta]", "lv_attr": "twi-a-tz--"}
    meta = {"lv_name": "[a_tmeta]", "metadata_lv": "", "lv_attr": "ewi-ao----"}
    spare = {"lv_name": "[lvol0_pmspare]", "metadata_lv": "", "lv_attr": "ewi-------"}
    rows = [row | {"vg_name": "docker"} for row in (pool, meta, spare)]
    rows += [
        meta | {"vg_name": "other"},
        spare | {"vg_name": "docker", "lv_attr": "-wi-------"},
    ]

    roles = [row["lv_role"] for row in complete_lvs(rows)]

    assert roles == ["", "private,pool,metadata", "private,pool,spare", "", ""]


@pytest.mark.parametrize(
    ("segtype", "stripes", "copies"),
    [("linear", "1", "1"), ("raid1", "3", "3"), ("mirror", "2", "2"), ("raid10", "4", "2")],
)
def test_copies_of_the_data(segtype: str, stripes: str, copies: str) -> None:
    """LVM tells their number since 2.02.172."""
    assert lv("rwi-a-r---", segtype=segtype, stripes=stripes)["data_copies"] == copies


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("wz--n-", ("writeable", "0", "0", "0", "0")),
        ("rzxpnc", ("read-only", "1", "1", "0", "1")),
        ("wz--ns", ("writeable", "0", "0", "1", "0")),
        ("", ("unknown", "-1", "-1", "-1", "-1")),
    ],
)
def test_letters_of_a_vg(attributes: str, expected: tuple[str, ...]) -> None:
    """Permissions, exported, partial, shared, clustered."""
    (row,) = complete_vgs([{"vg_attr": attributes}])

    names = ("vg_permissions", "vg_exported", "vg_partial", "vg_shared", "vg_clustered")
    assert tuple(row[name] for name in names) == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [("a--", ("1", "0")), ("--m", ("0", "1")), ("u--", ("0", "0")), ("", ("-1", "-1"))],
)
def test_letters_of_a_pv(attributes: str, expected: tuple[str, str]) -> None:
    """Allocatable and missing."""
    (row,) = complete_pvs([{"pv_attr": attributes}])

    assert (row["pv_allocatable"], row["pv_missing"]) == expected
