"""Compare our arithmetic with LVM's own: `python oracle_guest.py < pools.json`, in the guest.

Makes each pool in a VG of its own on loop devices, brings it to each usage and each amount
of free space asked for, reads it with our sources, and for every policy asks LVM and
decides. Prints one JSON object a combination. Nothing here judges: that is test_oracle.py.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from exporter import autoextend, model
from exporter.command import HostRunner, Output
from exporter.devmapper import IoctlKernel
from exporter.extend import argv_lvextend
from exporter.manner import ENVIRONMENT
from exporter.model import Decision, Device, Policy, ThinPool, VolumeGroup
from exporter.policy import Limits, decide
from exporter.snapshot import Readings, build
from exporter.sources import device_mapper, lvm, policy

QUIET = ("-qq", "--config", "activation/monitoring=0")
# linux/dm-ioctl.h: struct dm_ioctl, then struct dm_target_msg {sector; message[]}
DM_TARGET_MSG = 0xC138FD0E
HEADER = struct.Struct("=3I I I I i I I I Q 128s 129s 7x")
FIRST_EMPTY_THIN = 100
WRITE_BYTES = 4096
DEADLINE_SECONDS = 60.0
CHANGED = re.compile(r"logical volume \S+_t(data|meta) changed from .* to .* \((\d+) extents\)")


class Usage(Struct, frozen=True, forbid_unknown_fields=True):
    """So many percent of an LV's blocks, rounded down, and so many blocks more."""

    percent: int
    more: int = 0

    def blocks(self, total: int) -> int:
        """Turn it into blocks."""
        return total * self.percent // 100 + self.more


class Round(Struct, frozen=True, forbid_unknown_fields=True):
    """One state of a pool, and the policies to try on it.

    `free` are amounts of free extents to leave in the VG (in one of several PVs: less, by
    what is no whole stripe); null leaves what there is.
    With `real`, the first policy is at last carried out: by "lvm" or by our own command.
    """

    policies: tuple[tuple[int, int], ...]
    data: Usage = Usage(0)
    metadata: Usage = Usage(0)
    free: tuple[int | None, ...] = (None,)
    real: str = ""


class Pool(Struct, frozen=True, forbid_unknown_fields=True):
    """A pool to make; sizes as LVM takes them, data in extents."""

    name: str
    rounds: tuple[Round, ...]
    extent: str = "64k"
    extents: int = 100
    chunk: str = "64k"
    metadata: str = "2m"
    devices: tuple[str, ...] = ("1G",)
    data_options: tuple[str, ...] = ()


class Outcome(Struct, frozen=True):
    """How an lvextend ended, and the extents that the LVs then have."""

    status: int
    data: int
    metadata: int
    message: str = ""


class Combination(Struct, frozen=True, kw_only=True):
    """One pool, state and policy: what LVM did, what we decided, what our command did."""

    pool: str
    lvm_version: tuple[int, int, int] | None
    threshold: int
    percent: int
    extent_bytes: int
    chunk_bytes: int
    data_used: int
    data_total: int
    metadata_used: int
    metadata_total: int
    stripes: int
    free: int
    before: Outcome
    lvm: Outcome
    reason: str
    decided: Outcome
    ours: Outcome | None = None
    # Carried out: by whom, LVM's account afterwards, and the kernel's in its own blocks.
    real: str = ""
    lvs: Outcome | None = None
    kernel: Outcome | None = None


class Reading(Struct, frozen=True, kw_only=True):
    """What our sources read of one pool."""

    pool: ThinPool
    group: VolumeGroup
    version: tuple[int, int, int] | None

    @property
    def extents(self) -> Outcome:
        """The sizes that LVM has on record."""
        assert self.pool.lvm is not None
        size = self.group.extent_bytes
        data, metadata = self.pool.lvm.size_bytes, self.pool.lvm.metadata_size_bytes
        return Outcome(status=0, data=data // size, metadata=metadata // size)


class Host:
    """The guest: runs LVM, reads with our sources."""

    def __init__(self) -> None:
        self._runner = HostRunner()
        self._kernel = IoctlKernel("/dev")
        self._version = policy.parse_version(self._run(("lvm", "version")).stdout)

    def _run(self, argv: Sequence[str]) -> Output:
        return self._runner.run(argv, deadline_seconds=DEADLINE_SECONDS)

    def read(self, vg: str) -> Reading:
        """Read one VG's pool as the exporter does."""
        layout = lvm.read_layout(self._run, "lvm", (vg,))
        kernel = device_mapper.read(self._kernel, lambda _: None)
        snapshot = build(Readings(lvm=layout, kernel=kernel), {}, taken_at=0.0)
        (pool,) = (pool for pool in snapshot.pools if pool.vg_name == vg)
        group = snapshot.volume_group(vg)
        assert group is not None
        return Reading(pool=pool, group=group, version=self._version)

    def usage(self, device_name: str) -> tuple[model.Usage, model.Usage]:
        """Read a pool's data and metadata usage from the kernel."""
        device = self._kernel.device(device_name)
        assert device is not None
        status = device_mapper.kernel_pool(device, lambda _: None).status
        assert status.data is not None
        assert status.metadata is not None
        return status.data, status.metadata


def shell(*argv: str) -> str:
    """Run a command that must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{argv}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def lvextend(before: Outcome, *options: str) -> Outcome:
    """Run an lvextend, as the guard runs it, and read the sizes that it reports."""
    argv = ("lvm", "lvextend", *options)
    environment = os.environ | dict(ENVIRONMENT) | {"LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    sizes = {name: int(extents) for name, extents in CHANGED.findall(done.stdout)}
    return Outcome(
        status=done.returncode,
        data=sizes.get("data", before.data),
        metadata=sizes.get("meta", before.metadata),
        message=done.stderr.strip(),
    )


def policy_options(threshold: int, percent: int) -> tuple[str, ...]:
    """Have LVM follow this policy."""
    keys = {
        "thin_pool_autoextend_threshold": threshold,
        "thin_pool_autoextend_percent": percent,
    }
    settings = " ".join(f"{key}={value}" for key, value in keys.items())
    return ("--use-policies", "--config", f"activation {{ {settings} }}")


class Subject:
    """One pool in its VG."""

    def __init__(self, host: Host, spec: Pool, number: int) -> None:
        self._host = host
        self.spec = spec
        self.vg = f"oracle{number}"
        self.label = f"{self.vg}/pool"
        self._device = f"{self.vg}-pool"
        self._thin = f"/dev/mapper/{self.vg}-thin"
        self._filler = 0
        self._empty_thins = 0
        self._tested: dict[tuple[str, ...], Outcome] = {}

    def make(self) -> None:
        """Make VG, pool and a thin device that LVM does not know."""
        sizes = enumerate(self.spec.devices)
        devices = [self._loop(number, size) for number, size in sizes]
        shell("vgcreate", "-qq", "-s", self.spec.extent, self.vg, *devices)
        size = ("-n", "pool", "-l", str(self.spec.extents))
        metadata = ("--poolmetadatasize", self.spec.metadata)
        thin = ("--type", "thin-pool", "-Zn", "-c", self.spec.chunk, *metadata)
        if self.spec.data_options:
            shell(
                "lvcreate", *QUIET, "-an", "-Zn", "-Wn", *size, *self.spec.data_options, self.vg
            )
            shell("lvconvert", *QUIET, "-y", *thin, self.label)
            shell("lvchange", *QUIET, "-ay", self.label)
        else:
            shell("lvcreate", *QUIET, *size, *thin, self.vg)
        self._message("create_thin 1")
        table = f"0 {2**36} thin /dev/mapper/{self._device} 1"
        shell("dmsetup", "create", f"{self.vg}-thin", "--table", table)

    def _loop(self, number: int, size: str) -> str:
        path = f"/var/tmp/{self.vg}-{number}"  # noqa: S108 - a machine that is thrown away
        shell("truncate", "-s", size, path)
        return shell("losetup", "--find", "--show", path)

    def _message(self, text: str) -> None:
        body = struct.pack("=Q", 0) + text.encode() + b"\0"
        name = self._device.encode()
        header = HEADER.pack(4, 0, 0, 1024, HEADER.size, 0, 0, 0, 0, 0, 0, name, b"")
        with Path("/dev/mapper/control").open("rb", buffering=0) as control:
            fcntl.ioctl(control, DM_TARGET_MSG, bytearray((header + body).ljust(1024, b"\0")))

    def use(self, state: Round) -> None:
        """Bring the pool's usage up to the state's; less than there is changes nothing."""
        data, metadata = self._host.usage(self._device)
        target = state.data.blocks(data.total_blocks)
        with closing(_Writer(self._thin)) as writer:
            for chunk in range(data.used_blocks, target):
                writer.touch(chunk * data.block_bytes)
        target = state.metadata.blocks(metadata.total_blocks)
        while self._host.usage(self._device)[1].used_blocks < target:
            self._message(f"create_thin {FIRST_EMPTY_THIN + self._empty_thins}")
            self._empty_thins += 1
        # With a flush, so that nothing is left to be counted later.
        shell("dmsetup", "status", self._device)

    def leave_free(self, extents: int | None) -> None:
        """Fill the VG with another LV until just so many extents are free."""
        if extents is None:
            return
        before = self._filler
        columns = ("--noheadings", "-o", "vg_free_count")
        wanted = before + int(shell("lvm", "vgs", *columns, self.vg)) - extents
        stripes = len(self.spec.devices)
        self._filler = -(-wanted // stripes) * stripes
        if before == self._filler:
            return
        if before:  # anew: LVM 2.03.31 reduces no LV that is inactive
            shell("lvremove", *QUIET, "-f", f"{self.vg}/filler")
        # From all PVs alike, or stripes find no room where there seems to be some.
        empty = ("-y", "-an", "-Zn", "-Wn", "-n", "filler")
        size = ("-l", str(self._filler))
        shell("lvcreate", *QUIET, *empty, "-i", str(stripes), *size, self.vg)

    def combinations(self) -> Iterator[Combination]:
        """Try every policy of every round."""
        for state in self.spec.rounds:
            self.use(state)
            for free in state.free:
                self.leave_free(free)
                reading = self._host.read(self.vg)
                self._tested.clear()
                first, *others = (self._try(reading, *policy) for policy in state.policies)
                yield from others
                if state.real and free == state.free[-1]:
                    first = self._carry_out(reading, first, state.real)
                yield first

    def _try(self, reading: Reading, threshold: int, percent: int) -> Combination:
        before = reading.extents
        decision = decided(reading, threshold, percent)
        options = policy_options(threshold, percent)
        ours = self._test_ours(before, decision) if decision.extensions else None
        return self._combination(
            reading,
            (threshold, percent),
            decision,
            lvm=lvextend(before, "--test", *options, self.label),
            ours=ours,
        )

    def _test_ours(self, before: Outcome, decision: Decision) -> Outcome:
        """Try our own command, once for each size and state of the VG."""
        options = self._our_options(decision)
        if options not in self._tested:
            self._tested[options] = lvextend(before, "--test", *options)
        return self._tested[options]

    def _our_options(self, decision: Decision) -> tuple[str, ...]:
        return argv_lvextend("lvm", self.label, decision)[2:]

    def _carry_out(self, reading: Reading, tried: Combination, by: str) -> Combination:
        """Let LVM or our own command really do what has been tried, and look."""
        if tried.lvm.status:
            return tried
        if by == "lvm":
            options = policy_options(tried.threshold, tried.percent)
            tried = structs.replace(tried, lvm=lvextend(reading.extents, *options, self.label))
        else:
            options = self._our_options(decided(reading, tried.threshold, tried.percent))
            tried = structs.replace(tried, ours=lvextend(reading.extents, *options))
        data, metadata = self._host.usage(self._device)
        blocks = Outcome(0, data.total_blocks, metadata.total_blocks)
        return structs.replace(
            tried, real=by, lvs=self._sizes(tried.extent_bytes), kernel=blocks
        )

    def _sizes(self, extent_bytes: int) -> Outcome:
        """Ask lvs for the pool's sizes, without our reader."""
        columns = (
            "--noheadings",
            "--units",
            "b",
            "--nosuffix",
            "-o",
            "lv_size,lv_metadata_size",
        )
        data, metadata = shell("lvm", "lvs", *columns, self.label).split()
        return Outcome(0, int(data) // extent_bytes, int(metadata) // extent_bytes)

    def _combination(
        self,
        reading: Reading,
        policy_percents: tuple[int, int],
        decision: Decision,
        *,
        lvm: Outcome,
        ours: Outcome | None,
    ) -> Combination:
        pool = reading.pool
        assert pool.data is not None
        assert pool.metadata is not None
        assert pool.lvm is not None
        return Combination(
            pool=self.spec.name,
            lvm_version=reading.version,
            threshold=policy_percents[0],
            percent=policy_percents[1],
            extent_bytes=reading.group.extent_bytes,
            chunk_bytes=pool.data.block_bytes,
            data_used=pool.data.used_blocks,
            data_total=pool.data.total_blocks,
            metadata_used=pool.metadata.used_blocks,
            metadata_total=pool.metadata.total_blocks,
            stripes=pool.lvm.data_stripes,
            free=reading.group.usable_free_extents,
            before=reading.extents,
            lvm=lvm,
            reason=decision.reason.value,
            decided=decided_extents(reading, decision),
            ours=ours,
        )


class _Writer:
    """Maps chunks of a thin device by one small write each."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR)

    def touch(self, offset: int) -> None:
        os.pwrite(self._file, bytes(WRITE_BYTES), offset)

    def close(self) -> None:
        os.fsync(self._file)
        os.close(self._file)


def decided(reading: Reading, threshold: int, percent: int) -> Decision:
    """Decide as the guard does where nothing limits it and nothing is in a hurry."""
    rule = Policy(threshold_percent=threshold, step_percent=percent)
    pool = structs.replace(reading.pool, policy=rule)
    return decide(pool, reading.group, Limits(), lvm_version=reading.version)


def decided_extents(reading: Reading, decision: Decision) -> Outcome:
    """Compute the sizes that a decision leads to.

    LVM raises the metadata with the data by itself when the command does not name it.
    """
    before = reading.extents
    sizes = {extension.device: extension.extents for extension in decision.extensions}
    metadata = before.metadata
    if Device.DATA in sizes:
        assert reading.pool.lvm is not None
        follows = autoextend.metadata_extents_for(
            sizes[Device.DATA],
            extent_bytes=reading.group.extent_bytes,
            chunk_bytes=reading.pool.lvm.chunk_bytes,
            rules=autoextend.rules_of(reading.version),
        )
        metadata = max(metadata, follows)
    return Outcome(
        status=0,
        data=sizes.get(Device.DATA, before.data),
        metadata=sizes.get(Device.METADATA, metadata),
    )


def main() -> None:
    """Read the pools from stdin, print the combinations."""
    pools = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Pool])
    subjects = [Subject(Host(), spec, number) for number, spec in enumerate(pools)]
    # All before the first is tried: while VGs come and go, a command of LVM's that runs
    # beside may for once not find its own.
    for subject in subjects:
        subject.make()
    # Two processors, and LVM locks one VG at a time.
    with ThreadPoolExecutor(max_workers=2) as workers:
        for combinations in workers.map(answers, subjects):
            sys.stdout.buffer.writelines(combinations)


def answers(subject: Subject) -> list[bytes]:
    """Try everything on one pool: a line for each combination."""
    return [msgspec.json.encode(tried) + b"\n" for tried in subject.combinations()]


if __name__ == "__main__":
    main()
