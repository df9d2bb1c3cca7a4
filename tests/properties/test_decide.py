"""Whatever the parsers let through, a decision is made, and no extension fails to grow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.autoextend import LvmVersion
from exporter.command import Output
from exporter.errors import ParseError
from exporter.model import (
    Decision,
    Device,
    LvmLayout,
    LvmPool,
    NextStep,
    ThinPool,
    Usage,
    VolumeGroup,
)
from exporter.policy import Limits, Outlook, decide, next_steps
from exporter.sources.lvm import read_layout
from tests.factories import (
    make_kernel_pool,
    make_lvm_pool,
    make_physical_volume,
    make_policy,
    make_pool,
    make_status,
    make_volume_group,
)
from tests.recordings.replay import HERE, Recording

STATE = Recording(HERE / "bookworm" / "striped_and_raid1")
SECTOR_BYTES = 512
MAX_BYTES = 2**63 - 1
SECTORS = st.sampled_from([SECTOR_BYTES, 65536, 4 * 1024**2, 1024**3]) | st.integers(
    1, 2**40
).map(lambda sectors: sectors * SECTOR_BYTES)
COUNTS = st.integers(0, 60) | st.integers(0, 6000) | st.integers(0, 2**63 - 1)
AREAS = st.sampled_from([1, 2, 3, 8]) | st.integers(1, 2**63 - 1)
# lvmconfig prints what the administrator has written.
PERCENTS = st.sampled_from([-5, 0, 1, 20, 50, 80, 99, 100, 1000]) | st.integers(-(10**9), 10**9)
VERSIONS = st.sampled_from(
    [None, (2, 2, 98), (2, 2, 120), (2, 2, 186), (2, 3, 5), (2, 3, 16), (2, 3, 31)]
) | st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 999))
LIMITS = st.builds(
    Limits,
    max_size_bytes=st.none() | st.integers(1, MAX_BYTES),
    reserve_bytes=st.just(0) | st.integers(0, MAX_BYTES),
)
RATES = st.dictionaries(st.sampled_from(Device), st.floats(0, 1e12, allow_nan=False))
SECONDS = st.floats(0, 3600, allow_nan=False)
OUTLOOKS = st.builds(
    Outlook,
    bytes_per_second=RATES,
    lasted_seconds=st.dictionaries(st.sampled_from(Device), SECONDS),
    reaction_seconds=SECONDS,
    horizon_seconds=SECONDS,
    is_for_any_policy=st.booleans(),
)
many = settings(max_examples=500)


def usage(draw: st.DrawFn, size_bytes: int, block_bytes: int) -> Usage:
    """Draw a usage of all blocks of this size, more than which the kernel may claim."""
    total = max(1, size_bytes // block_bytes)
    return Usage(
        used_blocks=draw(st.integers(0, total) | st.just(total + 1)),
        total_blocks=total,
        block_bytes=block_bytes,
    )


@st.composite
def pools(draw: st.DrawFn, extent_bytes: int) -> ThinPool:
    """Draw a pool of any layout; the kernel agrees with LVM about its size."""
    chunk = draw(SECTORS)
    size, metadata_size = (draw(COUNTS) * extent_bytes for _ in Device)
    lvm = make_lvm_pool(
        size_bytes=size,
        metadata_size_bytes=metadata_size,
        chunk_bytes=chunk,
        data_stripes=draw(AREAS),
        data_areas=draw(AREAS | st.just(0)),
        data_stripe_bytes=draw(st.just(0) | SECTORS),
        metadata_segment_type=draw(st.sampled_from(["linear", "striped", "raid1", "raid9"])),
        metadata_areas=draw(AREAS),
    )
    status = make_status(
        data=usage(draw, size, chunk), metadata=usage(draw, metadata_size, 4096)
    )
    policy = make_policy(threshold_percent=draw(PERCENTS), step_percent=draw(PERCENTS))
    return make_pool(lvm=lvm, kernel=make_kernel_pool(status=status), policy=policy)


@st.composite
def pools_in_groups(draw: st.DrawFn) -> tuple[ThinPool, VolumeGroup]:
    """Draw a pool and its VG."""
    extent_bytes = draw(SECTORS)
    counts = st.lists(st.tuples(COUNTS, COUNTS), max_size=4)
    volumes = tuple(
        make_physical_volume(extents=extents, allocated_extents=allocated)
        for extents, allocated in draw(counts)
    )
    group = make_volume_group(
        extent_bytes=extent_bytes,
        spare_extents=draw(COUNTS),
        largest_metadata_extents=draw(COUNTS),
        physical_volumes=volumes,
    )
    return draw(pools(extent_bytes)), group


def check(decision: Decision, steps: tuple[NextStep, ...]) -> None:
    """Hold every extension to what lvextend can do, and every step to what is wanted."""
    devices = [extension.device for extension in decision.extensions]
    assert devices == sorted(set(devices), key=[Device.METADATA, Device.DATA].index)
    for extension in decision.extensions:
        assert extension.from_extents < extension.extents <= extension.wanted_extents
    for step in steps:
        assert 0 <= step.possible_bytes <= step.wanted_bytes


@many
@given(pools_in_groups(), LIMITS, VERSIONS, OUTLOOKS)
def test_any_record_is_decided(
    found: tuple[ThinPool, VolumeGroup],
    limits: Limits,
    version: LvmVersion | None,
    outlook: Outlook,
) -> None:
    """Of any size, layout, usage and policy."""
    pool, group = found

    check(
        decide(pool, group, limits, lvm_version=version, outlook=outlook),
        next_steps(pool, group, limits, lvm_version=version),
    )


FIGURES = {
    "thin-pool": ("chunk_size", "lv_size", "lv_metadata_size"),
    "segment": ("lv_size", "stripes", "stripe_size", "data_copies", "seg_start_pe"),
    "vgs": ("vg_size", "vg_free", "vg_extent_size"),
    "pvs": ("pv_pe_count", "pv_pe_alloc_count"),
}
COMMANDS = ("lvs", "vgs", "pvs")
NUMBERS = st.sampled_from(
    ["", "0", "1", "3", "-1", "511", "512", "513", "65536", "4194304", str(MAX_BYTES), "x"]
)
SEGMENT_KINDS = st.sampled_from(
    ["linear", "striped", "raid1", "raid5", "raid6", "raid10", "error"]
)
Place = tuple[str, int, str]


def places(command: str) -> Iterator[Place]:
    """Find the figures in a report of the recorded host: command, number of the row, field."""
    for number, row in enumerate(STATE.rows(command)):
        kind = row.get("segtype", command)
        if "raid" not in row.get("lv_role", ""):
            for field in FIGURES.get(kind, FIGURES["segment"]):
                yield command, number, field


SEGMENTS = sorted({place[:2] for place in places("lvs") if place[2] == "stripes"})
FIGURE_CHANGES = st.dictionaries(
    st.one_of([st.sampled_from(list(places(command))) for command in COMMANDS]),
    NUMBERS,
    min_size=1,
    max_size=3,
)
KIND_CHANGES = st.dictionaries(
    st.sampled_from(SEGMENTS).map(lambda segment: (*segment, "segtype")),
    SEGMENT_KINDS,
    max_size=2,
)


def layout_with(changes: Mapping[Place, str]) -> LvmLayout:
    """Read a recorded host of which some fields are something else."""
    rows = {command: [dict(row) for row in STATE.rows(command)] for command in COMMANDS}
    for (command, number, field), word in changes.items():
        rows[command][number][field] = word

    def run(argv: Sequence[str]) -> Output:
        text = json.dumps({"report": [{argv[1].rstrip("s"): rows[argv[1]]}]})
        return Output(argv=tuple(argv), status=0, stdout=text, stderr="")

    return read_layout(run, "/sbin/lvm")


def full(lvm: LvmPool) -> ThinPool:
    """Let the kernel agree with LVM about a pool's sizes, and use all of it."""
    sizes = ((lvm.size_bytes, lvm.chunk_bytes), (lvm.metadata_size_bytes, 4096))
    data, metadata = (
        Usage(used_blocks=total, total_blocks=total, block_bytes=block)
        for total, block in ((max(1, size // block), block) for size, block in sizes)
    )
    kernel = make_kernel_pool(status=make_status(data=data, metadata=metadata))
    return make_pool(vg_name=lvm.vg_name, name=lvm.name, lvm=lvm, kernel=kernel)


@many
@given(FIGURE_CHANGES, KIND_CHANGES, LIMITS, VERSIONS)
def test_whatever_lvm_prints_is_decided(
    figures: Mapping[Place, str],
    kinds: Mapping[Place, str],
    limits: Limits,
    version: LvmVersion | None,
) -> None:
    """A figure that cannot be is refused by the parser, or does no harm."""
    try:
        layout = layout_with({**figures, **kinds})
    except ParseError:  # no row of a report is left: then LVM counts as unread
        return
    groups = {group.name: group for group in layout.volume_groups}

    for lvm in layout.pools:
        pool, group = full(lvm), groups.get(lvm.vg_name)
        check(
            decide(pool, group, limits, lvm_version=version),
            next_steps(pool, group, limits, lvm_version=version),
        )
