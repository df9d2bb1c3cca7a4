"""The day: which hosts there are, and what happens to them.

Every alert's state comes about somewhere, and most are over by the end of the day.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from exporter.errors import CommandFailedError, KernelError
from exporter.guard import Rules
from exporter.model import ConfigurationState, Dmeventd, GuardMode
from exporter.simulation import SimulatedHost
from exporter.simulation.demo import demo_host
from exporter.simulation.figures import GIB, KIB, MIB
from exporter.simulation.lvm_config import STEP, THRESHOLD
from exporter.simulation.records import LoopPoolSpec, PoolSpec, Sawtooth
from tests.grafana.machine import SCRAPE_SECONDS, Event, Machine, Plan

EXTENTS_PER_GIB = 256
# The demo shows in a minute what is to take hours here.
DEMO_SLOWNESS = 300.0
HOUR = 3600.0
POOL = "docker/thinpool"
LOOP_POOL = "docker-253:1-402653184-pool"
Clock = Callable[[], float]


def at(hour: float, act: Callable[[Machine], None]) -> Event:
    """Plan an event."""
    return Event(hour=hour, act=act)


def hosts() -> tuple[Plan, ...]:
    """Plan the fleet."""
    return (
        _story(),
        _demo(),
        _full(),
        _metadata(),
        _observed(),
        _damaged(),
        _taken_over(),
        _deaf(),
        _loopback(),
        _crowded(),
        *(_calm(number) for number in range(1, 7)),
    )


def _docker_host(clock: Clock, spec: PoolSpec, *, vg_gib: float) -> SimulatedHost:
    """Make a host as Docker's documentation has it, with other sizes."""
    host = SimulatedHost(clock)
    host.set_config(THRESHOLD, 80)
    host.set_config(STEP, 20)
    host.set_profile("docker-thinpool", threshold=80, percent=20)
    host.add_vg("docker", extents=int(vg_gib * EXTENTS_PER_GIB))
    host.add_pool(POOL, spec)
    for container, share in (("builder", 0.5), ("db", 0.3), ("www", 0.1)):
        host.add_docker_thin(POOL, size_bytes=90 * GIB, share=share, container=container)
    host.set_docker(POOL)
    return host


def _spec(data_gib: float, used_gib: float, gib_per_hour: float, **others: object) -> PoolSpec:
    values: dict[str, object] = {
        "data_bytes": int(data_gib * GIB),
        "metadata_bytes": 256 * MIB,
        "chunk_bytes": 512 * KIB,
        "used_bytes": int(used_gib * GIB),
        "metadata_used_bytes": 24 * MIB,
        "bytes_per_second": gib_per_hour * GIB / HOUR,
        "metadata_bytes_per_second": 0.3 * KIB,
        "profile": "docker-thinpool",
    }
    return PoolSpec(**(values | others))  # type: ignore[arg-type]


def _set_rate(gib_per_hour: float) -> Callable[[Machine], None]:
    return lambda machine: machine.host.set_rate(POOL, gib_per_hour * GIB / HOUR)


def _story() -> Plan:
    """Fill, extend four times, run out of VG, page; then a disk, and all is well again."""

    def rate(hour: float) -> float:
        """Most is written by day, and builds make it uneven."""
        day = 1 + 0.5 * math.sin((hour - 3) / 24 * 2 * math.pi)
        return 4.0 * day * (1 + 0.12 * math.sin(hour * 2.7))

    quarter_hours = [number / 4 for number in range(4 * 24)]
    events = [at(hour, _set_rate(rate(hour))) for hour in quarter_hours]
    disk = at(17.8, lambda machine: machine.host.vgextend("docker", 100 * EXTENTS_PER_GIB))
    prune = at(21.6, _set_rate(-70))
    calm = at(22.1, _set_rate(2.5))
    later = [event for event in events if event.hour < 21.6]
    return Plan(
        name="docker-7",
        make=lambda clock: _docker_host(clock, _story_spec(), vg_gib=132),
        events=(*later, disk, prune, calm),
        reads=1,
    )


def _story_spec() -> PoolSpec:
    return _spec(60, 41, 4, metadata_bytes_per_second=0.5 * KIB)


def _demo() -> Plan:
    return Plan(
        name="demo-1",
        make=lambda clock: demo_host(lambda: clock() / DEMO_SLOWNESS, extend_seconds=0.0),
    )


def _full() -> Plan:
    """Nothing left to give: full at the end of the day, and nobody has come yet."""
    return Plan(
        name="ci-3",
        make=lambda clock: _docker_host(clock, _spec(95, 62, 1.45), vg_gib=96),
        version="0.8.2",
    )


def _metadata() -> Plan:
    """Small chunks, many snapshots: the metadata goes first."""
    spec = _spec(
        80,
        30,
        0.5,
        metadata_bytes=64 * MIB,
        metadata_used_bytes=20 * MIB,
        metadata_bytes_per_second=0.62 * KIB,
    )
    return Plan(
        name="registry-2",
        make=lambda clock: _docker_host(clock, spec, vg_gib=80.125),
        events=(at(20, lambda machine: machine.host.vgextend("docker", 40 * EXTENTS_PER_GIB)),),
    )


def _observed() -> Plan:
    """Look, but do not act: unprotected, and full in less than a day."""
    return Plan(
        name="db-5",
        make=lambda clock: _docker_host(clock, _spec(100, 48, 1.3), vg_gib=160),
        rules=Rules(mode=GuardMode.OBSERVE),
    )


def _damaged() -> Plan:
    """Damaged, repaired, given up by the kernel, repaired again."""

    def check(*, is_needed: bool) -> Callable[[Machine], None]:
        return lambda machine: machine.host.set_needs_check(POOL, needs_check=is_needed)

    def revive(machine: Machine) -> None:
        machine.host.pool(POOL).has_failed = False

    return Plan(
        name="build-4",
        make=lambda clock: _docker_host(clock, _spec(60, 30, 0.4), vg_gib=120),
        events=(
            at(6, check(is_needed=True)),
            at(7, check(is_needed=False)),
            at(13, lambda machine: machine.host.set_failed(POOL)),
            at(14, revive),
            at(20, _set_rate(600)),  # a burst, which the guard sees coming
            at(20.03, _set_rate(0.4)),
        ),
        rules=Rules(horizon_seconds=300),
        version="0.8.2",
    )


def _taken_over() -> Plan:
    """Let a dmeventd monitor and do nothing; later LVM refuses."""

    def start(machine: Machine) -> None:
        machine.host.set_dmeventd(Dmeventd(is_alive=True, pid=812, state="S"))
        machine.host.set_monitored(POOL)

    message = "  Cannot process volume group docker: a lock is held.\n"
    return Plan(
        name="edge-6",
        make=lambda clock: _docker_host(clock, _spec(40, 30, 1.1), vg_gib=200),
        events=(
            at(0, start),
            at(10, lambda machine: machine.host.refuse_extend(message)),
            at(16, lambda machine: machine.host.heal()),
        ),
        # It looks twice a minute, and counts only the time that it has seen.
        rules=Rules(interval_seconds=SCRAPE_SECONDS / 2),
    )


def _deaf() -> Plan:
    """Trouble with the programs: Docker, LVM's report, the configuration, the guard."""

    def configure(error: str | None) -> Callable[[Machine], None]:
        def act(machine: Machine) -> None:
            state = machine.configuration
            machine.configuration = ConfigurationState(loaded_at=state.loaded_at, error=error)

        return act

    def hang(*, is_hung: bool) -> Callable[[Machine], None]:
        def act(machine: Machine) -> None:
            machine.is_guarding = not is_hung

        return act

    failure = CommandFailedError(("lvm", "lvs"), 5, "  Failed to read the lock file.")
    unasked = KernelError("request 12: Cannot allocate memory")
    return Plan(
        name="web-8",
        make=lambda clock: _docker_host(clock, _spec(80, 30, 0.6), vg_gib=160),
        events=(
            at(4, lambda machine: machine.host.stop_docker()),
            at(5, lambda machine: machine.host.set_docker(POOL)),
            at(9, lambda machine: machine.host.fail("lvs", failure)),
            at(10, lambda machine: machine.host.heal()),
            at(12, lambda machine: machine.host.fail("device_mapper", unasked)),
            at(13, lambda machine: machine.host.heal()),
            at(15, configure("guard.mode: not one of auto, always, observe, off")),
            at(16, configure(None)),
            at(19, hang(is_hung=True)),
            at(19.5, hang(is_hung=False)),
        ),
    )


def _loopback() -> Plan:
    """Sparse files on a file system that somebody else fills."""

    def make(clock: Clock) -> SimulatedHost:
        host = SimulatedHost(clock)
        spec = LoopPoolSpec(
            pool=PoolSpec(
                data_bytes=100 * GIB,
                metadata_bytes=2 * GIB,
                used_bytes=20 * GIB,
                metadata_used_bytes=24 * MIB,
                bytes_per_second=0.5 * GIB / HOUR,
            ),
            backing_bytes=60 * GIB,
            backing_used_bytes=20 * GIB,
            backing_bytes_per_second=1.9 * GIB / HOUR,
            backing_cleanup=Sawtooth(at_bytes=57 * GIB, to_bytes=30 * GIB),
        )
        host.add_loop_pool(LOOP_POOL, spec)
        for _ in range(2):
            host.add_docker_thin(LOOP_POOL)
        host.set_docker(LOOP_POOL)
        return host

    return Plan(name="old-9", make=make, version="0.8.2")


def _crowded() -> Plan:
    """Two pools in a VG with room for the next step of either, but not of both."""

    def make(clock: Clock) -> SimulatedHost:
        host = SimulatedHost(clock)
        host.set_config(THRESHOLD, 80)
        host.set_config(STEP, 20)
        host.add_vg("shared", extents=90 * EXTENTS_PER_GIB)
        for name in ("left", "right"):
            spec = _spec(40, 24, 0.2, profile=None)
            host.add_pool(f"shared/{name}", spec)
            host.add_thin(f"shared/{name}", f"{name}-www", size_bytes=20 * GIB, share=0.5)
        return host

    return Plan(name="twin-10", make=make)


def _calm(number: int) -> Plan:
    """Stay as it is; its rack loses the network for an hour in the night."""

    def answer(*, is_answering: bool) -> Callable[[Machine], None]:
        def act(machine: Machine) -> None:
            machine.is_answering = is_answering

        return act

    spec = _spec(80, 22 + 3 * number, 0.15 + 0.05 * number)
    lost = (at(2, answer(is_answering=False)), at(3, answer(is_answering=True)))
    dead = (at(21, answer(is_answering=False)),) if number == 6 else ()
    return Plan(
        name=f"web-{10 + number}",
        make=lambda clock: _docker_host(clock, spec, vg_gib=160),
        events=(*lost, *dead),
        version="0.9.0" if number > 2 else "0.8.2",
        looks=1,
        reads=10,
    )
