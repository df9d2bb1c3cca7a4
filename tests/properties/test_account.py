"""What is worked out of a VG after an extension, beside what LVM then says of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporter.extend import Extender, Watch
from exporter.model import Decision, Device, Extension, Reason
from exporter.policy import after_extension
from exporter.simulation import PoolSpec
from tests.fakes import MIB, GuardedHost

EXTENT_BYTES = 4 * MIB
CHUNKS = st.sampled_from([64 * 1024, 192 * 1024, 512 * 1024, 1024 * 1024])


@given(
    data=st.integers(2, 400),
    metadata=st.integers(1, 20),
    more_data=st.integers(0, 200),
    more_metadata=st.integers(0, 20),
    chunk_bytes=CHUNKS,
    left=st.integers(0, 300),
)
def test_the_account_is_lvms_own_or_more_careful(
    data: int, metadata: int, more_data: int, more_metadata: int, chunk_bytes: int, left: int
) -> None:
    """The sizes are exact, and no more is promised than LVM has."""
    guarded = GuardedHost()
    guarded.host.add_vg("vg", extents=data + 2 * metadata + left)
    spec = PoolSpec(
        data_bytes=data * EXTENT_BYTES,
        metadata_bytes=metadata * EXTENT_BYTES,
        chunk_bytes=chunk_bytes,
    )
    guarded.host.add_pool("vg/pool", spec)
    guarded.collection.refresh_all()
    before = guarded.collection.snapshot()
    (pool,), (group,) = before.pools, before.volume_groups
    assert pool.lvm is not None
    assert pool.status is not None
    sizes = {Device.METADATA: (metadata, more_metadata), Device.DATA: (data, more_data)}
    extensions = tuple(
        Extension(
            device=device,
            from_extents=size,
            wanted_extents=size + more,
            extents=size + more,
            extent_bytes=EXTENT_BYTES,
        )
        for device, (size, more) in sizes.items()
        if more
    )
    if not extensions:
        return

    attempt = Extender(
        guarded.host, "/sbin/lvm", deadline_seconds=60, clock=guarded.clock
    ).extend(
        "vg/pool",
        Decision(reason=Reason.EXTEND, extensions=extensions),
        before=pool.status,
        watch=Watch(read_status=lambda: guarded.collection.pool_status(pool)),
    )
    assert attempt.status is not None
    estimated, vg = after_extension(pool.lvm, group, attempt.status, attempt)
    guarded.collection.refresh_all()

    after = guarded.collection.snapshot()
    lvm = after.pools[0].lvm
    assert lvm is not None
    assert (estimated.size_bytes, estimated.metadata_size_bytes) == (
        lvm.size_bytes,
        lvm.metadata_size_bytes,
    )
    assert vg.usable_free_extents <= after.volume_groups[0].usable_free_extents
