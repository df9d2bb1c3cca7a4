"""Whose VGs this host may change, by their system IDs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from exporter.command import Output
from exporter.errors import CommandFailedError
from exporter.sources import system_id

LVM = "/sbin/lvm"


class Lvm:
    """An LVM with this own ID, and these besides; None: it does not know the key."""

    def __init__(self, own: str, extra: str | None = "[]") -> None:
        self.own, self.extra = own, extra
        self.status = 5
        self.is_old = 0  # the status with which it refuses lvmconfig

    def __call__(self, argv: Sequence[str]) -> Output:
        """Run one of its commands."""
        if argv == system_id.argv_system_id(LVM):
            return Output(
                argv=tuple(argv), status=0, stdout=f"  system ID: {self.own}\n", stderr=""
            )
        if self.is_old and argv[1] == "lvmconfig":
            raise CommandFailedError(argv, self.is_old, "No such command.", stdout="")
        command = ("dumpconfig",) if self.is_old else ("lvmconfig", "--type", "full")
        assert argv == (LVM, *command, "local/extra_system_ids")
        if self.extra is None:
            raise CommandFailedError(argv, self.status, "node not found", stdout="")
        text = f"extra_system_ids={self.extra}\n"
        return Output(argv=tuple(argv), status=0, stdout=text, stderr="")


@pytest.mark.parametrize(
    ("own", "extra", "allowed"),
    [
        ("host-1.example", "[]", {"host-1.example"}),
        ("one", '["two","three"]', {"one", "two", "three"}),
        ("one", '"two"', {"one", "two"}),
        ("one", None, {"one"}),
        # Without an own one, LVM does not look at the others.
        ("", '["two"]', set()),
    ],
)
def test_what_may_be_changed(own: str, extra: str | None, allowed: set[str]) -> None:
    """As is_system_id_allowed in LVM decides."""
    assert system_id.read(Lvm(own, extra), LVM) == allowed


@pytest.mark.parametrize("status", [2, 3])
@pytest.mark.parametrize(("extra", "allowed"), [('["two"]', {"one", "two"}), (None, {"one"})])
def test_an_older_lvm_is_asked_in_its_own_way(
    status: int, extra: str | None, allowed: set[str]
) -> None:
    """Before 2.02.123 there is no `lvmconfig --type full`."""
    lvm = Lvm("one", extra)
    lvm.is_old = status

    assert system_id.read(lvm, LVM) == allowed


def test_a_failure_of_another_kind_is_one() -> None:
    """Only a key that LVM does not know means that there is nothing."""
    lvm = Lvm("one", None)
    lvm.status = 4

    with pytest.raises(CommandFailedError):
        system_id.read(lvm, LVM)


def test_no_answer_is_no_id() -> None:
    """Whatever else it may print."""
    assert not system_id.parse_system_id("")
    assert not system_id.parse_system_id("  No such command.\n")
