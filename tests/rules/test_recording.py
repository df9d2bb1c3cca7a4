"""What is recorded, to the figure: of one pool, of pools that share a group, of a fleet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.rules.healthy import GIB, Names, Ramp, Value, timeline
from tests.rules.promtool import Test, expect, hold, selector

NAMES = Names()
MINUTES = 70
HOUR = 3600.0
MOST_METADATA = 255 * (2**14 - 64) * 4096.0  # THIN_METADATA_MAX_SECTORS of the kernel
STEADY: Mapping[str, Value] = {
    "thinpool_data_used_bytes": Ramp(50 * GIB, 0.5 * GIB),  # 30 GiB an hour, 84.5 at the end
    "thinpool_metadata_used_bytes": GIB,
}
SHARING = Names(pool="second")


def recorded(name: str, value: float, labels: Mapping[str, str], **more: str) -> Test:
    """Expect one recorded series of these labels, at the end."""
    chosen = {**labels, **more}
    return expect(MINUTES - 1, selector(name, chosen), (selector(name, chosen), value))


def pool(name: str, value: float, device: str = "", names: Names = NAMES) -> Test:
    """Expect a series of the pool."""
    more = {"device": device} if device else {}
    return recorded(f"thinpool:{name}", value, names.of_pool, **more)


def test_of_one_pool(tmp_path: Path) -> None:
    """Usage, what may still be written, rates and forecasts, each of data and metadata."""
    series = timeline(NAMES, (MINUTES, {}), always=STEADY)
    used = 84.5 * GIB
    hold(
        tmp_path,
        series,
        pool("used:ratio", used / (200 * GIB), "data"),
        pool("used:ratio", 0.25, "metadata"),
        pool("threshold:ratio", 0.8, "data"),
        pool("threshold:ratio", 0.8, "metadata"),
        pool("protected:bool", 1),
        pool("overcommitted:bool", 1, "data"),
        pool("attainable:bytes", 300 * GIB, "data"),
        pool("attainable:bytes", MOST_METADATA, "metadata"),
        pool("free:bytes", 200 * GIB - used, "data"),
        pool("free:bytes", 3 * GIB, "metadata"),
        pool("headroom:bytes", 300 * GIB - used, "data"),
        pool("headroom:bytes", MOST_METADATA - GIB, "metadata"),
        pool("used:deriv1h", 30 * GIB / HOUR, "data"),
        pool("used:deriv1h", 0, "metadata"),
        pool("used:steady1h", 30 * GIB / HOUR, "data"),
        pool("until_full:seconds", 115.5 / 30 * HOUR, "data"),
        pool("until_exhausted:seconds", 215.5 / 30 * HOUR, "data"),
        recorded("instance:thinpool_unprotected:count", 0, NAMES.of_host),
        recorded(
            "instance:thinpool_used:ratio_max", used / (200 * GIB), NAMES.of_host, device="data"
        ),
        recorded(
            "instance:thinpool_until_exhausted:seconds_min", 215.5 / 30 * HOUR, NAMES.of_host
        ),
        recorded("thinpool:up:bool", 1, NAMES.of_host),
        # Absent: metadata does not fill, and the pool is protected.
        expect(MINUTES - 1, 'thinpool:until_full:seconds{device="metadata"}'),
        expect(MINUTES - 1, 'thinpool:until_exhausted:seconds{device="metadata"}'),
        expect(MINUTES - 1, "thinpool:unprotected:reason"),
    )


ATTAINABLE: dict[str, tuple[Mapping[str, Value], float, float]] = {
    "nobody_extends_it": ({"thinpool_guard_responsible": 0}, 200, 4),
    "a_part_of_a_step_fits": (
        {
            'thinpool_next_extend_possible_bytes{device="data"}': 7 * GIB,
            'thinpool_next_extend_possible_bytes{device="metadata"}': 0,
        },
        207,
        4,
    ),
    "its_spare_takes_as_much": ({"thinpool_vg_allocatable_bytes": 10 * GIB}, 210, 9),
    "metadata_has_an_end": (
        {"thinpool_metadata_size_bytes": 15 * GIB},
        300,
        MOST_METADATA / GIB,
    ),
    "the_group_is_not_known": ({"thinpool_vg_allocatable_bytes": None}, 200, 4),
}


@pytest.mark.parametrize("name", ATTAINABLE)
def test_what_a_device_could_become(name: str, tmp_path: Path) -> None:
    """Never more than somebody would give to it."""
    changes, data, metadata = ATTAINABLE[name]
    hold(
        tmp_path,
        timeline(NAMES, (MINUTES, {}), always=changes),
        pool("attainable:bytes", data * GIB, "data"),
        pool("attainable:bytes", metadata * GIB, "metadata"),
    )


def test_what_the_host_says_it_could_become_counts_first(tmp_path: Path) -> None:
    """The guard knows reserve, max_size, stripes and spares; where nobody extends, nothing."""
    said: Mapping[str, Value] = {
        'thinpool_attainable_bytes{device="data"}': 250 * GIB,
        'thinpool_attainable_bytes{device="metadata"}': 5 * GIB,
    }
    for responsible, data, metadata in ((1, 250, 5), (0, 200, 4)):
        hold(
            tmp_path,
            timeline(
                NAMES, (10, {}), always={**said, "thinpool_guard_responsible": responsible}
            ),
            *(
                expect(9, selector(name, labels), (selector(name, labels), size * GIB))
                for device, size in (("data", data), ("metadata", metadata))
                for name, labels in (
                    ("thinpool:attainable:bytes", {**NAMES.of_pool, "device": device}),
                )
            ),
        )


PROMISES: dict[str, tuple[Mapping[str, Value], float]] = {
    "all_is_there": ({}, 0),
    "an_engine_on_a_volume": ({'thinpool_storage_root_info{driver="overlay2"}': 1}, 0),
    "dockers_devicemapper": ({'thinpool_docker_info{storage_driver="devicemapper"}': 1}, 1),
    "while_docker_is_down": ({'thinpool_storage_root_info{driver="devicemapper"}': 1}, 1),
    "containerds_devmapper": ({'thinpool_storage_root_info{driver="devmapper"}': 1}, 1),
    "no_volume_is_known": ({"thinpool_thin_volumes": 0}, 1),
    "more_is_promised": ({"thinpool_virtual_size_bytes": 201 * GIB}, 1),
}


@pytest.mark.parametrize("name", PROMISES)
def test_what_a_pool_has_promised(name: str, tmp_path: Path) -> None:
    """Nothing is known of volumes that their engine has not activated."""
    changes, expected = PROMISES[name]
    always = {"thinpool_virtual_size_bytes": 150 * GIB, **changes}
    hold(
        tmp_path,
        timeline(NAMES, (MINUTES, {}), always=always),
        pool("overcommitted:bool", expected, "data"),
    )


def test_pools_of_one_group_share_what_it_has(tmp_path: Path) -> None:
    """Two that fill alike have half of it each, and one that rests leaves it to the other."""
    first = timeline(NAMES, (MINUTES, {}), always=STEADY)
    hold(
        tmp_path,
        first | timeline(SHARING, (MINUTES, {}), always=STEADY),
        recorded("vg:thinpool_used:deriv1h", 60 * GIB / HOUR, NAMES.of_vg),
        pool("until_exhausted:seconds", 165.5 / 30 * HOUR, "data"),
        pool("until_exhausted:seconds", 165.5 / 30 * HOUR, "data", SHARING),
        pool("headroom:bytes", 215.5 * GIB, "data"),  # of each as if it were alone
    )
    hold(
        tmp_path,
        first | timeline(SHARING, (MINUTES, {})),
        pool("until_exhausted:seconds", 215.5 / 30 * HOUR, "data"),
    )


PROTECTED: dict[str, tuple[Mapping[str, Value], int]] = {
    "dmeventd_with_the_guard_behind_it": (
        {
            "thinpool_guard_responsible": 0,
            'thinpool_guard_state{reason="dmeventd_monitors"}': 1,
            'thinpool_next_extend_possible_bytes{device="data"}': 1,
        },
        1,
    ),
    "dmeventd_alone": (
        {
            "thinpool_guard_responsible": 0,
            "thinpool_monitored": 1,
            "thinpool_dmeventd_up": 1,
        },
        1,
    ),
    "dmeventd_alone_and_no_room_for_its_step": (
        {
            "thinpool_guard_responsible": 0,
            "thinpool_monitored": 1,
            "thinpool_dmeventd_up": 1,
            'thinpool_next_extend_possible_bytes{device="data"}': 39 * GIB,
        },
        0,
    ),
    "dmeventd_alone_with_a_step_of_nothing": (
        {
            "thinpool_guard_responsible": 0,
            "thinpool_monitored": 1,
            "thinpool_dmeventd_up": 1,
            "thinpool_autoextend_step_ratio": 0,
        },
        0,
    ),
    "dmeventd_dead": ({"thinpool_guard_responsible": 0, "thinpool_monitored": 1}, 0),
}


@pytest.mark.parametrize("name", PROTECTED)
def test_who_is_protected(name: str, tmp_path: Path) -> None:
    """By the guard, or by a dmeventd that can and will."""
    changes, value = PROTECTED[name]
    hold(
        tmp_path,
        timeline(NAMES, (MINUTES, {}), always=changes),
        pool("protected:bool", value),
        recorded("instance:thinpool_unprotected:count", 1 - value, NAMES.of_host),
    )


STRATIS = "stratis-1-private-c5537a12176a482e8df8af23ebdce463-thinpool-pool"


@pytest.mark.parametrize(
    ("name", "value"),
    [(STRATIS, 1), ("docker-253:0-131-pool", 0), (f"my-{STRATIS}", 0)],
)
def test_stratisd_extends_its_own_pools(name: str, value: float, tmp_path: Path) -> None:
    """Known by their names; nobody extends other pools that are not LVM's."""
    names = Names(vg="", pool=name)
    hold(
        tmp_path,
        timeline(names, (MINUTES, {}), always={"thinpool_guard_responsible": 0}),
        pool("protected:bool", value, names=names),
    )


def test_labels_of_the_target_stay(tmp_path: Path) -> None:
    """A rack or a site that service discovery gives is on every series, and on the alerts."""
    series = {
        name.replace('job="thinpool"', 'job="thinpool",rack="r1"'): values
        for name, values in timeline(NAMES, (MINUTES, {}), always=STEADY).items()
    }
    labels = {**NAMES.of_pool, "device": "data", "rack": "r1"}
    hold(
        tmp_path,
        series,
        recorded("thinpool:until_exhausted:seconds", 215.5 / 30 * HOUR, labels),
        recorded("thinpool:attainable:bytes", 300 * GIB, labels),
        recorded("instance:thinpool_unprotected:count", 0, {**NAMES.of_host, "rack": "r1"}),
    )


def test_of_a_fleet(tmp_path: Path) -> None:
    """Sums by job."""
    series: dict[str, list[str]] = {}
    for number in range(4):
        unguarded: Mapping[str, Value] = (
            {"thinpool_guard_responsible": 0} if number == 3 else {}
        )
        names = Names(instance=f"host{number}:10128")
        series |= timeline(names, (MINUTES, {}), always=unguarded)
    job = {"job": "thinpool"}
    hold(
        tmp_path,
        series,
        recorded("job:thinpool_pools:count", 4, job),
        recorded("job:thinpool_unprotected:sum", 1, job),
        recorded("job:thinpool_data_size_bytes:sum", 800 * GIB, job),
        recorded("job:thinpool_data_used_bytes:sum", 400 * GIB, job),
    )
