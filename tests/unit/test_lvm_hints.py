"""LVM's hints: what they spare, and when a VG that is partial by them is read again."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from exporter.command import Output
from exporter.errors import CommandStuckError
from exporter.extend import argv_lvextend
from exporter.manner import NO_HINTS, choose
from exporter.model import Decision, Device, Dmeventd, Extension, LvmLayout, Reason
from exporter.simulation import ManualClock, PoolSpec, SimulatedHost
from exporter.sources.lvm import read_layout
from exporter.sources.lvm_dialect import FULL, Dialects
from exporter.sources.lvm_hints import ASK_AGAIN_SECONDS
from tests.fakes import MIB

VG, OTHER = "docker", "other"
DEADLINE_SECONDS = 10.0


def is_unhinted(argv: Sequence[str]) -> bool:
    """Whether a command goes by no hints."""
    return any(word.startswith('devices{hints="none"}') for word in argv)


class HintedLvm:
    """The simulated LVM, for which `docker` is partial by its hints, or indeed."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.host = SimulatedHost(self.clock)
        for name in (VG, OTHER):
            self.host.add_vg(name, extents=1000)
            pool = PoolSpec(data_bytes=500 * MIB, metadata_bytes=8 * MIB)
            self.host.add_pool(f"{name}/thinpool", pool)
        self.dialects = Dialects(self.clock)
        self.asked: list[Sequence[str]] = []
        self.is_hinted_wrong = True
        self.is_stuck_without = False
        self.is_partial_indeed = False

    def run(self, argv: Sequence[str]) -> Output:
        """Answer as LVM does."""
        self.asked.append(argv)
        is_without = is_unhinted(argv)
        if is_without and self.is_stuck_without:
            raise CommandStuckError(argv, DEADLINE_SECONDS)
        output = self.host.run(argv, deadline_seconds=DEADLINE_SECONDS)
        is_partial = self.is_partial_indeed or (self.is_hinted_wrong and not is_without)
        if argv[1] != "vgs" or not is_partial:
            return output
        report = json.loads(output.stdout)
        for row in report["report"][0]["vg"]:
            row["vg_partial"] = "1" if row["vg_name"] == VG else "0"
        return Output(argv=tuple(argv), status=0, stdout=json.dumps(report), stderr="")

    def read(self) -> LvmLayout:
        """Read everything; counts commands anew."""
        self.asked.clear()
        return read_layout(self.run, "/sbin/lvm", dialects=self.dialects)

    @property
    def without(self) -> list[Sequence[str]]:
        """The commands that went by no hints."""
        return [argv for argv in self.asked if is_unhinted(argv)]


def test_nothing_is_asked_twice_where_all_is_well() -> None:
    """And hints are gone by: they keep LVM from devices that hold up their readers."""
    lvm = HintedLvm()
    lvm.is_hinted_wrong = False

    layout = lvm.read()

    assert [argv[1] for argv in lvm.asked] == ["lvs", "vgs", "pvs"]
    assert lvm.without == []
    assert not any(group.has_stale_hints for group in layout.volume_groups)


def test_a_vg_that_is_partial_by_hints_is_read_without() -> None:
    """It alone, and then it is whole."""
    lvm = HintedLvm()

    layout = lvm.read()

    groups = {group.name: group for group in layout.volume_groups}
    assert not groups[VG].is_partial
    assert groups[VG].has_stale_hints
    assert not groups[OTHER].has_stale_hints
    assert [argv[1] for argv in lvm.without] == ["lvs", "vgs", "pvs"]
    assert [argv[-1] for argv in lvm.without[:2]] == [VG, VG]
    assert len(layout.pools) == 2


def test_a_vg_that_is_partial_indeed_is_not_doubted_each_time() -> None:
    """Once a minute is enough, or when something has changed in it."""
    lvm = HintedLvm()
    lvm.is_partial_indeed = True

    counts = []
    for seconds in (0.0, 15.0, ASK_AGAIN_SECONDS):
        lvm.clock.now += seconds
        layout = lvm.read()
        counts.append(len(lvm.without))
        (partial,) = [group.name for group in layout.volume_groups if group.is_partial]
        assert partial == VG
    lvm.host.vg(VG).seqno += 1
    lvm.read()

    assert [*counts, len(lvm.without)] == [3, 0, 3, 3]


def test_where_lvm_hangs_without_hints_the_first_account_stands() -> None:
    """A thin volume whose pool is suspended holds up whoever reads every device."""
    lvm = HintedLvm()
    lvm.is_stuck_without = True

    layout = lvm.read()

    assert [group.is_partial for group in layout.volume_groups if group.name == VG] == [True]
    assert len(layout.pools) == 2


@pytest.mark.parametrize("is_stale", [True, False])
def test_lvextend_goes_by_hints_unless_they_are_stale(*, is_stale: bool) -> None:
    """As the readings do."""
    extension = Extension(
        device=Device.DATA,
        from_extents=125,
        wanted_extents=150,
        extents=150,
        extent_bytes=4 * MIB,
    )
    decision = Decision(reason=Reason.EXTEND, extensions=(extension,))
    manner = choose(
        FULL, dmeventd=lambda: Dmeventd(is_alive=False), has_devices_of_dmeventd=False
    )
    manner = manner.without_hints() if is_stale else manner

    argv = argv_lvextend("/sbin/lvm", "docker/thinpool", decision, manner=manner)

    assert (NO_HINTS in argv) is is_stale
