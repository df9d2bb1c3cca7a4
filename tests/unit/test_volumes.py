"""Which volumes of a pool are named, and how."""

from __future__ import annotations

import pytest

from exporter.growth import VolumeKey, key_of
from exporter.model import KernelThin, ThinVolume, VolumeOwner
from exporter.volumes import Volumes

POOL, OTHER = "253:4", "253:9"
MIB = 1024 * 1024
HASH = "5e" * 32
VG_AND_LV = "a" * 32 + "b" * 32


def thin(
    name: str, mapped: int | None, *, pool: str = POOL, thin_id: int = 1, uuid: str = ""
) -> KernelThin:
    """Make a volume that maps so many MiB of 10 GiB."""
    return KernelThin(
        dm_name=name,
        dm_uuid=uuid,
        pool_device_number=pool,
        thin_id=thin_id,
        size_bytes=10 * 1024 * MIB,
        mapped_bytes=None if mapped is None else mapped * MIB,
    )


def chosen(
    *thins: KernelThin,
    limit: int = 10,
    growth: dict[VolumeKey, float] | None = None,
    owners: dict[str, VolumeOwner] | None = None,
) -> tuple[ThinVolume, ...]:
    """Choose of the one pool."""
    return Volumes(thins, growth or {}, owners or {}, limit=limit).of(POOL)


def names(volumes: tuple[ThinVolume, ...]) -> list[str]:
    """Name the chosen ones in their order."""
    return [volume.name for volume in volumes]


def test_the_largest_come_first_and_are_so_many_at_most() -> None:
    """Equal ones by name, so that the same ones are shown each time."""
    thins = [thin(name, size) for name, size in zip("abcde", (5, 9, 1, 9, 3), strict=True)]

    assert names(chosen(*thins)) == ["b", "d", "a", "e", "c"]
    assert names(chosen(*thins, limit=3)) == ["b", "d", "a"]
    assert chosen(*thins, limit=0) == ()


def test_who_grows_has_half_of_the_places() -> None:
    """A small volume that fills the pool is the one that is looked for."""
    thins = [thin(f"large{number}", 1000 - number) for number in range(10)]
    small = [thin(f"small{number}", 1) for number in range(6)]
    growth = {key_of(volume): 10.0 + number for number, volume in enumerate(small)}

    found = names(chosen(*thins, *small, limit=4, growth=growth))

    assert found == ["large0", "large1", "small4", "small5"]


def test_places_that_no_grower_takes_are_for_the_largest() -> None:
    """And one that is both takes one place."""
    thins = [thin(f"v{number}", 100 - number) for number in range(6)]

    found = chosen(*thins, limit=4, growth={key_of(thins[0]): 7.0})

    assert names(found) == ["v0", "v1", "v2", "v3"]
    assert [volume.fill_bytes_per_second for volume in found] == [7.0, None, None, None]


def test_volumes_of_other_pools_and_of_unknown_usage_are_left_out() -> None:
    """What is not known is not 0."""
    assert names(chosen(thin("a", 1), thin("b", None), thin("c", 1, pool=OTHER))) == ["a"]


@pytest.mark.parametrize(
    ("dm_name", "uuid", "name"),
    [
        ("my--vg-my--volume", f"LVM-{VG_AND_LV}", "my-volume"),
        ("vg-origin-real", f"LVM-{VG_AND_LV}-real", "origin"),
        ("vg-pool_tmeta", f"LVM-{VG_AND_LV}", "pool_tmeta"),
        (f"docker-253:0-131-{HASH}", "", f"docker-253:0-131-{HASH}"),
        ("vg-lv", "CRYPT-something", "vg-lv"),
        ("oddname", f"LVM-{VG_AND_LV}", "oddname"),
    ],
)
def test_names(dm_name: str, uuid: str, name: str) -> None:
    """LVM's volumes bear the LV's name, others their device's."""
    assert names(chosen(thin(dm_name, 1, uuid=uuid))) == [name]


def test_an_owner_is_told() -> None:
    """By the name of the device."""
    owner = VolumeOwner(container="web", image="nginx:1.21")

    (volume,) = chosen(thin("docker-1", 3), owners={"docker-1": owner})

    assert (volume.container, volume.image, volume.mapped_bytes) == (
        "web",
        "nginx:1.21",
        3 * MIB,
    )
