"""The only place that changes the host: runs lvextend and verifies its effect.

lvextend gets absolute sizes, so that running it twice, or beside dmeventd, does no harm;
it is never killed, and its exit status is not believed: the kernel's totals are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial

from msgspec import Struct

from exporter.command import Output, Runner
from exporter.errors import HostError, quote
from exporter.manner import USUAL, Manner
from exporter.model import (
    MAX_METADATA_BYTES,
    METADATA_BLOCK_BYTES,
    Attempt,
    Decision,
    Device,
    Extension,
    Failure,
    Outcome,
    PoolStatus,
)


class Watch(Struct, frozen=True, kw_only=True):
    """How the caller follows an extension.

    `read_status` returns the pool's status, None where it is gone. `on_start` is called when
    lvextend runs. What follows lvextend happens inside `verifying`, and lvextend runs again
    only if it `may_repeat`.
    """

    read_status: Callable[[], PoolStatus | None]
    on_start: Callable[[], None] = lambda: None
    verifying: Callable[[], AbstractContextManager[None]] = nullcontext
    may_repeat: Callable[[], bool] = lambda: True


def argv_lvextend(
    lvm: str, pool_label: str, decision: Decision, *, manner: Manner = USUAL
) -> tuple[str, ...]:
    """Extend a pool's LVs to the decided sizes, in one command as LVM's own policy does.

    LVM extends and commits the metadata first. Naming its size also keeps LVM from
    choosing another one by itself.

    LVM waits until udev has handled each of its changes. That takes about as long as the rest
    of the command, and on a busy host longer (`python -m tests.bench udev`). Meanwhile nothing
    else can extend in the VG. Where no device is made, the wait is not needed: udev gets the
    same flags without it.
    Source: lvm2 2.02.98, 2.03.16 and 2.03.39, libdm/libdm-common.c, dm_task_set_cookie, and
    lib/metadata/lv_manip.c, lv_resize.
    """
    argv = [lvm, "lvextend", *manner.options]
    if decision.is_data_alone:
        argv.append("--noudevsync")
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
        self._choose_manner = manner
        self._manner = USUAL  # as it was chosen last: an extension reads no file
        # Whether commands that go by LVM's hints miss a disk of this VG.
        self.has_stale_hints: Callable[[str], bool] = lambda _: False
        self._lvm = lvm
        self.deadline_seconds = deadline_seconds
        self._clock = clock

    def extend(
        self, pool_label: str, decision: Decision, *, before: PoolStatus, watch: Watch
    ) -> Attempt:
        """Extend the pool and report what the kernel says of it afterwards.

        `before` is the status on which the decision rests. lvextend's end is waited for as long
        as it takes, because another one in the VG would only queue behind it.
        Refused where LVM cannot archive the VG, lvextend runs once more, without archive.
        Raises HostError when lvextend cannot be started or the pool cannot be read.
        """
        started = self._clock()
        manner = self._manner
        if self.has_stale_hints(pool_label.partition("/")[0]):
            manner = manner.without_hints()
        run = partial(self._run, pool_label, decision, on_start=watch.on_start)
        output = run(manner)
        with watch.verifying():
            after = _known(watch.read_status())
            outcomes = _outcomes(decision, before, after, output)
            is_archived = not all(map(_is_refused, outcomes)) or self._can_archive()
        is_archived = is_archived or not watch.may_repeat()
        if not is_archived:
            output = run(manner.without_archive())
            with watch.verifying():
                after = _known(watch.read_status())
            outcomes = _outcomes(decision, before, after, output)
        return Attempt(
            outcomes=outcomes,
            duration_seconds=self._clock() - started,
            exit_status=output.status,
            is_archived=is_archived,
            message=quote(output.stderr) or quote(output.stdout),
            status=after,
        )

    def keep_ready(self) -> None:
        """Have lvextend begin at once when it is next needed; costs nothing while it would."""
        self._manner = self._choose_manner()
        with suppress(HostError):  # then it begins as any command does
            self._runner.keep_ready(self._lvm, environment=self._manner.environment)

    def _run(
        self,
        pool_label: str,
        decision: Decision,
        manner: Manner,
        *,
        on_start: Callable[[], None],
    ) -> Output:
        argv = argv_lvextend(self._lvm, pool_label, decision, manner=manner)
        running = self._runner.start(argv, environment=manner.environment)
        on_start()
        while (output := running.wait(self.deadline_seconds)) is None:
            pass  # never killed; that it takes so long, the caller tells
        return output


def _known(status: PoolStatus | None) -> PoolStatus:
    if status is None or status.data is None or status.metadata is None:
        raise HostError("the pool's size cannot be read after lvextend")
    return status


def _outcomes(
    decision: Decision, before: PoolStatus, after: PoolStatus, output: Output
) -> tuple[Outcome, ...]:
    return tuple(
        _outcome(extension, before, after, output) for extension in decision.extensions
    )


def _is_refused(outcome: Outcome) -> bool:
    """Whether nothing at all has happened, as when LVM could not archive."""
    return outcome.failure is Failure.REFUSED and not outcome.has_grown


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
        usable = min(extension.size_bytes, MAX_METADATA_BYTES)
        return usable // METADATA_BLOCK_BYTES * METADATA_BLOCK_BYTES
    chunk = after.data.block_bytes if after.data else 1
    return extension.size_bytes // chunk * chunk
