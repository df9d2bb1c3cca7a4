"""A fleet of ordinary hosts, by a seed: what each scrape of them gets, for weeks.

No two hosts are alike: sizes, hours and amounts are drawn. A pool is extended as the program's
own policy decides, so that sizes, next steps and what is left are those of a real host.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random

from msgspec.structs import replace

from exporter.model import METADATA_BLOCK_BYTES, Device, Reason, ThinPool
from exporter.policy import Limits, attainable, decide, next_steps
from tests.factories import (
    CHUNK_BYTES,
    EXTENT_BYTES,
    make_kernel_pool,
    make_lvm_pool,
    make_physical_volume,
    make_pool,
    make_status,
    make_volume_group,
)
from tests.rules.healthy import GIB, HOST, POOL, VG, Curve, Names, Ramp, Value, timeline

STEP_MINUTES = 2  # between two scrapes: the longest that the rules hold for
STEP_SECONDS = 60 * STEP_MINUTES
HOUR = 60 // STEP_MINUTES  # in scrapes
DAY = 24 * HOUR
WEEK = 7 * DAY
EXTENTS_PER_GIB = GIB / EXTENT_BYTES
TEXTFILE_MINUTES = 5
# What the web side says of itself, when no guard has published anything since the boot.
SUCCESS = "thinpool_exporter_snapshot_success{"
OF_THE_WEB_SIDE = (
    *("up{", SUCCESS, "thinpool_exporter_build_info{"),
    "thinpool_exporter_render_errors_total{",
)
VERSIONS = tuple(name for name in HOST if name.startswith("thinpool_exporter_build_info{"))
FILL = 'thinpool_fill_bytes_per_second{device="data"}'
EXTENDED = 'thinpool_guard_extended_bytes_total{device="data"}'
FAULTS = 'thinpool_guard_errors_total{stage="source"}'
DOCKER_FREE = "thinpool_docker_data_available_bytes"
OVERLAY2 = 'thinpool_docker_info{storage_driver="overlay2"}'
DEVICEMAPPER = 'thinpool_docker_info{storage_driver="devicemapper"}'

REASONS = (Reason.BELOW_THRESHOLD, Reason.DMEVENTD_MONITORS, Reason.NO_SPACE)

Lines = dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host: its pool in GiB, how much of it is used at each scrape, and what protects it.

    `room` is what its volume group has left, and `virtual` what its volumes promise. At the
    scrape `disk_at` the volume group is given a disk of `disk`.
    """

    name: str
    size: float
    room: float
    virtual: float
    used: Sequence[float]
    job: str = "thinpool"
    joins: int = 0
    leaves: int | None = None
    disk: float = 0
    disk_at: int | None = None
    is_dmeventds: bool = False
    has_docker_pool: bool = False
    always: Mapping[str, Value] = field(default_factory=dict)

    @property
    def names(self) -> Names:
        """Its labels."""
        port = 9100 if self.job == "node" else 10128
        return Names(instance=f"{self.name}:{port}", job=self.job)


class Disks:
    """A pool and its volume group as LVM has them, extended as the program's policy decides."""

    def __init__(self, size: float, room: float, *, is_dmeventds: bool) -> None:
        self._is_dmeventds = is_dmeventds
        extents = int(size * EXTENTS_PER_GIB)
        metadata = extents // 250
        self._lvm = make_lvm_pool(
            size_bytes=extents * EXTENT_BYTES, metadata_size_bytes=metadata * EXTENT_BYTES
        )
        taken = extents + 2 * metadata  # LVM keeps a spare
        self._volume = make_physical_volume(
            extents=taken + int(room * EXTENTS_PER_GIB), allocated_extents=taken
        )
        self._group = make_volume_group(
            spare_extents=metadata, largest_metadata_extents=metadata
        )
        self._resize()

    def add_disk(self, size: float) -> None:
        """Give the volume group more room."""
        more = self._volume.extents + int(size * EXTENTS_PER_GIB)
        self._volume = replace(self._volume, extents=more)
        self._resize()

    def use(self, data: float, metadata_ratio: float) -> dict[str, float | None]:
        """Set the usage, extend the pool if its policy says so, and return what is exported."""
        pool = self._filled(data, metadata_ratio)
        decision = decide(pool, self._group, Limits())
        if decision.extensions:
            (extension,) = decision.extensions
            assert extension.device is Device.DATA  # metadata is made large enough
            added = extension.extents - extension.from_extents
            self._lvm = replace(self._lvm, size_bytes=extension.extents * EXTENT_BYTES)
            taken = self._volume.allocated_extents + added
            self._volume = replace(self._volume, allocated_extents=taken)
            self._resize()
            pool = self._filled(data, metadata_ratio)
            decision = decide(pool, self._group, Limits())
        assert pool.data is not None
        assert pool.metadata is not None
        return {
            "thinpool_data_size_bytes": pool.data.total_bytes,
            "thinpool_data_used_bytes": pool.data.used_bytes,
            "thinpool_metadata_size_bytes": pool.metadata.total_bytes,
            "thinpool_metadata_used_bytes": pool.metadata.used_bytes,
            "thinpool_vg_allocatable_bytes": self._group.usable_free_extents * EXTENT_BYTES,
            **self._reach_of(pool),
            **self._state(decision.reason),
        }

    def _state(self, reason: Reason) -> dict[str, float | None]:
        if self._is_dmeventds:
            reason = Reason.DMEVENTD_MONITORS
        assert reason in REASONS
        name = "thinpool_guard_state"
        return {
            f'{name}{{reason="{known}"}}': 1 if known == reason else None for known in REASONS
        }

    def _reach_of(self, pool: ThinPool) -> Mapping[str, float]:
        """Say what the policy asks for next, and how large the pool can become."""
        if not self._reach:
            for step in next_steps(pool, self._group, Limits()):
                device = f'{{device="{step.device}"}}'
                self._reach[f"thinpool_next_extend_bytes{device}"] = step.wanted_bytes
                self._reach[f"thinpool_next_extend_possible_bytes{device}"] = (
                    step.possible_bytes
                )
            for name, reach in attainable(pool, self._group, Limits()).items():
                self._reach[f'thinpool_attainable_bytes{{device="{name}"}}'] = reach
        return self._reach

    def _resize(self) -> None:
        self._group = replace(self._group, physical_volumes=(self._volume,))
        self._reach: dict[str, float] = {}

    def _filled(self, data: float, metadata_ratio: float) -> ThinPool:
        status = make_status()
        assert status.data is not None
        assert status.metadata is not None
        blocks = self._lvm.metadata_size_bytes // METADATA_BLOCK_BYTES
        status = replace(
            status,
            data=replace(
                status.data,
                used_blocks=int(data * GIB / CHUNK_BYTES),
                total_blocks=self._lvm.size_bytes // CHUNK_BYTES,
            ),
            metadata=replace(
                status.metadata, used_blocks=int(metadata_ratio * blocks), total_blocks=blocks
            ),
        )
        return make_pool(lvm=self._lvm, kernel=make_kernel_pool(status=status))


def fleet(seed: int, scrapes: int) -> Lines:
    """Write the series of a fleet: one host of each kind, and what happens to all of them."""
    lines: Lines = {}
    weather = Random(f"{seed} weather")  # noqa: S311 - no secret
    upgrade_at = scrapes * 3 // 4
    for kind in KINDS:
        name = kind.__name__
        random = Random(f"{seed} {name}")  # noqa: S311 - no secret
        # One host after the other gets the new version.
        upgrade_at += random.randint(2, 8)
        host = kind(f"{name}-{seed}", random, scrapes)
        own = series(host, random, scrapes, upgrade_at)
        _come_and_go(own, host)
        lines |= own
    # Prometheus itself is started again, and leaves no mark of that.
    begins = scrapes // 3
    ends = begins + weather.choice((2, 3))
    for values in lines.values():
        values[begins:ends] = ["_"] * (ends - begins)
    return {name: values for name, values in lines.items() if set(values) - {"_", "stale"}}


def series(host: Host, random: Random, scrapes: int, upgrade_at: int) -> Lines:
    """Write the series of one host: its pool's life, its reboots, and scrapes that fail."""
    boots = tuple(_weekly(random, scrapes))
    missed = {at: "stale" for at in range(scrapes) if random.random() < 1 / (3 * DAY)}
    ups = [boot + random.randint(2, 4) for boot in boots]
    for boot, up in zip(boots, ups, strict=True):
        missed |= dict.fromkeys(range(boot, min(up, scrapes)), "stale")
    if upgrade_at < scrapes and random.random() < 0.5:
        missed[upgrade_at] = "stale"
    starts = {*ups, upgrade_at}
    always = {
        **_own(host, random, scrapes, ups),
        **_pool(host, random, starts),
        FAULTS: Curve(list(_faults(random, scrapes, starts))),
    }
    always |= {
        version: Curve(
            [1.0 if (at >= upgrade_at) == bool(number) else None for at in range(scrapes)]
        )
        for number, version in enumerate(VERSIONS)
    }
    always |= host.always
    lines = timeline(host.names, (scrapes, {}), always=always, missed=missed)
    for up in ups:
        if random.random() < 0.5 and "thinpool_exporter_snapshot_success" not in host.always:
            answer_before_the_guard(lines, up)
    return lines


def _own(host: Host, random: Random, scrapes: int, ups: Iterable[int]) -> dict[str, Value]:
    """Say what concerns the host: its clock, and Docker."""
    docker_starts = {at for up in ups for at in range(up, up + random.randint(1, 2))}
    clock = Ramp(0.0, STEP_SECONDS)
    figures: dict[str, Value] = {
        "thinpool_guard_last_cycle_timestamp_seconds": clock,
        "thinpool_exporter_snapshot_timestamp_seconds": clock,
        # Docker comes up later than the rest.
        "thinpool_docker_up": Curve([float(at not in docker_starts) for at in range(scrapes)]),
    }
    if not host.has_docker_pool:
        sizes = ("data_available", "data_size", "metadata_available", "metadata_size")
        of_a_pool = (*sizes, "min_free_space")
        return figures | {f"thinpool_docker_{name}_bytes": None for name in of_a_pool}
    size = host.size * GIB
    figures["thinpool_docker_data_size_bytes"] = size
    figures["thinpool_docker_min_free_space_bytes"] = size / 10
    return figures | {OVERLAY2: None, DEVICEMAPPER: 1}


def _faults(random: Random, scrapes: int, starts: Container[int]) -> Iterator[float]:
    """Count a source that cannot be read once a day, since the guard was started."""
    count = 0.0
    for scrape in range(scrapes):
        count = 0.0 if scrape in starts else count + (random.random() < 1 / DAY)
        yield count


def _pool(host: Host, random: Random, starts: Container[int]) -> dict[str, Value]:
    """Live through the pool's life: what it shows at each scrape."""
    if not host.used:
        return {**dict.fromkeys(POOL), **dict.fromkeys(VG)}
    disks = Disks(host.size, host.room, is_dmeventds=host.is_dmeventds)
    metadata_share = random.uniform(0.25, 0.45)
    rows = []
    extended, size, before = 0.0, 0.0, host.used[0]
    for scrape, used in enumerate(host.used):
        if scrape == host.disk_at:
            disks.add_disk(host.disk)
        row = disks.use(used, 0.03 + metadata_share * used / host.virtual)
        now = row["thinpool_data_size_bytes"] or 0.0
        # A process that has been started counts from 0 again.
        extended = 0.0 if scrape in starts else extended + (now - size if scrape else 0.0)
        gain = (used - before) * GIB / STEP_SECONDS
        size, before = now, used
        # The guard tells the steepest of its windows: more than the mean of two minutes.
        row[FILL] = random.uniform(1, 2) * gain if gain > 0 else None
        row[EXTENDED] = 0.0 if host.is_dmeventds else extended
        if host.has_docker_pool:
            row[DOCKER_FREE] = now - used * GIB
        rows.append(row)
    return {
        "thinpool_virtual_size_bytes": host.virtual * GIB,
        "thinpool_thin_volumes": random.randint(3, 40),
        **dict.fromkeys(("thinpool_monitored", "thinpool_dmeventd_up"), host.is_dmeventds),
        "thinpool_guard_responsible": not host.is_dmeventds,
        **{name: Curve([row[name] for row in rows]) for name in rows[0]},
    }


def _weekly(random: Random, scrapes: int) -> Iterator[int]:
    """Draw a moment of each week; of a shorter time, one."""
    week = min(WEEK, scrapes)
    for begins in range(0, scrapes - week + 1, week):
        yield begins + random.randrange(2 * HOUR, week - HOUR)


def answer_before_the_guard(lines: Lines, scrape: int) -> None:
    """After a boot the web side may answer first: there is nothing yet that it could show."""
    success = next(name for name in lines if name.startswith(SUCCESS))
    if scrape < len(lines[success]) and lines[success][scrape] != "stale":
        for name, values in lines.items():
            if not name.startswith(OF_THE_WEB_SIDE):
                values[scrape] = "stale"
        lines[success][scrape] = "0.0"


def _come_and_go(lines: Lines, host: Host) -> None:
    """Begin when the target is added, and end when it is taken away."""
    for values in lines.values():
        values[: host.joins] = ["_"] * host.joins
        if host.leaves is not None:
            values[host.leaves :] = ["stale", *["_"] * (len(values) - host.leaves - 1)]


def _drift(random: Random, amount: float) -> Iterator[float]:
    """Waver a little around 0: what is written and deleted all the time."""
    level = 0.0
    while True:
        level = 0.95 * level + random.uniform(-amount, amount)
        yield level


def ci(name: str, random: Random, scrapes: int) -> Host:
    """Fill for some hours, be pruned, and again; now and then it crosses the threshold."""
    size = random.uniform(150, 400)
    floor = random.uniform(0.2, 0.35)
    used: list[float] = []
    while len(used) < scrapes:
        peak = (
            random.uniform(0.84, 0.92) if random.random() < 0.04 else random.uniform(0.5, 0.76)
        )
        base = floor + random.uniform(-0.03, 0.03)
        filling = random.randint(int(2.5 * HOUR), 6 * HOUR)
        pruning = random.randint(2, 8)
        uneven = list(accumulate(random.uniform(0.2, 1.8) for _ in range(filling)))
        used += (base + (peak - base) * done / uneven[-1] for done in uneven)
        used += (peak + (base - peak) * (at + 1) / pruning for at in range(pruning))
        used += [base] * random.randint(0, HOUR)
    return Host(
        name=name,
        size=size,
        room=random.uniform(0.6, 1.2) * size,
        virtual=random.uniform(2, 5) * size,
        used=[size * share for share in used[:scrapes]],
    )


def grows(name: str, random: Random, scrapes: int) -> Host:
    """Grow steadily, with room for months; the guard extends it every other week."""
    size = random.uniform(120, 300)
    start, a_day = random.uniform(0.70, 0.75), random.uniform(0.008, 0.012)
    phase = random.uniform(0, DAY)
    drift = _drift(random, 0.0005)
    # Most is written by day.
    shares = accumulate(
        a_day / DAY * (1.6 if (at + phase) % DAY < DAY / 2 else 0.4) for at in range(scrapes)
    )
    return Host(
        name=name,
        size=size,
        room=random.uniform(2, 3) * size,
        virtual=random.uniform(4, 6) * size,
        used=[size * (start + share + next(drift)) for share in shares],
    )


def nightly(name: str, random: Random, scrapes: int) -> Host:
    """Write a backup each night, a larger one each week, and drop it in the morning."""
    size = random.uniform(200, 500)
    base = random.uniform(0.3, 0.42)
    drift = _drift(random, 0.001)
    used: list[float] = []
    for day in range(scrapes // DAY + 1):
        begins = int((1 + random.uniform(-0.3, 0.3)) * HOUR)
        lasts = random.randint(HOUR, int(2.5 * HOUR))
        gain = random.uniform(0.15, 0.2) * (1.6 if day % 7 == 5 else 1)
        kept, freed = random.randint(2 * HOUR, 4 * HOUR), random.randint(2, 6)
        night = [0.0] * begins + [gain * (at + 1) / lasts for at in range(lasts)]
        night += [gain] * kept + [gain * (1 - (at + 1) / freed) for at in range(freed)]
        used += night + [0.0] * (DAY - len(night))
    return Host(
        name=name,
        size=size,
        room=random.uniform(0.4, 0.8) * size,
        virtual=random.uniform(1.5, 3) * size,
        used=[size * (base + share + next(drift)) for share in used[:scrapes]],
    )


def thick(name: str, random: Random, scrapes: int) -> Host:
    """Have volumes that promise no more than the pool has, and are nearly full."""
    size = random.uniform(100, 800)
    low, high = sorted(random.uniform(0.95, 0.99) for _ in range(2))
    week = random.randrange(WEEK)
    # fstrim once a week, and written again by then.
    used = [size * (low + (high - low) * ((at + week) % WEEK) / WEEK) for at in range(scrapes)]
    virtual = random.uniform(0.992, 0.999) * size
    return Host(name=name, size=size, room=0, virtual=virtual, used=used)


def pulls(name: str, random: Random, scrapes: int) -> Host:
    """Pull images within minutes, some times a day; what is unused is removed each night."""
    size = random.uniform(80, 200)
    base, prunes = random.uniform(0.35, 0.5), random.randrange(2 * HOUR, 5 * HOUR)
    drift = _drift(random, 0.0005)
    used: list[float] = []
    level = 0.0
    pulling: list[float] = []
    for scrape in range(scrapes):
        if not pulling and random.random() < 3 / DAY:
            minutes = random.randint(2, 5)
            pulling = [random.uniform(0.02, 0.06) / minutes] * minutes
        level += pulling.pop() if pulling else 0.0
        if scrape % DAY == prunes:
            level *= 0.05
        used.append(size * (base + level + next(drift)))
    return Host(
        name=name,
        size=size,
        room=random.uniform(0.5, 1) * size,
        virtual=random.uniform(2, 4) * size,
        used=used,
    )


def dmeventd(name: str, random: Random, scrapes: int) -> Host:
    """Grow steadily, and be extended by dmeventd; the guard stands behind it."""
    return dataclasses.replace(grows(name, random, scrapes), is_dmeventds=True)


def textfile(name: str, random: Random, scrapes: int) -> Host:
    """Be described every five minutes by `collect`; dmeventd extends the pool."""
    host = dmeventd(name, random, scrapes)
    collected = [at * STEP_MINUTES // TEXTFILE_MINUTES for at in range(scrapes)]
    guards = (
        *(name for name in (*HOST, *POOL) if "_guard_" in name or "_next_" in name),
        *(name for name in POOL if "attainable" in name or "fill_bytes" in name),
        'thinpool_hook_calls_total{outcome="failed"}',
        'thinpool_hook_calls_total{outcome="done"}',
        "thinpool_exporter_snapshot_success",
        "thinpool_exporter_config_last_reload_successful",
    )
    written = [60.0 * TEXTFILE_MINUTES * number for number in collected]
    return dataclasses.replace(
        host,
        job="node",
        used=[host.used[number * TEXTFILE_MINUTES // STEP_MINUTES] for number in collected],
        always={
            **dict.fromkeys(guards),
            "thinpool_exporter_snapshot_timestamp_seconds": Curve(written),
        },
    )


def layout(name: str, random: Random, scrapes: int) -> Host:
    """Be laid out as Docker's documentation has it: 95 % of the group is the pool's."""
    size = random.uniform(90, 250)
    base, gain = random.uniform(0.15, 0.25), random.uniform(0.12, 0.2)
    host = nightly(name, random, scrapes)
    low, high = min(host.used), max(host.used)
    shares = ((used - low) / (high - low) for used in host.used)
    return dataclasses.replace(
        host,
        size=size,
        room=0.03 * size,
        virtual=random.uniform(3, 6) * size,
        used=[size * (base + gain * share) for share in shares],
        has_docker_pool=True,
    )


def half_full(name: str, random: Random, scrapes: int) -> Host:
    """Be laid out like that, and more than half full: the next step does not fit."""
    host = layout(name, random, scrapes)
    more = 0.3 * host.size
    return dataclasses.replace(host, used=[used + more for used in host.used])


def without_pool(name: str, random: Random, scrapes: int) -> Host:
    """Have no pool: the exporter is installed everywhere."""
    del random, scrapes
    return Host(name=name, size=0, room=0, virtual=0, used=())


def newcomer(name: str, random: Random, scrapes: int) -> Host:
    """Join in the middle: an empty pool gets its first data, and is built on from then on."""
    joins = scrapes * 2 // 5
    host = ci(name, random, scrapes)
    lasts = random.randint(HOUR, 3 * HOUR)
    used = list(host.used)
    for at in range(lasts):
        used[joins + at] = used[joins + lasts] * at / lasts
    used[:joins] = [0.0] * joins
    return dataclasses.replace(host, used=used, joins=joins)


def leaver(name: str, random: Random, scrapes: int) -> Host:
    """Be taken away in the middle."""
    host = pulls(name, random, scrapes)
    return dataclasses.replace(host, leaves=scrapes * 3 // 5)


def needs_a_disk(name: str, random: Random, scrapes: int) -> Host:
    """Run out of room within weeks, and get a disk for the ticket that says so."""
    size = random.uniform(120, 300)
    start, a_day = random.uniform(0.6, 0.64), random.uniform(0.024, 0.026)
    drift = _drift(random, 0.0005)
    return Host(
        name=name,
        size=size,
        room=(32 * a_day + start - 1) * size,
        virtual=random.uniform(4, 6) * size,
        used=[size * (start + a_day * at / DAY + next(drift)) for at in range(scrapes)],
        disk=2 * size,
        disk_at=23 * DAY,
    )


KINDS: tuple[Callable[[str, Random, int], Host], ...] = (
    *(ci, grows, nightly, thick, pulls, dmeventd, textfile, layout, half_full),
    *(without_pool, newcomer, leaver, needs_a_disk),
)
