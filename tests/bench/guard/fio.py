"""The writer: fio in the guest, and what its report says of throughput, waits and errors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.vm.machine import Machine

MIB = 1024**2
DEADLINE_SECONDS = 300.0
SEQUENTIAL = ("--rw=write", "--ioengine=psync")
RANDOM = (
    *("--rw=randwrite", "--ioengine=libaio", "--iodepth=16", "--file_service_type=random"),
    *("--norandommap", "--randrepeat=0"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is written: whole MiBs in order, or small blocks all over the devices."""

    device: str  # or several, with colons between them
    mib: int
    rate_mib: float | None = None
    block: str = "1M"
    is_random: bool = False
    blocks_per_second: float | None = None
    count: int | None = None
    depth: int = 1  # writes under way at the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What came of it. A wait is one write's, from its submission to its end."""

    bytes: int
    seconds: float
    longest_wait_seconds: float
    error: int = 0  # of one write, which ends the writer; 28 is ENOSPC

    @property
    def has_failed(self) -> bool:
        """Whether a write failed."""
        return bool(self.error)

    @property
    def mib_per_second(self) -> float:
        """Throughput, waits included."""
        return self.bytes / MIB / self.seconds if self.seconds else 0.0


def argv_fio(job: Job) -> tuple[str, ...]:
    """Build fio's command line; direct; what is in order is written one by one, or `depth`."""
    argv = [
        *("fio", "--name=write", f"--filename={job.device}", f"--bs={job.block}"),
        *("--direct=1", "--output-format=json", f"--size={job.mib}M"),
        *(RANDOM if job.is_random else SEQUENTIAL),
    ]
    if job.depth > 1:
        argv += ["--ioengine=libaio", f"--iodepth={job.depth}"]
    if job.rate_mib is not None:
        argv.append(f"--rate={job.rate_mib * 1024:.0f}k")
    if job.blocks_per_second is not None:
        argv.append(f"--rate_iops={job.blocks_per_second:.0f}")
    if job.count is not None:
        argv.append(f"--number_ios={job.count}")
    return tuple(argv)


def write(machine: Machine, job: Job) -> Written:
    """Run the writer until it has ended, well or not."""
    argv = argv_fio(job)
    result = machine.run(argv, timeout_seconds=DEADLINE_SECONDS, check=False)
    return parse_report(result.stdout)


def parse_report(text: str) -> Written:
    """Read the report of a single job; an error of one write ends it."""
    report: dict[str, Any] = json.loads(text[text.index("{") :])
    (job,) = report["jobs"]
    side = job["write"]
    return Written(
        bytes=side["io_bytes"],
        seconds=side["runtime"] / 1000,
        # With the time until the kernel has taken the write, which grows while it queues.
        longest_wait_seconds=side["lat_ns"]["max"] / 1e9,
        error=job["error"],
    )
