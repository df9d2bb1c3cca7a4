"""Readings that overlap: none is lost, and the later one counts."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import cast

import psutil
import pytest
from msgspec import structs

from exporter.collection import Collection
from exporter.command import Output, Running
from exporter.errors import CommandStuckError
from exporter.model import (
    Absence,
    Collector,
    Dmeventd,
    DockerInfo,
    LvmPool,
    LvmSettings,
    Snapshot,
    StorageReading,
    VolumeGroup,
)
from exporter.simulation import ManualClock, PoolSpec, SimulatedHost
from exporter.sources import dmeventd
from exporter.sources.docker_daemon import DockerAbsentError
from tests.fakes import MIB, PROGRAMS, docker_host

DEADLINE_SECONDS = 20.0
BEFORE, AFTER = 1000, 1100


class Interrupted:
    """Runs the simulated host's commands; lets a test step in after one has answered."""

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host
        self.after: Callable[[Sequence[str]], None] = lambda _: None

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        output = self._host.run(argv, deadline_seconds=deadline_seconds)
        self.after(argv)
        return output

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """See Runner.start."""
        return self._host.start(argv, environment=environment)

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """See Runner.keep_ready."""
        self._host.keep_ready(program, environment=environment)

    def call(
        self, argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float
    ) -> Output:
        """See Runner.call."""
        return self._host.call(argv, environment=environment, deadline_seconds=deadline_seconds)


class ReadHost:
    """A simulated host with docker/thinpool, and its collection, which has read it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.host = SimulatedHost(self.clock)
        self.host.add_vg("docker", extents=BEFORE)
        pool = PoolSpec(data_bytes=500 * MIB, metadata_bytes=8 * MIB, chunk_bytes=65536)
        self.host.add_pool("docker/thinpool", pool)
        self.runner = Interrupted(self.host)
        access = structs.replace(self.host.access(), runner=self.runner)
        self.collection = Collection(
            access,
            PROGRAMS,
            wall_clock=self.clock,
            clock=self.clock,
        )
        self.collection.refresh_all()
        self.clock.now += 1

    @property
    def extents(self) -> int:
        """How many the VG has, as last read."""
        layout = self.collection.readings.lvm
        assert layout is not None
        (group,) = layout.volume_groups
        return group.size_bytes // group.extent_bytes

    def grow_and(self, then: Callable[[], object], *, after: str) -> None:
        """Let somebody extend the VG once this command has answered, and then do more."""

        def step_in(argv: Sequence[str]) -> None:
            if argv[1] == after:
                self.runner.after = lambda _: None
                self.host.vgextend("docker", AFTER - BEFORE)
                self.clock.now += 1
                then()

        self.runner.after = step_in


@pytest.mark.parametrize("is_required", [False, True])
def test_keeps_why_there_is_no_docker(*, is_required: bool) -> None:
    """As long as it is so, and whether that is right by the configuration."""
    clock = ManualClock()
    body: str | None = None

    def answer(_: float) -> str | None:
        if body is None:
            raise DockerAbsentError(Absence.NOT_RUNNING)
        return body

    collection = Collection(
        structs.replace(SimulatedHost(clock).access(), docker_socket=answer),
        structs.replace(PROGRAMS, is_docker_required=is_required),
        wall_clock=clock,
        clock=clock,
    )

    def state() -> tuple[bool, Absence | None, bool]:
        collection.refresh(Collector.DOCKER)
        state = collection.snapshot().collectors[Collector.DOCKER]
        return state.is_ok, state.absence, state.is_required

    assert state() == (False, Absence.NOT_RUNNING, is_required)
    body = '{"Driver": "overlay2"}'
    assert state()[:2] == (True, None)


@pytest.mark.parametrize("is_of_host", [True, False])
def test_the_dmeventd_of_a_container_is_not_asked(*, is_of_host: bool) -> None:
    """A question would start another one on the host, where nothing is monitored."""
    clock = ManualClock()
    host = SimulatedHost(clock)
    host.add_vg("docker", extents=BEFORE)
    host.add_pool("docker/thinpool", PoolSpec(data_bytes=500 * MIB, metadata_bytes=8 * MIB))
    runner = Interrupted(host)
    asked: list[str] = []
    runner.after = lambda argv: asked.append(" ".join(argv))
    process = SimpleNamespace(pid=7, name=lambda: "dmeventd", status=lambda: "sleeping")
    read = partial(
        dmeventd.read,
        pid_files=(),
        processes=lambda: [cast("psutil.Process", process)],
        is_of_host=lambda _: is_of_host,
    )
    access = structs.replace(host.access(), runner=runner, dmeventd=read)
    collection = Collection(access, PROGRAMS, wall_clock=clock, clock=clock)

    collection.refresh_all()

    assert any("seg_monitor" in argv for argv in asked) == is_of_host
    assert collection.snapshot().dmeventd.is_alive == is_of_host
    assert asked


def test_a_vgs_reading_does_not_undo_a_later_one_of_all() -> None:
    """It began before somebody extended the VG, and ends after all has been read."""
    read = ReadHost()
    read.grow_and(lambda: read.collection.refresh(Collector.LVM), after="pvs")

    read.collection.refresh_group("docker")

    assert read.extents == AFTER


def test_a_reading_of_all_does_not_undo_a_later_one_of_a_vg() -> None:
    """As the guard reads a VG that it has extended, while all is being read."""
    read = ReadHost()
    read.grow_and(lambda: read.collection.refresh_group("docker"), after="pvs")

    assert read.collection.refresh(Collector.LVM)

    assert read.extents == AFTER


def test_of_two_readings_of_a_vg_the_later_one_counts() -> None:
    """The watcher's and a worker's, one within the other."""
    read = ReadHost()
    read.grow_and(lambda: read.collection.refresh_group("docker"), after="pvs")

    read.collection.refresh_group("docker")

    assert read.extents == AFTER


def test_the_patient_read_again_what_is_being_read() -> None:
    """The reading under way may be from before the change that they were told of."""
    read = ReadHost()
    has_changed, may_end = threading.Event(), threading.Event()

    def let_others_in() -> None:
        has_changed.set()
        assert may_end.wait(DEADLINE_SECONDS)

    read.grow_and(let_others_in, after="pvs")
    first = threading.Thread(target=lambda: read.collection.refresh(Collector.LVM))
    first.start()
    assert has_changed.wait(DEADLINE_SECONDS)
    assert not read.collection.refresh(Collector.LVM)  # the others do not wait
    threading.Thread(target=may_end.set).start()

    assert read.collection.refresh(Collector.LVM, is_patient=True)

    first.join(DEADLINE_SECONDS)
    assert read.extents == AFTER


def test_accounts_that_are_updated_at_once_lose_nothing() -> None:
    """Two extensions of a VG can end at the same time, one of which has lost its place."""
    read = ReadHost()
    threads, times = 4, 50

    def take_one(pool: LvmPool, group: VolumeGroup) -> tuple[LvmPool, VolumeGroup]:
        os.sched_yield()  # an update is long enough for another one to begin in it
        left = group.free_bytes - group.extent_bytes
        return pool, structs.replace(group, free_bytes=left)

    def take_many() -> None:
        for _ in range(times):
            assert read.collection.update_account("docker/thinpool", take_one)

    account = read.collection.account("docker/thinpool")
    assert account is not None
    before = account[1]
    takers = [threading.Thread(target=take_many) for _ in range(threads)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(DEADLINE_SECONDS)

    account = read.collection.account("docker/thinpool")
    assert account is not None
    assert before.free_bytes - account[1].free_bytes == threads * times * before.extent_bytes


def test_a_docker_reading_that_hangs_counts_as_failed_in_time() -> None:
    """A file system may keep it for ever, which no deadline of a command ends."""
    clock = ManualClock()
    host = SimulatedHost(clock)
    host.set_docker(None)
    is_reading, may_end = threading.Event(), threading.Event()

    def storage(_: DockerInfo | None) -> StorageReading:
        is_reading.set()
        assert may_end.wait(DEADLINE_SECONDS)
        return StorageReading()

    access = structs.replace(host.access(), storage=storage)
    collection = Collection(access, PROGRAMS, wall_clock=clock, clock=clock)
    reading = threading.Thread(target=lambda: collection.refresh(Collector.DOCKER))
    reading.start()
    assert is_reading.wait(DEADLINE_SECONDS)
    assert collection.snapshot().collectors[Collector.DOCKER].error is None

    clock.now += 3 * PROGRAMS.docker_deadline_seconds + 1
    state = collection.snapshot().collectors[Collector.DOCKER]
    assert (state.is_ok, state.error) == (False, "no answer for 30 s and more")

    may_end.set()
    reading.join(DEADLINE_SECONDS)
    assert collection.snapshot().collectors[Collector.DOCKER].is_ok


def test_docker_is_asked_at_its_socket_first() -> None:
    """With its own deadline; what it answers there is what counts."""
    clock = ManualClock()
    host = SimulatedHost(clock)
    host.set_docker(None)
    asked: list[float] = []

    def at_socket(deadline_seconds: float) -> str | None:
        asked.append(deadline_seconds)
        return '{"Driver": "overlay2", "ServerVersion": "from the socket"}'

    access = structs.replace(host.access(), docker_socket=at_socket)
    collection = Collection(access, PROGRAMS, wall_clock=clock, clock=clock)

    assert collection.refresh(Collector.DOCKER)

    docker = collection.readings.docker
    assert docker is not None
    assert docker.server_version == "from the socket"
    assert asked == [PROGRAMS.docker_deadline_seconds]


def test_what_lvm_said_of_dmeventd_long_ago_is_not_shown() -> None:
    """An lvs that hangs must not let a pool count as dmeventd's for ever."""
    guarded = docker_host()
    guarded.host.set_dmeventd(Dmeventd(is_alive=True, pid=7, state="S"))
    guarded.host.set_monitored("docker/thinpool")
    guarded.collection.refresh_all()
    assert guarded.collection.snapshot().pools[0].is_monitored

    guarded.host.hang("lvs")
    guarded.clock.now += 60
    guarded.collection.refresh(Collector.LVM)

    assert guarded.collection.snapshot().pools[0].is_monitored is None


def read_once(host: SimulatedHost, **access: object) -> Snapshot:
    """Read a host with other ways to it."""
    clock = ManualClock()
    collection = Collection(
        structs.replace(host.access(), **access), PROGRAMS, wall_clock=clock, clock=clock
    )
    collection.refresh_all()
    return collection.snapshot()


def test_a_snapshot_has_what_decides_about_dmeventd_activation_and_writes() -> None:
    """For `check` without root, which reads nothing but the Snapshot."""
    host = SimulatedHost(ManualClock())
    host.set_config("dmeventd/thin_command", "/usr/local/sbin/mail-admin")
    snapshot = read_once(host, is_installed=lambda _: False, no_space_timeout=lambda: 0.0)

    assert snapshot.lvm_settings.thin_command == "/usr/local/sbin/mail-admin"
    assert snapshot.lvm_settings.missing_thin_check == "/usr/sbin/thin_check"
    assert snapshot.no_space_timeout_seconds == 0.0


def test_settings_that_cannot_be_read_cost_the_policy_nothing() -> None:
    """The guard decides by it; the settings are for people."""
    host = SimulatedHost(ManualClock())
    runner = Interrupted(host)

    def fail(argv: Sequence[str]) -> None:
        if "dmeventd/thin_command" in argv:
            raise CommandStuckError(argv, 1.0)

    runner.after = fail
    snapshot = read_once(host, runner=runner)

    assert snapshot.lvm_settings == LvmSettings()
    assert snapshot.collectors[Collector.POLICY].is_ok
    assert snapshot.lvm_version is not None
