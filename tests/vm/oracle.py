"""The oracle's pools, and how its answers are held against ours.

`oracle_guest.py` runs in the guest and is started once for the whole campaign: a command
of LVM's costs up to half a second there, a session more.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path

import msgspec
from msgspec import structs

from exporter.model import METADATA_BLOCK_BYTES
from tests.vm.machine import Machine
from tests.vm.oracle_guest import Combination, Outcome, Pool, Round, Usage

SCRIPT = Path(__file__).with_name("oracle_guest.py")
REMOTE_SCRIPT = "/root/oracle_guest.py"
PYTHON = "/opt/thinpool-exporter/bin/python"
CAMPAIGN_SECONDS = 3600
# Every command of LVM's looks at every device.
LOOPS_ALONE = 'devices { filter = [ "a|^/dev/loop|", "r|.*|" ] }'
# What LVM refuses and we do not: less than the whole step where there is no more room.
CLAMPED = {"extend_clamped", "no_space"}

STEPS = ((80, 20), (50, 1), (70, 33))
AT, ABOVE = Usage(80), Usage(80, 1)

POOLS = (
    Pool(
        name="small",
        rounds=(
            Round(data=Usage(50), policies=((50, 20), (40, 20))),
            Round(data=Usage(50, 1), policies=((50, 1), (40, 20), (1, 100), (51, 20))),
            Round(data=Usage(75), policies=((75, 20), (74, 1))),
            Round(data=Usage(75, 1), policies=((75, 20),), real="lvm"),
            Round(data=AT, policies=((80, 20), (79, 20), (70, 1), (40, 33))),
            Round(
                data=ABOVE,
                metadata=Usage(75),
                policies=((80, 20), (75, 1), (99, 20), (100, 20), (80, 0), (100, 0)),
                real="ours",
            ),
            Round(data=Usage(99), policies=((99, 20), (98, 1), (95, 100)), real="lvm"),
            Round(data=Usage(100), policies=((99, 1), (95, 20), (50, 20)), real="ours"),
        ),
    ),
    Pool(
        name="metadata",
        rounds=(
            Round(metadata=Usage(75), policies=((80, 20), (70, 20), (74, 1))),
            Round(
                metadata=Usage(75, 1),
                policies=((80, 20), (99, 1)),
                free=(10, 6, 0, 200),
                real="lvm",
            ),
            Round(metadata=Usage(75, 1), policies=((95, 33),), real="ours"),
            Round(
                data=ABOVE,
                metadata=Usage(76),
                policies=((80, 20), (90, 33)),
                free=(61, 30, 300),
                real="lvm",
            ),
            Round(data=ABOVE, metadata=Usage(76), policies=((80, 33),), real="ours"),
        ),
    ),
    Pool(
        name="metadata of 18 MiB",
        extent="1m",
        extents=70,
        chunk="1m",
        metadata="18m",
        rounds=(
            Round(metadata=Usage(77), policies=((80, 20), (77, 20), (76, 20))),
            Round(metadata=Usage(77, 3), policies=((80, 20), (99, 5)), real="lvm"),
            Round(data=ABOVE, policies=((80, 20), (60, 20)), real="ours"),
        ),
    ),
    Pool(
        name="metadata follows data",
        extent="128k",
        extents=17000,
        devices=("12G",),
        rounds=(
            Round(
                data=Usage(50, 1),
                policies=((50, 1), (50, 20)),
                free=(177, 171, 40000),
                real="lvm",
            ),
            Round(data=Usage(50, 1), policies=((50, 20),), real="ours"),
        ),
    ),
    Pool(
        name="3 stripes longer than an extent",
        devices=("1028M", "1G", "1G"),  # 4 MiB for the metadata and its spare
        extent="256k",
        extents=96,
        chunk="192k",
        data_options=("-i", "3", "-I", "512k"),
        rounds=(
            Round(data=AT, policies=STEPS),
            Round(
                data=ABOVE,
                policies=STEPS,
                free=(26, 23, 5, 300),
                real="lvm",
            ),
            Round(data=ABOVE, policies=((80, 33),), real="ours"),
        ),
    ),
    Pool(
        name="2 stripes, extent no power of two",
        devices=("1032M", "1G"),
        extent="384k",
        extents=62,
        chunk="64k",
        metadata="4m",
        data_options=("-i", "2", "-I", "64k"),
        rounds=(
            Round(data=ABOVE, policies=STEPS, free=(14, 13, 300), real="lvm"),
            Round(
                data=ABOVE,
                metadata=Usage(75, 1),
                policies=((80, 20), (95, 20)),
                free=(30, 300),
                real="ours",
            ),
        ),
    ),
    Pool(
        name="raid1",
        devices=("1028M", "1G"),
        extent="128k",
        extents=41,
        chunk="128k",
        data_options=("--type", "raid1", "-m", "1", "--nosync"),
        rounds=(
            Round(data=ABOVE, policies=STEPS, free=(19, 300), real="lvm"),
            Round(data=ABOVE, policies=((80, 20),), real="ours"),
        ),
    ),
    Pool(
        name="chunks of 1 GiB",
        devices=("100G",),
        extent="32m",
        extents=650,
        chunk="1g",
        metadata="32m",
        rounds=(
            Round(data=AT, policies=((80, 20), (79, 20))),
            Round(data=ABOVE, policies=((80, 20), (85, 20), (84, 1)), real="lvm"),
            Round(data=Usage(95), policies=((80, 1), (95, 20), (94, 100)), real="ours"),
        ),
    ),
    Pool(
        name="3 extents",
        extent="4m",
        extents=3,
        chunk="256k",
        metadata="4m",
        rounds=(
            Round(
                data=ABOVE, policies=((80, 1), (80, 34), (50, 100)), free=(1, 50), real="lvm"
            ),
            Round(data=ABOVE, policies=((80, 34),), real="ours"),
        ),
    ),
)
MORE_POOLS = (
    Pool(
        name="raid5",
        devices=("1028M", "1G", "1G"),
        extent="128k",
        extents=40,
        chunk="128k",
        data_options=("--type", "raid5", "-i", "2", "--nosync"),
        rounds=(Round(data=ABOVE, policies=STEPS, free=(13, 12, 11, 300), real="lvm"),),
    ),
    Pool(
        name="raid10",
        devices=("1028M", "1G", "1G", "1G"),
        extent="128k",
        extents=40,
        chunk="128k",
        data_options=("--type", "raid10", "-i", "2", "-m", "1", "--nosync"),
        rounds=(Round(data=ABOVE, policies=STEPS, free=(18, 16, 300), real="lvm"),),
    ),
    Pool(
        name="metadata of 24 MiB",
        extent="512k",
        chunk="512k",
        metadata="24m",
        rounds=(
            Round(metadata=Usage(83), policies=((84, 20), (83, 20), (82, 20))),
            Round(metadata=Usage(83, 50), policies=((99, 20), (84, 20)), real="lvm"),
            Round(data=ABOVE, policies=((80, 20), (60, 20)), real="ours"),
        ),
    ),
)
MORE_POLICIES = tuple(product((40, 50, 70, 80, 95), (1, 33)))


def is_full() -> bool:
    """Whether the whole campaign is asked for (make oracle)."""
    return os.environ.get("THINPOOL_ORACLE") == "full"


def pools() -> tuple[Pool, ...]:
    """Choose the campaign's pools: those of every run, or all with more policies each."""
    if not is_full():
        return POOLS
    return tuple(_widened(pool) for pool in (*POOLS, *MORE_POOLS))


def _widened(pool: Pool) -> Pool:
    """Try each state with an extent more or less of free space, then more policies."""
    rounds = []
    for state in pool.rounds:
        *short, last = state.free
        around = {max(0, count + more) for count in short if count for more in (-1, 0, 1)}
        rounds.append(structs.replace(state, free=tuple(sorted(around)), real=""))
        policies = (*state.policies, *MORE_POLICIES)
        rounds.append(structs.replace(state, policies=policies, free=(last,)))
    return structs.replace(pool, rounds=tuple(rounds))


def run(machine: Machine, chosen: Sequence[Pool]) -> list[Combination]:
    """Run the campaign in the guest."""
    machine.put(SCRIPT, REMOTE_SCRIPT)
    machine.run(f"printf %s {shlex.quote(LOOPS_ALONE)} >> /etc/lvm/lvmlocal.conf")
    result = machine.run(
        (PYTHON, REMOTE_SCRIPT),
        stdin=msgspec.json.encode(chosen).decode(),
        timeout_seconds=CAMPAIGN_SECONDS,
    )
    lines = result.stdout.splitlines()
    return [msgspec.json.decode(line, type=Combination) for line in lines]


def differences(combinations: Iterable[Combination]) -> list[str]:
    """Describe every combination in which anything differs, one line each."""
    return [
        f"{describe(tried)}  {what}" for tried in combinations for what in _differences(tried)
    ]


def _differences(tried: Combination) -> Iterator[str]:
    accepted = tried.lvm.status == 0
    if accepted and not _agree(tried.decided, tried.lvm):
        yield "decided otherwise than LVM"
    if not accepted and tried.reason not in CLAMPED and tried.percent:
        yield f"LVM refuses: {tried.lvm.message.splitlines()[-1:]}"
    if tried.ours and (tried.ours.status or not _agree(tried.ours, tried.decided)):
        yield f"our lvextend does otherwise: {tried.ours.message.splitlines()[-1:]}"
    expected = tried.lvm if tried.real == "lvm" else tried.decided
    if tried.lvs and not _agree(tried.lvs, expected):
        yield f"carried out by {tried.real}, lvs says {_sizes(tried.lvs)}"
    if tried.kernel and not _agree(tried.kernel, _blocks(tried, expected)):
        yield f"carried out by {tried.real}, the kernel has blocks {_sizes(tried.kernel)}"


def _blocks(tried: Combination, extents: Outcome) -> Outcome:
    """Turn extents into what the kernel makes of them: whole chunks, metadata blocks."""
    data = extents.data * tried.extent_bytes // tried.chunk_bytes
    metadata = extents.metadata * tried.extent_bytes // METADATA_BLOCK_BYTES
    return Outcome(status=0, data=data, metadata=metadata)


def _agree(one: Outcome, other: Outcome) -> bool:
    return (one.data, one.metadata) == (other.data, other.metadata)


def describe(tried: Combination) -> str:
    """Tell one combination in a line of a table."""
    lvm = _sizes(tried.lvm) if tried.lvm.status == 0 else f"refused ({tried.lvm.status})"
    return (
        f"{tried.pool:32} {tried.threshold:3}/{tried.percent:<3} "
        f"data {tried.data_used}/{tried.data_total} "
        f"metadata {tried.metadata_used}/{tried.metadata_total} free {tried.free:<6} "
        f"extents {_sizes(tried.before)}  LVM {lvm}  we {_sizes(tried.decided)} "
        f"({tried.reason})"
    )


def _sizes(outcome: Outcome) -> str:
    return f"{outcome.data}+{outcome.metadata}"
