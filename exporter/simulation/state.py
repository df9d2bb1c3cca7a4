"""All that the simulated host is made of, for the commands to read and change."""

from __future__ import annotations

from dataclasses import dataclass, field
from string import ascii_lowercase

from exporter.model import Dmeventd
from exporter.simulation.flow import Flow
from exporter.simulation.lvm_config import THRESHOLD, LvmConfig
from exporter.simulation.pool import Pool
from exporter.simulation.records import LoopPoolSpec
from exporter.simulation.storage import Vg


@dataclass(kw_only=True)
class DockerThin:
    """A thin device that Docker made: LVM does not know it, and it has no UUID.

    `share` is its part of what the pool has in use; without a container it is an image's.
    """

    name: str
    pool: Pool
    minor: int
    thin_id: int
    size_bytes: int
    share: float
    container: str | None
    image: str


@dataclass(kw_only=True)
class Loop:
    """The file system under the sparse files of a loop-lvm pool."""

    spec: LoopPoolSpec
    used: Flow

    @property
    def free_bytes(self) -> int:
        """Space left for the sparse files."""
        return self.spec.backing_bytes - int(self.used.used_bytes)


@dataclass(kw_only=True)
class Docker:
    """The Docker daemon; `pool` is None where it does not use devicemapper."""

    pool: Pool | None
    containers: int = 4
    is_down: bool = False


@dataclass(kw_only=True)
class HostState:
    """Every VG, pool and daemon of the host."""

    vgs: dict[str, Vg] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    loops: dict[str, Loop] = field(default_factory=dict)
    docker_thins: list[DockerThin] = field(default_factory=list)
    config: LvmConfig = field(default_factory=LvmConfig)
    dmeventd: Dmeventd = field(default_factory=lambda: Dmeventd(is_alive=False))
    docker: Docker | None = None
    next_minor: int = 0

    def take_minors(self, count: int) -> int:
        """Reserve numbers for new devices; returns the first."""
        first = self.next_minor
        self.next_minor += count
        return first

    def add_disk(self, vg: Vg, extents: int) -> None:
        """Take a new disk into a VG: /dev/sdb is the first, as sda has the system."""
        count = sum(len(other.pvs) for other in self.vgs.values())
        first, second = divmod(count + 1, len(ascii_lowercase))
        prefix = ascii_lowercase[first - 1] if first else ""
        vg.add_pv(f"/dev/sd{prefix}{ascii_lowercase[second]}", extents)

    def profile_of(self, pool: Pool) -> str | None:
        """Find the profile in force: the LV's own, else that of its VG."""
        return pool.spec.profile or (pool.vg.profile if pool.vg else None)

    def setting(self, key: str, pool: Pool) -> int:
        """Read a number of LVM's configuration as it holds for a pool."""
        return self.config.number(key, self.profile_of(pool))

    def reload(self, pool: Pool) -> None:
        """Load the pool's table anew, as LVM does after each change."""
        pool.reload(self.setting(THRESHOLD, pool))

    def advance(self, now: float) -> bool:
        """Move everything to `now`; whether device-mapper raised an event."""
        for loop in self.loops.values():
            loop.used.advance(now, loop.spec.backing_bytes)
        events = [pool.advance(now) for pool in self.pools.values()]
        return any(events)
