"""The simulated host beside recordings of real ones: the same rows, words and statuses.

Only numbers may differ, and the names and UUIDs that are made up on either side.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from exporter.command import Output
from exporter.devmapper import DmDevice
from exporter.errors import CommandFailedError
from exporter.model import Dmeventd
from exporter.simulation import LoopPoolSpec, ManualClock, PoolSpec, SimulatedHost
from exporter.simulation.figures import GIB, KIB, MIB
from tests.recordings.replay import HERE, Recording
from tests.unit.simulation.host import POOL, PROFILE

RELEASE = HERE / "bookworm"  # whose LVM and Docker the simulated host mimics
DISK_EXTENTS = 255  # of 4 MiB: a disk of 1 GiB
BLOCK = 4 * KIB
COMPARED = ("lvs", "vgs", "pvs", "version", "lvmconfig", "monitoring", "docker_info_json")
LOOP_POOL = "docker-254:0-132737-pool"
ALIVE = Dmeventd(is_alive=True, pid=500, state="S")


def bare_host(clock: ManualClock | None = None) -> SimulatedHost:
    """Make a host on which nothing was done yet; Docker is there, but not started."""
    host = SimulatedHost(clock or ManualClock())
    host.stop_docker()
    return host


def article_layout() -> SimulatedHost:
    """Make the article's pool: 95 % of the VG for data, 1 % for metadata; and dmeventd."""
    host = bare_host()
    host.add_vg("docker", extents=DISK_EXTENTS)
    spec = PoolSpec(data_bytes=968 * MIB, metadata_bytes=8 * MIB, chunk_bytes=512 * KIB)
    host.add_pool(POOL, spec)
    host.set_dmeventd(ALIVE)
    host.set_monitored(POOL)
    return host


def article_profile() -> SimulatedHost:
    """Attach the article's profile."""
    host = article_layout()
    host.set_profile(PROFILE, threshold=80, percent=20)
    host.attach_profile(POOL, PROFILE)
    return host


def article_docker() -> SimulatedHost:
    """Let Docker use the article's pool."""
    host = article_profile()
    host.add_docker_thin(POOL)
    host.fill(POOL, 279)
    host.set_docker(POOL)
    return host


def not_monitored() -> SimulatedHost:
    """Let dmeventd live, but not watch the pool."""
    host = article_profile()
    host.fill(POOL, 1)
    host.set_monitored(POOL, is_monitored=False)
    return host


def small(
    *, used_mib: int = 0, is_error_when_full: bool = True, clock: ManualClock | None = None
) -> SimulatedHost:
    """Make the recorder's small pool, with a volume of Docker's kind if it is used."""
    host = bare_host(clock)
    host.set_profile(PROFILE, threshold=80, percent=20)
    host.add_vg("docker", extents=DISK_EXTENTS)
    spec = PoolSpec(
        data_bytes=200 * MIB,
        metadata_bytes=4 * MIB,
        metadata_used_bytes=111 * BLOCK,
        profile=PROFILE,
        is_error_when_full=is_error_when_full,
    )
    host.add_pool(POOL, spec)
    if used_mib:
        host.add_docker_thin(POOL)
        host.fill(POOL, used_mib * MIB // (64 * KIB))
    return host


def above_threshold() -> SimulatedHost:
    """Fill the small pool to 85 %."""
    return small(used_mib=170, is_error_when_full=False)


def full_queueing() -> SimulatedHost:
    """Fill the small pool, which queues."""
    return small(used_mib=200, is_error_when_full=False)


def full_timed_out() -> SimulatedHost:
    """Let the queueing time out."""
    clock = ManualClock()
    host = small(used_mib=200, is_error_when_full=False, clock=clock)
    clock.now += 61
    return host


def full_error() -> SimulatedHost:
    """Fill the small pool, which fails writes."""
    return small(used_mib=200)


def suspended() -> SimulatedHost:
    """Suspend the pool's target."""
    host = above_threshold()
    host.suspend(POOL)
    return host


def inactive() -> SimulatedHost:
    """Take the pool down, by which dmeventd came up."""
    host = small()
    host.deactivate(POOL)
    host.set_dmeventd(ALIVE)
    return host


def profile_missing() -> SimulatedHost:
    """Delete the file of the attached profile."""
    host = small(used_mib=170)
    host.remove_profile(PROFILE)
    return host


def needs_check() -> SimulatedHost:
    """Let the kernel find the metadata damaged."""
    host = small(used_mib=20)
    host.set_needs_check(POOL)
    return host


def failed() -> SimulatedHost:
    """Let the kernel give the pool up."""
    host = small(used_mib=20)
    host.set_failed(POOL)
    return host


def metadata_above() -> SimulatedHost:
    """Fill the metadata beyond its threshold."""
    host = small()
    host.fill_metadata(POOL, 960)
    return host


def no_pools_in_vg() -> SimulatedHost:
    """Make a VG with an ordinary LV."""
    host = bare_host()
    host.add_vg("data", extents=DISK_EXTENTS)
    host.add_linear("data/plain", size_bytes=100 * MIB)
    return host


def article_vg() -> SimulatedHost:
    """Make an empty VG."""
    host = bare_host()
    host.add_vg("docker", extents=DISK_EXTENTS)
    return host


def lvm_thins() -> SimulatedHost:
    """Make LVM's own thin volumes."""
    host = small()
    for name, share in (("one", 1.0), ("two", 0.0)):
        host.add_thin(POOL, name, size_bytes=GIB, share=share)
    host.fill(POOL, 480)
    return host


def loop_lvm() -> SimulatedHost:
    """Run Docker as it comes out of the box."""
    host = bare_host()
    pool = PoolSpec(data_bytes=100 * GIB, metadata_bytes=2 * GIB, used_bytes=75 * MIB)
    host.add_loop_pool(LOOP_POOL, LoopPoolSpec(pool=pool, backing_bytes=11 * GIB))
    host.add_docker_thin(LOOP_POOL)
    host.set_docker(LOOP_POOL)
    return host


def partial_vg() -> SimulatedHost:
    """Take one of two disks away, on which the data of one pool was in part."""
    host = bare_host()
    host.add_vg("docker", extents=DISK_EXTENTS)
    host.vgextend("docker", DISK_EXTENTS)
    for name, size in (("thinpool", 1200 * MIB), ("safe", 100 * MIB)):
        host.set_profile(f"docker-{name}", threshold=80, percent=20)
        spec = PoolSpec(
            data_bytes=size,
            metadata_bytes=4 * MIB,
            profile=f"docker-{name}",
            is_error_when_full=True,
        )
        host.add_pool(f"docker/{name}", spec)
    host.vg("docker").pvs[0].is_missing = True
    return host


def docker_down() -> SimulatedHost:
    """End Docker on the article's pool."""
    host = article_profile()
    host.fill(POOL, 1)
    host.stop_docker()
    return host


def metadata_full() -> SimulatedHost:
    """Leave no space in the metadata."""
    host = small()
    host.fill_metadata(POOL, 1024)
    return host


def exported_vg() -> SimulatedHost:
    """Export the VG of the small pool, beside another VG."""
    host = two_vgs()
    host.deactivate(POOL)
    host.vg("docker").is_exported = True
    return host


def two_vgs() -> SimulatedHost:
    """Make a second VG, with dashes in every name."""
    host = small()
    host.add_vg("my-vg", extents=DISK_EXTENTS)
    host.set_profile("my--vg-my--pool", threshold=80, percent=20)
    host.set_profile("my-vg-my-pool", threshold=80, percent=20)
    host.set_profile("thin-performance", threshold=100, percent=20)
    spec = PoolSpec(
        data_bytes=100 * MIB,
        metadata_bytes=4 * MIB,
        profile="my-vg-my-pool",
        is_error_when_full=True,
    )
    host.add_pool("my-vg/my-pool", spec)
    host.add_thin("my-vg/my-pool", "my-volume", size_bytes=GIB, share=0)
    host.vg("docker").profile = "thin-performance"
    return host


HOSTS: dict[str, Callable[[], SimulatedHost]] = {
    "no_pools": bare_host,
    "article_profile": article_profile,
    "article_monitored": article_profile,
    "dmeventd_absent": article_profile,
    "article_pool": article_layout,
    **{
        host.__name__: host
        for host in (
            *(article_vg, article_docker, not_monitored, above_threshold, full_queueing),
            *(full_error, suspended, inactive, profile_missing, needs_check, failed),
            *(metadata_above, metadata_full, no_pools_in_vg, lvm_thins, loop_lvm),
            *(exported_vg, two_vgs, partial_vg, docker_down, full_timed_out),
        )
    },
}

# What is called otherwise on the recorder's host than on the simulated one.
NAMES = (
    (re.compile(r"/dev/mapper/(container1|docker-\S+-[0-9a-f]{64})"), "VOLUME"),
    (re.compile(r"/dev/sd[a-z]"), "DISK"),
    (re.compile(r"\w{6}(-\w{4}){5}-\w{6}"), "UUID"),
    # The recorder put an error target below the metadata: only there.
    (re.compile(r"  WARNING: Detected error segment type .*\n"), ""),
)
NUMBERS = (
    (re.compile(r"LVM-\w{64}"), "LVM-UUID"),
    (re.compile(r"docker-\d+:\d+-\d+"), "docker-PREFIX"),
    (re.compile(r"[0-9a-f]{64}"), "HASH"),
    (re.compile(r"(Configuration: +\./configure --build=).*"), r"\1"),
    (re.compile(r"\d+\.\d+(?=[kMGT]?B)"), "SIZE"),
    (re.compile(r"\d+"), "N"),
)


def without_names(text: str) -> str:
    """Leave out what is named by chance."""
    for pattern, word in NAMES:
        text = pattern.sub(word, text)
    return text


def shape_of_text(text: str) -> str:
    """Leave the words of a text."""
    text = without_names(text)
    for pattern, word in NUMBERS:
        text = pattern.sub(word, text)
    return text


def shape_of_value(value: str) -> str:
    """Leave of a field its kind; a flag, -1 and what is not there count as they are."""
    if value in {"", "-1", "0", "1"}:
        return value
    if re.fullmatch(r"\d+\.\d\d", value):
        return "PERCENT"
    return shape_of_text(value)


def shape_of_report(text: str) -> tuple[str, str, list[dict[str, str]]]:
    """Leave of a report its layout, its key, and each different kind of row.

    In the order in which they come, but for PVs: LVM lists them as it finds the disks.
    """
    (section,) = json.loads(text)["report"]
    ((key, rows),) = section.items()
    found: list[dict[str, str]] = []
    for row in rows:
        shape = {name: shape_of_value(value) for name, value in row.items()}
        if shape not in found:
            found.append(shape)
    if key == "pv":
        found.sort(key=json.dumps)
    frame = text.replace(text[text.find('{"') : text.rfind('"}') + 2], "ROWS") if rows else text
    return frame, key, found


def shape_of_docker(text: str) -> dict[str, Any]:
    """Leave of docker info what is read, with the driver's lines in order."""
    info = json.loads(text)
    return {
        "driver": info.get("Driver"),
        "status": [(key, _size_shape(value)) for key, value in info.get("DriverStatus") or ()],
        "root": info.get("DockerRootDir"),
        "errors": info.get("ServerErrors"),
        "warnings": [
            line for line in info.get("Warnings") or () if "bridge-nf-call" not in line
        ],
    }


def _size_shape(value: str) -> str:
    is_size = re.fullmatch(r"[\d.]+(e\+\d+)?[kMGT]?B", value)
    return "SIZE" if is_size else shape_of_text(value)


def run(host: SimulatedHost, argv: Sequence[str]) -> Output:
    """Run a reading command, whatever its end."""
    try:
        return host.run(argv, deadline_seconds=1)
    except CommandFailedError as error:
        return Output(
            argv=tuple(argv), status=error.status, stdout=error.stdout, stderr=error.stderr
        )


def compared(state: Recording) -> list[str]:
    """Name the commands that both hosts know."""
    return [name for name in state.commands if name.partition("-")[0] in COMPARED]


CASES = [
    (name, command)
    for name in HOSTS
    if (RELEASE / name).exists()
    for command in compared(Recording(RELEASE / name))
]


def test_every_state_was_recorded() -> None:
    """A state that is simulated here is one of a real host."""
    assert {name for name in HOSTS if not (RELEASE / name).exists()} == set()


@pytest.mark.parametrize(("name", "command"), CASES)
def test_answers_as_the_real_command(name: str, command: str) -> None:
    """Status, stderr and stdout are the real ones but for their numbers."""
    state = Recording(RELEASE / name)
    real = state.commands[command]

    simulated = run(HOSTS[name](), shlex.split(real.argv))

    assert simulated.status == real.status
    text = state.output(command)
    if command == "docker_info_json":
        assert shape_of_docker(simulated.stdout) == shape_of_docker(text)
    elif text.lstrip().startswith("{"):
        assert shape_of_report(simulated.stdout) == shape_of_report(text)
    else:
        assert shape_of_text(simulated.stdout) == shape_of_text(text)
    assert shape_of_text(simulated.stderr) == shape_of_text(state.output(command, "stderr"))


def shape_of_device(device: DmDevice) -> tuple[object, ...]:
    """Leave of a device what its kind and state decide, and of a pool its name."""
    is_foreign_thin = device.kind == "thin" and not device.uuid
    return (
        "" if is_foreign_thin else shape_of_text(device.name),
        shape_of_text(device.uuid),
        device.kind,
        device.is_suspended,
        shape_of_text(device.table),
        None if device.status is None else shape_of_text(device.status),
    )


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_has_the_devices_of_the_real_host(name: str) -> None:
    """Names, UUIDs, tables and statuses have the same form, down to their last space."""
    real = {shape_of_device(device) for device in Recording(RELEASE / name).devices()}

    simulated = {shape_of_device(device) for device in HOSTS[name]().devices()}

    assert simulated == real


# In the order in which they were recorded, one after another on the same pool.
EXTENDS = (
    *("same", "smaller", "metadata_same", "policy_below_threshold", "metadata"),
    *("metadata_smaller", "data", "both", "both_same", "data_metadata_same"),
    *("metadata_data_same", "metadata_rounded", "metadata_odd", "no_space_both"),
    *("no_such_vg", "no_such_lv"),
)


def extend(host: SimulatedHost, name: str) -> tuple[int, str, str]:
    """Run the recorded lvextend on the simulated host."""
    argv = Recording(RELEASE / f"lvextend_{name}").commands["lvextend"].argv
    output = host.start(shlex.split(argv), environment={}).wait(0)
    assert output is not None
    return output.status, output.stdout, without_names(output.stderr)


def recorded(name: str) -> tuple[int | None, str, str]:
    """Give what the real lvextend said."""
    state = Recording(RELEASE / f"lvextend_{name}")
    status = state.commands["lvextend"].status
    return status, state.output("lvextend"), without_names(state.output("lvextend", "stderr"))


def test_lvextend_says_what_the_real_one_says() -> None:
    """To the letter and to the extent, in a row of requests on one pool."""
    host = small()

    said = {name: extend(host, name) for name in EXTENDS}

    assert said == {name: recorded(name) for name in EXTENDS}
    host.fill(POOL, 220 * MIB // (64 * KIB))
    assert extend(host, "policy") == recorded("policy")


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("policy_profile_missing", profile_missing),
        ("profile_missing", profile_missing),
        ("policy_inactive", inactive),
        ("inactive", inactive),
        ("full", full_timed_out),
        ("policy_metadata", metadata_above),
        ("policy_failed", failed),
        ("failed", failed),
        ("needs_check", needs_check),
        ("exported_vg", exported_vg),
        ("partial_vg", partial_vg),
        ("metadata_full", metadata_full),
    ],
)
def test_lvextend_in_a_state_says_what_the_real_one_says(
    name: str, build: Callable[[], SimulatedHost]
) -> None:
    """To the letter, where the state of the pool or of its VG decides."""
    assert extend(build(), name) == recorded(name)
