"""When the names of Docker's volumes are read, and what a disk that hangs costs."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from exporter.model import VolumeOwner
from exporter.naming import RENAMED_SECONDS, VolumeNames
from exporter.simulation import ManualClock
from tests.waiting import eventually

ROOT = Path("/var/lib/docker")
A, B = frozenset({"a"}), frozenset({"a", "b"})


class Files:
    """Gives each device an owner, counts the readings, and can be held up."""

    def __init__(self) -> None:
        self.readings = 0
        self.container = "web"
        self.flow = threading.Event()
        self.flow.set()
        self.error: Exception | None = None

    def read(self, root: Path, names: Iterable[str]) -> Mapping[str, VolumeOwner]:
        """See docker_volumes.read."""
        assert root == ROOT
        self.readings += 1
        assert self.flow.wait(20)
        if self.error:
            raise self.error
        return {name: VolumeOwner(container=self.container) for name in names}


class Naming:
    """Names over such files, on a clock of the test's."""

    def __init__(self) -> None:
        self.files = Files()
        self.clock = ManualClock()
        self.errors: list[Exception] = []
        self.names = VolumeNames(self.files.read, self.clock, on_error=self.errors.append)

    def refresh(self, devices: frozenset[str], *, wait_seconds: float = 20) -> None:
        """Refresh as the collection does."""
        self.names.refresh(ROOT, devices, wait_seconds=wait_seconds)


def test_reads_where_a_device_is_new_and_not_otherwise() -> None:
    """A container that was started is named at once; an idle host costs nothing."""
    naming = Naming()

    for devices in (A, A, B, B, A):
        naming.refresh(devices)

    assert naming.files.readings == 3
    assert naming.names.owners == {"a": VolumeOwner(container="web")}


def test_a_container_that_is_renamed_is_read_again() -> None:
    """After a minute."""
    naming = Naming()
    naming.refresh(A)
    naming.files.container = "shop"

    naming.clock.now += RENAMED_SECONDS
    naming.refresh(A)

    assert naming.names.owners["a"].container == "shop"


def test_without_dockers_volumes_no_file_is_read() -> None:
    """Most hosts have none."""
    naming = Naming()

    naming.refresh(frozenset())

    assert naming.files.readings == 0
    assert naming.names.owners == {}


def test_a_disk_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    """Python waits at its end for threads that are no daemons."""
    naming = Naming()
    naming.files.flow.clear()
    try:
        naming.refresh(A, wait_seconds=0)

        assert [
            thread.daemon for thread in threading.enumerate() if thread.name == "names"
        ] == [True]
    finally:
        naming.files.flow.set()


def test_a_disk_that_hangs_costs_one_thread() -> None:
    """Nobody waits for it, and nobody asks again, until it answers."""
    naming = Naming()
    naming.refresh(A)
    naming.files.flow.clear()

    naming.refresh(B, wait_seconds=0.01)
    naming.refresh(A, wait_seconds=0.01)

    assert naming.files.readings == 2
    assert naming.names.owners == {"a": VolumeOwner(container="web")}
    naming.files.flow.set()
    assert eventually(lambda: "b" in naming.names.owners)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyError("Name")])
def test_a_reading_that_fails_leaves_the_names_and_is_repeated(error: Exception) -> None:
    """After 5, 10, 20, 40 s and each minute, though other devices come; each is told."""
    naming = Naming()
    naming.refresh(A)
    naming.files.error = error

    failed_at: list[float] = []
    start = naming.clock.now
    for devices in (A | {f"{number}"} for number in range(200)):
        naming.refresh(devices)
        if len(naming.errors) > len(failed_at):
            failed_at.append(naming.clock.now - start)
        naming.clock.now += 1
    assert failed_at == [0, 5, 15, 35, 75, 135, 195]
    assert naming.errors == [error] * 7
    assert naming.names.owners == {"a": VolumeOwner(container="web")}

    naming.files.error = None
    naming.clock.now += 60
    naming.refresh(B)
    assert set(naming.names.owners) == B
    naming.refresh(A)
    assert set(naming.names.owners) == A


def test_a_host_without_room_for_a_thread_is_tried_again() -> None:
    """The caller goes on with the names that it has."""
    naming = Naming()
    usual = threading.stack_size(1 << 47)
    try:
        naming.refresh(A)
    finally:
        threading.stack_size(usual)
    assert [type(error) for error in naming.errors] == [RuntimeError]

    naming.clock.now += 5
    naming.refresh(A)

    assert naming.names.owners == {"a": VolumeOwner(container="web")}
