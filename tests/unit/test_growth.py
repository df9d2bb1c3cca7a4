"""What thin volumes gain, from reading to reading."""

from __future__ import annotations

import pytest

from exporter.growth import Growth
from exporter.model import KernelReading, KernelThin
from tests.factories import make_kernel_pool

CHUNK = 65536
POOL = "253:4"
SECONDS = 15.0


def thin(name: str, chunks: int | None, *, pool: str = POOL, thin_id: int = 1) -> KernelThin:
    """Make a volume that maps so many chunks."""
    return KernelThin(
        dm_name=name,
        dm_uuid="",
        pool_device_number=pool,
        thin_id=thin_id,
        size_bytes=1000 * CHUNK,
        mapped_bytes=None if chunks is None else chunks * CHUNK,
    )


def reading(*thins: KernelThin) -> KernelReading:
    """Make a reading of one pool."""
    pool = make_kernel_pool(chunk_bytes=CHUNK, device_number=POOL)
    return KernelReading(pools=(pool,), thins=thins)


def rate(growth: Growth, name: str, thin_id: int = 1) -> float | None:
    """Find the rate of a volume, in chunks per second."""
    found = growth.bytes_per_second.get((POOL, name, thin_id))
    return None if found is None else found / CHUNK


def test_nothing_is_known_after_one_reading() -> None:
    """However much a volume maps, it may have mapped it for years."""
    growth = Growth()

    growth.take(reading(thin("web", 900)), 0.0)

    assert growth.bytes_per_second == {}


def test_the_gain_between_two_readings() -> None:
    """One writes, one does not, one gives space back."""
    growth = Growth()

    growth.take(reading(thin("web", 100), thin("idle", 50), thin("less", 50)), 0.0)
    growth.take(reading(thin("web", 400), thin("idle", 50), thin("less", 20)), SECONDS)

    assert rate(growth, "web") == pytest.approx(300 / SECONDS)
    assert rate(growth, "idle") is None
    assert rate(growth, "less") is None


def test_who_has_stopped_is_forgotten_in_time() -> None:
    """Its rate falls with the time since, and then there is none."""
    growth = Growth()
    growth.take(reading(thin("web", 0)), 0.0)
    growth.take(reading(thin("web", 300)), SECONDS)
    rates = []
    for step in range(2, 14):
        growth.take(reading(thin("web", 300)), step * SECONDS)
        rates.append(rate(growth, "web") or 0.0)

    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0.0


def test_a_short_second_look_does_not_exaggerate() -> None:
    """Two readings a hundredth of a second apart are one second's worth at least."""
    growth = Growth()
    growth.take(reading(thin("web", 0)), 0.0)

    growth.take(reading(thin("web", 10)), 0.01)

    assert rate(growth, "web") == pytest.approx(10)


def test_another_volume_of_the_same_name_begins_anew() -> None:
    """Removed and made again it has another ID, and what it maps is no gain."""
    growth = Growth()
    growth.take(reading(thin("web", 10, thin_id=1)), 0.0)

    growth.take(reading(thin("web", 500, thin_id=2)), SECONDS)

    assert growth.bytes_per_second == {}


@pytest.mark.parametrize(
    "unknown", [thin("web", None), thin("web", 500, pool="253:99")], ids=["mute", "no pool"]
)
def test_what_is_not_known_has_no_rate(unknown: KernelThin) -> None:
    """A volume of a failed pool, and one whose pool could not be read."""
    growth = Growth()
    growth.take(reading(thin("web", 10)), 0.0)

    growth.take(reading(unknown), SECONDS)
    growth.take(reading(thin("web", 20)), 2 * SECONDS)

    assert growth.bytes_per_second == {}
