"""Real hosts in every state: what we make of them, and whether the host itself agrees."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import msgspec
import pytest

from exporter import policy as judge
from exporter.devmapper import DmDevice
from exporter.model import Engine, PoolSource, ThinPool
from exporter.snapshot import build
from exporter.sources.docker import parse_info_json
from exporter.sources.http_answer import parse_answer
from tests.recordings.replay import Recording, recordings
from tests.vm.recipe import RELEASES

STATES = recordings()
EXTENDS = recordings("*/lvextend_*", has_host=False)
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
# In these states something cannot be read, and the program has to say so.
WITH_PROBLEMS = {"no_pools", "docker_down", "profile_missing", "vgs_of_one_name"}
# In these LVM itself says so beside its report; newer ones say less.
WITH_WARNINGS = {
    *("failed", "full_error", "full_queueing", "full_timed_out", "needs_check"),
    *("needs_check_extended", "partial_vg", "vgs_of_one_name"),
}
# In these the kernel does not use what LVM has committed, or has nothing in use.
UNHEALTHY = {"failed", "needs_check_extended"}
ROUNDING = 0.0101  # lvs prints two digits, and neither 0.00 nor 100.00 before it is true
POOL_LINE = re.compile(
    r"(?P<name>\S+): 0 (?P<length>\d+) thin-pool \d+ (?P<um>\d+)/(?P<tm>\d+) "
    r"(?P<ud>\d+)/(?P<td>\d+) (?P<root>\S+) (?P<mode>\w+) \w+ (?P<full>\w+) (?P<check>\S+)"
)


def every(state: Recording) -> str:
    """Name a test by its recording."""
    return state.name


all_states = pytest.mark.parametrize("state", STATES, ids=every)


def pools_of(state: Recording) -> tuple[ThinPool, ...]:
    """Read and merge as the program does."""
    readings, _ = state.readings()
    return build(readings, {}, taken_at=0).pools


def pool_lines(state: Recording) -> Iterator[re.Match[str]]:
    """Find the kernel's pools in the raw status, by an expression of our own."""
    for line in state.output("plain_dmsetup_status").splitlines():
        if match := POOL_LINE.match(line):
            yield match


@all_states
def test_reads_every_state(state: Recording) -> None:
    """Each state gives exactly the records kept beside it (UPDATE_GOLDEN=1 keeps new ones)."""
    golden = state.directory / "expected.json"
    readings, errors = state.readings()
    records = msgspec.json.decode(msgspec.json.encode({"readings": readings, "errors": errors}))
    # Times of this very reading.
    del records["readings"]["groups_read_at"], records["readings"]["is_list_old"]
    if readings.storage is None:  # recorded in a few states alone
        del records["readings"]["storage"]

    if UPDATE:
        golden.write_text(json.dumps(records, indent=1, sort_keys=True) + "\n")

    assert records == json.loads(golden.read_text())


@all_states
def test_the_ioctl_tells_what_dmsetup_tells(state: Recording) -> None:
    """The same devices, name by name and word by word."""

    def sorted_by_name(devices: tuple[DmDevice, ...]) -> list[DmDevice]:
        return sorted(devices, key=lambda device: device.name)

    by_ioctl = sorted_by_name(state.devices())

    assert by_ioctl == sorted_by_name(state.devices_by_dmsetup())


@all_states
def test_no_pool_of_the_kernel_is_overlooked(state: Recording) -> None:
    """Every thin-pool line of dmsetup is a pool of ours, with its counts."""
    pools = {pool.kernel.dm_name: pool for pool in pools_of(state) if pool.kernel}
    lines = state.output("plain_dmsetup_table").splitlines()

    assert set(pools) == {line.partition(": ")[0] for line in lines if " thin-pool " in line}
    for match in pool_lines(state):
        kernel = pools[match["name"]].kernel
        assert kernel is not None
        status = kernel.status
        assert status.data is not None
        assert status.metadata is not None
        assert (status.data.used_blocks, status.data.total_blocks) == (
            int(match["ud"]),
            int(match["td"]),
        )
        assert (status.metadata.used_blocks, status.metadata.total_blocks) == (
            int(match["um"]),
            int(match["tm"]),
        )
        assert status.mode == match["mode"]
        assert status.queue_if_no_space == (match["full"] == "queue_if_no_space")
        assert status.needs_check == (match["check"] == "needs_check")


@all_states
def test_lvm_rounds_what_the_kernel_counts(state: Recording) -> None:
    """LVM's percentages are the kernel's counts, rounded; unknown where they are unknown."""
    rows = {(row["vg_name"], row["lv_name"]): row for row in state.rows("lvs")}
    for pool in pools_of(state):
        row = rows.get((pool.vg_name, pool.name))
        if pool.kernel is None or row is None:
            continue
        for usage, field in ((pool.data, "data_percent"), (pool.metadata, "metadata_percent")):
            if usage is None:
                assert row[field] == ""
            else:
                percent = 100 * usage.used_blocks / usage.total_blocks
                assert abs(percent - float(row[field])) <= ROUNDING


@all_states
def test_pools_of_lvm_are_found_again_in_lvs(state: Recording) -> None:
    """By UUID, not by name: each live pool of LVM's is joined to its row, and only that."""
    names = {
        row["lv_name"]
        for row in state.rows("lvs")
        if row["segtype"] == "thin-pool" and row["lv_active_locally"] == "1"
    }
    joined = set()
    for pool in pools_of(state):
        if pool.kernel is None:
            continue
        is_lvm = pool.kernel.dm_uuid.startswith("LVM-")
        assert (pool.lvm is not None) == is_lvm
        assert (pool.source is PoolSource.LVM) == is_lvm
        if pool.lvm is not None:
            joined.add(pool.name)
    assert names <= joined


@all_states
def test_sizes_agree_wherever_all_is_well(state: Recording) -> None:
    """The kernel uses what LVM has committed, unless the state is one where it cannot."""
    for pool in pools_of(state):
        if pool.lvm is not None and pool.kernel is not None:
            assert judge.sizes_agree(pool) == (state.state not in UNHEALTHY)


@all_states
def test_complains_only_where_something_is_wrong(state: Recording) -> None:
    """A Problem is a fault of the host, and never one of ours."""
    readings, errors = state.readings()
    problems = build(readings, {}, taken_at=0).problems
    faults = [problem for problem in problems if problem.subject != "LVM"]
    warnings = [problem for problem in problems if problem.subject == "LVM"]

    assert bool(faults or errors) == (state.state in WITH_PROBLEMS), (problems, errors)
    assert not warnings or state.state in WITH_WARNINGS, warnings


@all_states
def test_monitoring_is_asked_only_of_a_live_dmeventd(state: Recording) -> None:
    """What was asked is read back for each visible pool; what was not is unknown."""
    readings, _ = state.readings()
    assert readings.lvm is not None
    if "monitoring" in state.commands and state.dmeventd().is_answering:
        expected = {
            f"{row['vg_name']}/{row['lv_name']}": row["seg_monitor"]
            for row in state.rows("monitoring")
        }
        assert readings.lvm.monitoring == expected
    else:
        assert readings.lvm.monitoring == {}


# What the release has no program for; of all else every release is recorded.
LACKS = {"trixie": {"loop_lvm", "article_docker", "docker_down", "storage_devicemapper"}}


RECORDED = sorted({state.directory.parent.name for state in STATES} & {*RELEASES})


@pytest.mark.parametrize("release", RECORDED)
def test_every_release_is_recorded_whole(release: str) -> None:
    """Each in the same states, and with each lvextend; and nothing was killed for time."""
    of_all = [*STATES, *EXTENDS]
    names = {found.state for found in of_all if found.directory.parent.name == "bookworm"}
    of_release = [found for found in of_all if found.directory.parent.name == release]

    assert {found.state for found in of_release} == names - LACKS.get(release, set())
    for found in of_release:
        killed = [name for name, command in found.commands.items() if command.status is None]
        assert not killed, (found.name, killed)


# What extend.py and its readers count on; asking twice must do no harm.
STATUSES = {
    "same": 5,
    "smaller": 5,
    "metadata_same": 0,
    "metadata_smaller": 5,
    "both_same": 0,
    "data": 0,
    "both": 0,
    "no_space": 5,
    "no_space_both": 5,  # the metadata has grown all the same
    "policy_no_space": 5,
    "policy_profile_missing": 0,  # and nothing was done
    "needs_check": 0,  # and the kernel did nothing
    "inactive": 0,
    "failed": 5,
    "partial_vg": 5,
    "exported_vg": 5,
}
# Others than 2.03.16 call it a failure that nothing was to be done. 2.03.11 does so before it
# looks at the data, which it then leaves as they are.
STATUSES_OF = {
    ("trixie", "both_same"): 5,
    ("bullseye", "both_same"): 5,
    ("bullseye", "metadata_same"): 5,
}


@pytest.mark.parametrize("extend", EXTENDS, ids=every)
def test_lvextend_ends_as_we_count_on(extend: Recording) -> None:
    """Its statuses are those that we know, and a refusal gives its reason on stderr."""
    status = extend.commands["lvextend"].status
    case = extend.state.removeprefix("lvextend_")

    known = STATUSES_OF.get((extend.directory.parent.name, case), STATUSES.get(case, status))
    assert status == known
    assert status is not None
    assert status == 0 or extend.output("lvextend", "stderr").strip()


def test_a_step_that_does_not_fit_leaves_the_metadata_grown() -> None:
    """LVM extends and commits the metadata before it looks for room for the data."""
    for extend in EXTENDS:
        if extend.state == "lvextend_no_space_both":
            assert "_tmeta changed from" in extend.output("lvextend")
            assert "_tdata changed from" not in extend.output("lvextend")


@pytest.mark.parametrize(
    "state", [state for state in STATES if "info_http10" in state.commands], ids=every
)
@pytest.mark.parametrize("asked", ["info_http10", "info_http11"])
def test_dockers_socket_tells_what_its_client_tells(state: Recording, asked: str) -> None:
    """In one piece to HTTP 1.0, in chunks to 1.1; at other moments, and yet the same."""
    raw = (state.directory / f"{asked}.stdout").read_bytes()
    answer = parse_answer(raw, is_over=True)
    assert answer is not None
    assert (b"chunked" in raw) == (asked == "info_http11")

    readings, _ = state.readings()
    assert parse_info_json(answer.text) == readings.docker


# The engines whose data is on the pool; that of the others is on none.
ON_THE_POOL = {
    "storage_thin": {Engine.DOCKER},
    "storage_linear": {Engine.CONTAINERD},
    "storage_devicemapper": {Engine.DOCKER},
}


@pytest.mark.parametrize(
    "state", [state for state in STATES if state.state in ON_THE_POOL], ids=every
)
def test_finds_the_pool_that_engines_data_is_on(state: Recording) -> None:
    """Docker's through the mount or by name, containerd's by name; or on none."""
    readings, _ = state.readings()

    snapshot = build(readings, {}, taken_at=0)

    pool = ("docker", "thinpool")
    for engine in (Engine.DOCKER, Engine.CONTAINERD):
        is_there = engine in ON_THE_POOL[state.state]
        assert snapshot.pools_of(engine) == ((pool,) if is_there else ())
    assert all(place.pools is not None for place in snapshot.storage)
