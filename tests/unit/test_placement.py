"""From a directory's devices down to the pools: the nearest ones, none, or unknown."""

from __future__ import annotations

import pytest

from exporter.model import Engine, Mount, StoragePlace, StorageReading, StorageRoot, ThinPool
from exporter.placement import NO_KERNEL, NO_SUCH_POOL, NOT_SEEN, places
from tests.factories import make_kernel_pool, make_pool

DOCKER, OTHER = ("docker", "thinpool"), ("", "other")
POOLS = (
    make_pool(),  # 253:4
    make_pool(
        vg_name="",
        name="other",
        kernel=make_kernel_pool(dm_name="other", device_number="253:20"),
    ),
)


def place(
    below: dict[str, tuple[str, ...]],
    *tops: str,
    pools: tuple[ThinPool, ...] = POOLS,
    is_kernel_known: bool = True,
) -> StoragePlace:
    """Place a directory whose file system is on these devices."""
    mount = Mount(file_system="xfs", source="/dev/x", devices=tops)
    root = StorageRoot(engine=Engine.DOCKER, path="/data", driver="overlay2", mount=mount)
    reading = StorageReading(roots=(root,), below=below)
    (found,) = places(reading, pools, is_kernel_known=is_kernel_known)
    return found


@pytest.mark.parametrize(
    ("below", "tops", "expected"),
    [
        ({"253:9": ("253:4",), "253:4": ("253:3",)}, ("253:9",), (DOCKER,)),
        ({"253:9": ("253:8",), "253:8": ("253:4",)}, ("253:9",), (DOCKER,)),
        ({"253:9": ("253:4", "253:20")}, ("253:9",), (DOCKER, OTHER)),
        ({"253:8": ("253:4",), "253:9": ("253:4",)}, ("253:8", "253:9"), (DOCKER,)),
        # What a pool itself lies on is not the directory's pool.
        ({"253:9": ("253:4",), "253:4": ("253:20",)}, ("253:9",), (DOCKER,)),
        ({"253:9": ("8:0",), "8:0": ()}, ("253:9",), ()),
        ({"253:9": ("253:9",)}, ("253:9",), ()),
        ({}, (), ()),
        # One of its disks is on a pool for certain, whatever the other is on.
        ({"253:9": ("253:4", "8:0")}, ("253:9",), (DOCKER,)),
        ({}, ("253:9",), None),
        ({"253:9": ("8:0",)}, ("253:9",), None),
    ],
)
def test_finds_the_nearest_pools(
    below: dict[str, tuple[str, ...]],
    tops: tuple[str, ...],
    expected: tuple[tuple[str, str], ...] | None,
) -> None:
    """On every way down; a way that cannot be seen to its end may lead to any."""
    found = place(below, *tops)

    assert found.pools == expected
    assert found.unknown == ("" if expected is not None else NOT_SEEN)


def test_without_the_kernel_no_pool_is_known() -> None:
    """But a file system without devices is on none in any case."""
    unknown = place({"8:0": ()}, "8:0", pools=(), is_kernel_known=False)
    assert (unknown.pools, unknown.unknown) == (None, NO_KERNEL)
    assert place({}, pools=(), is_kernel_known=False).pools == ()


@pytest.mark.parametrize("name", ["docker-thinpool", "docker-thinpool-tpool"])
def test_a_pool_that_is_named_is_found_by_its_name(name: str) -> None:
    """With LVM's suffix or without; one that is not there is not known."""
    root = StorageRoot(
        engine=Engine.CONTAINERD, path="/x", driver="devmapper", pool_device=name
    )
    reading = StorageReading(roots=(root,))

    (found,) = places(reading, POOLS, is_kernel_known=True)
    assert found.pools == (DOCKER,)
    (missing,) = places(reading, (), is_kernel_known=True)
    assert (missing.pools, missing.unknown) == (None, NO_SUCH_POOL)
    (unread,) = places(reading, (), is_kernel_known=False)
    assert (unread.pools, unread.unknown) == (None, NO_KERNEL)


def test_a_directory_of_unknown_place_keeps_its_reason() -> None:
    """And before anything was read, there are no directories."""
    root = StorageRoot(engine=Engine.PODMAN, path="/x", unknown="hidden")
    (found,) = places(StorageReading(roots=(root,)), POOLS, is_kernel_known=True)

    assert (found.pools, found.unknown) == (None, "hidden")
    assert places(None, POOLS, is_kernel_known=True) == ()
