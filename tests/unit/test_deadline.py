"""Reading a host once within one deadline, whatever of it hangs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence

import pytest
from msgspec import structs

from exporter.cli.deadline import BoundedRunner, in_child, read_within
from exporter.collection import HostAccess
from exporter.command import Output
from exporter.devmapper import DmDevice
from exporter.errors import CommandStuckError, HostError
from exporter.model import Collector, Snapshot
from exporter.simulation import ManualClock, SimulatedHost
from exporter.simulation.demo import demo_host
from tests.factories import make_snapshot
from tests.fakes import PROGRAMS

SECONDS = 1.0
# What a busy machine may take beyond the deadline. Three deadlines in a row are longer.
SLACK_SECONDS = 1.5
POOLS = 5
COMMAND_SECONDS = 0.005  # what a command takes at least


class LockedHost(SimulatedHost):
    """LVM waits for a lock for as long as it is let, and reads well without locks."""

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        if argv[1] in {"lvs", "vgs", "pvs"} and "--nolocking" not in argv:
            threading.Event().wait(deadline_seconds)
            raise CommandStuckError(argv, deadline_seconds)
        if deadline_seconds < COMMAND_SECONDS:
            raise CommandStuckError(argv, deadline_seconds)
        return super().run(argv, deadline_seconds=deadline_seconds)


class MuteKernel:
    """Never answers, as the kernel while a disk hangs."""

    def devices(self) -> Sequence[DmDevice]:
        """Wait for ever."""
        threading.Event().wait()
        return ()


def read(host: HostAccess, seconds: float = SECONDS) -> Snapshot:
    """Read, and see that the deadline holds."""
    began = time.monotonic()
    snapshot = read_within(host, PROGRAMS, seconds, watch_seconds=0.0)
    assert time.monotonic() < began + seconds + SLACK_SECONDS
    return snapshot


def test_reads_everything_of_a_host_that_is_well() -> None:
    """Policies and names of volumes too, which take other sources' answers."""
    snapshot = read(demo_host(ManualClock()).access(), 30.0)

    assert len(snapshot.pools) == POOLS
    assert all(state.is_ok for state in snapshot.collectors.values())
    assert all(pool.policy for pool in snapshot.pools if pool.vg_name)
    assert any(volume.container for pool in snapshot.pools for volume in pool.volumes)


def test_a_lock_that_is_held_leaves_time_to_read_without_it() -> None:
    """Of three commands that wait for it each leaves half of the time to the next."""
    host = LockedHost(ManualClock())
    host.add_vg("docker", extents=1000)
    snapshot = read(host.access(), 2 * SECONDS)

    assert snapshot.collectors[Collector.LVM].is_ok
    assert [group.name for group in snapshot.volume_groups] == ["docker"]
    assert snapshot.collectors[Collector.POLICY].is_ok
    assert {"lvs", "vgs", "pvs"} <= {problem.subject for problem in snapshot.problems}


def test_a_kernel_that_does_not_answer_leaves_the_rest() -> None:
    """It is named with the time that it was given."""
    mute = structs.replace(demo_host(ManualClock()).access(), kernel=MuteKernel())
    snapshot = read(mute)

    assert snapshot.collectors[Collector.DEVICE_MAPPER].error == "no answer within 1 s"
    assert not snapshot.collectors[Collector.DEVICE_MAPPER].is_ok
    assert snapshot.collectors[Collector.LVM].is_ok
    assert {pool.vg_name for pool in snapshot.pools} == {"docker", "ci", "registry", "web"}


def test_cannot_change_the_host() -> None:
    """It only reads: an lvextend is refused before it is started."""
    host = demo_host(ManualClock())
    runner = BoundedRunner(host, time.monotonic() + 30.0)
    argv = ("lvm", "lvextend", "-L", "+1g", "docker/thinpool")

    with pytest.raises(HostError, match="only reads"):
        runner.start(argv, environment={})
    with pytest.raises(HostError, match="only reads"):
        runner.keep_ready("lvm", environment={})
    with pytest.raises(HostError, match="only reads"):
        runner.call(argv, environment={}, deadline_seconds=1.0)


def test_a_child_gives_what_it_has_read() -> None:
    """All of it."""
    snapshot = make_snapshot()

    assert in_child(lambda _: snapshot, 30.0) == snapshot


def test_a_child_that_cannot_end_holds_nobody_up() -> None:
    """A thread of its may wait for a disk; what the others have read is all that counts."""

    def read_beside_a_hung_thread(_: float) -> Snapshot:
        mute = structs.replace(demo_host(ManualClock()).access(), kernel=MuteKernel())
        return read_within(mute, PROGRAMS, SECONDS, watch_seconds=0.0)

    snapshot = in_child(read_beside_a_hung_thread, 30.0)

    assert snapshot.collectors[Collector.LVM].is_ok
    assert not snapshot.collectors[Collector.DEVICE_MAPPER].is_ok


def test_a_pipe_that_a_child_keeps_open_holds_nobody_up() -> None:
    """As one does that cannot end; here it is a process of the child's."""
    waiting, end = os.pipe()
    snapshot = make_snapshot()

    def read_and_leave_a_process(_: float) -> Snapshot:
        if os.fork() == 0:
            os.close(end)
            os.read(waiting, 1)
            os._exit(0)
        return snapshot

    began = time.monotonic()
    assert in_child(read_and_leave_a_process, 30.0) == snapshot
    assert time.monotonic() < began + 15.0
    os.close(end)
    os.close(waiting)


def test_a_child_that_dies_is_told() -> None:
    """Of the OOM killer, say."""

    def die(_: float) -> Snapshot:
        os.kill(os.getpid(), signal.SIGKILL)
        return make_snapshot()

    with pytest.raises(HostError, match="has died"):
        in_child(die, 30.0)


def test_a_child_that_does_not_answer_is_given_up() -> None:
    """With the time that it was given."""

    def hang(_: float) -> Snapshot:
        threading.Event().wait()
        return make_snapshot()

    with pytest.raises(HostError, match=r"could not be read within 0\.3 s"):
        in_child(hang, 0.3)


def test_an_exception_of_the_childs_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it is, and its traceback on stderr."""

    def fail(_: float) -> Snapshot:
        raise ZeroDivisionError("of all things")

    with pytest.raises(HostError, match="read: ZeroDivisionError: of all things"):
        in_child(fail, 30.0)
    assert "Traceback" in capsys.readouterr().err
