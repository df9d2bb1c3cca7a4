"""The only place that changes the host: runs lvextend and verifies its effect.

lvextend gets absolute sizes, so that running it twice, or beside dmeventd, does no harm;
it is never killed, and its exit status is not believed: the kernel's totals are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from exporter.command import Output, Runner
from exporter.errors import HostError
from exporter.manner import USUAL, Manner
from exporter.model import (
    METADATA_BLOCK_BYTES,
    Attempt,
    Decision,
    Device,
    Extension,
    Failure,
    Outcome,
    PoolStatus,
)

# Above this the kernel uses less of a metadata LV than its size says.
MAX_KERNEL_METADATA_BLOCKS = 33161216 // 8

ReadStatus = Callable[[], "PoolStatus | None"]


def argv_lvextend(
    lvm: str, pool_label: str, decision: Decision, *, manner: Manner = USUAL
) -> tuple[str, ...]:
    """Extend a pool's LVs to the decided sizes, in one command as LVM's own policy does.

    LVM extends and commits the metadata first. Naming its size also keeps LVM from
    choosing another one by itself.
    """
    argv = [lvm, "lvextend", *manner.options]
    for extension in decision.extensions:
        if extension.device is Device.DATA:
            argv += ["-l", str(extension.extents)]
        else:
            argv += ["--poolmetadatasize", f"{extension.size_bytes}b"]
    return (*argv, pool_label)


class Extender:
    """Runs lvextend for one pool at a time; the caller keeps it to one per VG."""

    def __init__(
        self,
        runner: Runner,
        lvm: str,
        *,
        deadline_seconds: float,
        clock: Callable[[], float],
        can_archive: Callable[[], bool] = lambda: True,
        manner: Callable[[], Manner] = lambda: USUAL,
    ) -> None:
        self._runner = runner
        self._can_archive = can_archive
        self._manner = manner
        self._lvm = lvm
        self.deadline_seconds = deadline_seconds
        self._clock = clock

    def extend(
        self,
        pool_label: str,
        decision: Decision,
        *,
        read_status: ReadStatus,
        on_stuck: Callable[[], None],
    ) -> Attempt:
        """Extend the pool and report what the kernel says of it afterwards.

        Refused where LVM cannot archive the VG, lvextend runs once more, without archive.
        At the deadline `on_stuck` is called, once; the wait goes on, because another
        lvextend in the same VG would only queue behind this one.
        Raises HostError when lvextend cannot be started or the pool cannot be read.
        """
        before = _status(read_status)
        started = self._clock()
        manner = self._manner()
        output = self._run(pool_label, decision, manner, on_stuck)
        outcomes = _outcomes(decision, before, _status(read_status), output)
        is_archived = not all(map(_is_refused, outcomes)) or self._can_archive()
        if not is_archived:
            output = self._run(pool_label, decision, manner.without_archive(), on_stuck)
            outcomes = _outcomes(decision, before, _status(read_status), output)
        return Attempt(
            outcomes=outcomes,
            duration_seconds=self._clock() - started,
            exit_status=output.status,
            is_archived=is_archived,
            message=(output.stderr.strip() or output.stdout.strip()),
        )

    def keep_ready(self) -> None:
        """Have lvextend begin at once when it is next needed; costs nothing while it would."""
        with contextlib.suppress(HostError):  # then it begins as any command does
            self._runner.keep_ready(self._lvm, environment=self._manner().environment)

    def _run(
        self,
        pool_label: str,
        decision: Decision,
        manner: Manner,
        on_stuck: Callable[[], None],
    ) -> Output:
        argv = argv_lvextend(self._lvm, pool_label, decision, manner=manner)
        running = self._runner.start(argv, environment=manner.environment)
        output = running.wait(self.deadline_seconds)
        if output is None:
            on_stuck()
        while output is None:
            output = running.wait(self.deadline_seconds)
        return output


def _status(read_status: ReadStatus) -> PoolStatus:
    status = read_status()
    if status is None or status.data is None or status.metadata is None:
        raise HostError("the pool's size cannot be read from the kernel")
    return status


def _outcomes(
    decision: Decision, before: PoolStatus, after: PoolStatus, output: Output
) -> tuple[Outcome, ...]:
    return tuple(
        _outcome(extension, before, after, output) for extension in decision.extensions
    )


def _is_refused(outcome: Outcome) -> bool:
    """Whether nothing at all has happened, as when LVM could not archive."""
    has_grown = outcome.after_bytes > outcome.before_bytes
    return outcome.failure is Failure.REFUSED and not has_grown


def _outcome(
    extension: Extension, before: PoolStatus, after: PoolStatus, output: Output
) -> Outcome:
    old, new = _total_bytes(before, extension.device), _total_bytes(after, extension.device)
    failure = None
    if new < _expected_bytes(extension, after):
        failure = Failure.REFUSED if output.status else Failure.INEFFECTIVE
    return Outcome(extension=extension, before_bytes=old, after_bytes=new, failure=failure)


def _total_bytes(status: PoolStatus, device: Device) -> int:
    usage = status.data if device is Device.DATA else status.metadata
    return usage.total_bytes if usage else 0


def _expected_bytes(extension: Extension, after: PoolStatus) -> int:
    """Compute the total that the kernel reports for an LV of the decided size."""
    if extension.device is Device.METADATA:
        blocks = min(extension.size_bytes // METADATA_BLOCK_BYTES, MAX_KERNEL_METADATA_BLOCKS)
        return blocks * METADATA_BLOCK_BYTES
    chunk = after.data.block_bytes if after.data else 1
    return extension.size_bytes // chunk * chunk
