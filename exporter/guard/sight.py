"""Polls the kernel for the status of every thin pool, and keeps how fast each fills.

It reads nothing else, and shares no lock with the collectors. Each device fails alone: its
error is counted, it is asked again after a back-off, and the other pools are read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from msgspec import structs

from exporter.bulkhead import Bulkheads
from exporter.devmapper import DmDevice, DmStatus, Kernel, status_of
from exporter.dm_names import split_dm_name
from exporter.errors import ParseError, quote
from exporter.fill import METADATA_QUIET_SECONDS, METADATA_WINDOWS_SECONDS, FillRate
from exporter.guard.backoff import NEVER, Backoff
from exporter.model import (
    UNKNOWN_STATUS,
    Device,
    Filling,
    KernelPool,
    KernelReading,
    PoolStatus,
    Problem,
    Stage,
    Usage,
)
from exporter.sources import device_mapper

# LVM makes a pool of a device that was another thing a moment ago, often with its name and
# number: after an event, every device that was no pool is looked at anew. Old kernels tell of
# no events.
DOUBT_SECONDS, EVENTLESS_SECONDS = 1.0, 30.0
# A status that is older is no longer current, unless the loop itself looks more seldom.
STATUS_LASTS_SECONDS, STATUS_LASTS_INTERVALS = 10.0, 5.0
# From one failed reading of a device to the next: doubled each time.
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.5, 5.0
# Each device that waits for a disk keeps a thread. Of a VG with so many none is asked any more
# until one of them answers.
MAX_MUTE_DEVICES = 8

T = TypeVar("T")


class OvertakenError(BaseException):
    """The kernel answered so late that another thread has taken over: this one must end.

    Not an Exception, because no bulkhead may stop it.
    """


class SeenPool:
    """One live pool: its last status, when that was read, and how fast its devices fill.

    Until its pause is chosen it is looked at every `pause_seconds`.
    """

    def __init__(
        self, pool: KernelPool, raw: DmStatus | None, now: float, pause_seconds: float = 1.0
    ) -> None:
        self.pool = pool
        self.read_at = now
        self.due_at = now
        self.pause_seconds = pause_seconds
        self._raw = raw
        self.backoff = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)
        self.filling: dict[Device, Filling] = {}
        self._held_until = NEVER
        self._is_known = False  # whether the rates have had their first reading
        self._rates = {
            Device.DATA: FillRate(),
            Device.METADATA: FillRate(
                METADATA_WINDOWS_SECONDS, quiet_seconds=METADATA_QUIET_SECONDS
            ),
        }

    def is_due(self, now: float) -> bool:
        """Return whether half its pause is over.

        Otherwise every pool with a pause of its own would wake the loop by itself.
        """
        return now + self.pause_seconds / 2 >= self.due_at

    def note_failure(self, now: float) -> None:
        """Wait before the next reading, longer after each failure in a row."""
        self.backoff.note_failure(now)
        self.due_at = max(self.due_at, self.backoff.retry_at)

    def take(self, raw: DmStatus, now: float) -> bool:
        """Take a reading; return whether it differs from the last one."""
        self.read_at = now
        self.backoff.reset()
        is_new = raw is not self._raw and raw != self._raw
        if not is_new and self._is_known and not self.filling:
            self._held_until = now  # an idle pool costs no arithmetic
            return False
        for rate in self._rates.values():
            rate.hold(self._held_until)
        if is_new:
            self._raw = raw
            self.pool = structs.replace(self.pool, status=_status(raw, self.pool))
        status = self.pool.status
        for device, usage in ((Device.DATA, status.data), (Device.METADATA, status.metadata)):
            if usage is not None:
                self._rates[device].add(now, usage.used_blocks)
        self.filling = self._filling()
        self._held_until, self._is_known = now, True
        return is_new

    def forget(self) -> None:
        """Drop the status, because it is no longer current."""
        self._raw, self.filling = None, {}
        self.pool = structs.replace(self.pool, status=UNKNOWN_STATUS)

    def bytes_per_second(self, device: Device) -> float:
        """How fast a device fills; 0 when it does not, or nobody can tell."""
        filling = self.filling.get(device)
        return filling.bytes_per_second if filling else 0.0

    def seconds_until_full(self, device: Device, *, at_least: float = 0.0) -> float:
        """Time until a device is full at its rate, or at `at_least` bytes a second."""
        usage = self._usage(device)
        rate = max(self.bytes_per_second(device), at_least)
        if usage is None or not rate:
            return float("inf")
        return (usage.total_bytes - usage.used_bytes) / rate

    def _filling(self) -> dict[Device, Filling]:
        found = {}
        for device, rate in self._rates.items():
            usage, present = self._usage(device), rate.present
            blocks = present.blocks_per_second
            if usage is not None and blocks > 0:
                found[device] = Filling(
                    bytes_per_second=blocks * usage.block_bytes,
                    lasted_seconds=present.lasted_seconds,
                    seconds_until_full=(usage.total_blocks - usage.used_blocks) / blocks,
                    is_ongoing=present.is_ongoing,
                )
        return found

    def is_same(self, raw: DmStatus) -> bool:
        """Whether this is still the device that was read, and not another of its name."""
        return (raw.uuid, raw.number) == (self.pool.dm_uuid, self.pool.device_number)

    def _usage(self, device: Device) -> Usage | None:
        status = self.pool.status
        return status.data if device is Device.DATA else status.metadata


class _Unread:
    """A device that could not be read, why not, and when it is asked again."""

    def __init__(self) -> None:
        self.why = ""
        self.backoff = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS)


class Sight:
    """The live pools by the name of their device."""

    def __init__(
        self, kernel: Kernel, clock: Callable[[], float], *, bulkheads: Bulkheads
    ) -> None:
        self._kernel = kernel
        self._clock = clock
        self._bulkheads = bulkheads
        self.interval_seconds = 1.0  # each pool is read once in this time at least
        self._names: dict[str, str] = {}
        self._is_in_doubt = False
        self._others_asked_at = NEVER
        self.pools: dict[str, SeenPool] = {}
        self.is_complete = False  # whether the devices have been listed at all
        self.looked_at = self.listed_at = NEVER
        # Devices whose status waits for a disk, as long as it does.
        self.mute: set[str] = set()
        # Devices that could not be read, so that nobody knows whether they are pools.
        self._unread: dict[str, _Unread] = {}
        self._asking: tuple[str, float] | None = None  # whom, and since when
        self._turn = 0
        self._turning = threading.Lock()

    def step_over(self, seconds: float) -> bool:
        """Go on without a device that is being asked for so long; for any thread.

        The kernel's status of a pool waits, in a sleep that nothing ends, for metadata that
        is being written to a disk that hangs. The thread that asks meets OvertakenError
        when it is answered, if it is; the caller has another one look at the others.
        """
        with self._turning:
            if self._asking is None or self._clock() < self._asking[1] + seconds:
                return False
            name, self._asking = self._asking[0], None
            self._turn += 1
            self.mute.add(name)
        if name in self.pools:
            self.pools[name].forget()
        return True

    def _ask(self, question: Callable[[str], T], name: str) -> T:
        turn, self._asking = self._turn, (name, self._clock())
        try:
            return question(name)
        finally:
            self._note_answer(name, turn)

    def _note_answer(self, name: str, turn: int) -> None:
        with self._turning:
            if turn == self._turn:
                self._asking = None
                return
            self.mute.discard(name)
        raise OvertakenError(name)

    def look(self, *, is_all: bool) -> list[SeenPool]:
        """Read the pools that are due, or all; return those whose status has changed.

        A device that is gone, or is another one under the same name, is found by
        `list_devices`. Raises OvertakenError.
        """
        now = self.looked_at = self._clock()
        changed = []
        for name, seen in tuple(self.pools.items()):
            if is_all or seen.is_due(now):
                seen.due_at = max(now + seen.pause_seconds, seen.backoff.retry_at)
                is_wanted = seen.backoff.is_over(now) and self._is_answering(name)
                if is_wanted and self._read(name, seen, now):
                    changed.append(seen)
            if self._is_outdated(seen, now):
                seen.forget()
                changed.append(seen)
        return changed

    def _is_answering(self, name: str) -> bool:
        """Return whether a device may be asked, which costs a thread if it does not answer."""
        mute = tuple(self.mute)
        if not mute or name in mute:
            return not mute
        group = _group_of(name)
        return sum(_group_of(other) == group for other in mute) < MAX_MUTE_DEVICES

    def _read(self, name: str, seen: SeenPool, now: float) -> bool:
        """Read one pool; return whether its status has changed."""
        is_new = False
        with self._bulkheads.contain(Stage.POLL, name):
            raw = self._ask(self._kernel.status, name)
            if raw is None or not seen.is_same(raw):
                self._names.pop(name, None)
                return False
            is_new = seen.take(raw, now)
            if seen.pool.status.is_known:
                self._bulkheads.is_over(Stage.POLL, name)
            elif is_new:
                raise ParseError(f"the status of {name}", raw.text)
            return is_new
        seen.note_failure(now)
        return is_new

    @property
    def lasts_seconds(self) -> float:
        """For how long a status is current."""
        return max(STATUS_LASTS_SECONDS, STATUS_LASTS_INTERVALS * self.interval_seconds)

    @property
    def is_list_old(self) -> bool:
        """Whether the kernel has not told for long which devices there are."""
        return self._clock() > self.listed_at + self.lasts_seconds

    def _is_outdated(self, seen: SeenPool, now: float) -> bool:
        return seen.pool.status.is_known and now > seen.read_at + self.lasts_seconds

    def pace(self, seen: SeenPool, seconds: float) -> None:
        """Look at this pool again so long after the last look."""
        seen.pause_seconds = seconds
        seen.due_at = self.looked_at + seconds

    def hurry(self, name: str) -> None:
        """Have a pool read at the next look; for any thread."""
        if seen := self.pools.get(name):
            seen.due_at = NEVER

    def due_times(self) -> list[float]:
        """When each pool is to be read next."""
        return [seen.due_at for seen in self.pools.values()]

    def list_devices(self, *, has_event: bool = False) -> bool:
        """Find pools that are new, renamed, made anew or gone; return whether there were any.

        If the kernel gives no list, everything stays as it is. Raises OvertakenError.
        """
        with self._bulkheads.contain(Stage.LIST_DEVICES):
            names = dict(self._kernel.names())
            self._bulkheads.is_over(Stage.LIST_DEVICES, "")
            return self._take_list(names, has_event=has_event)
        return False

    def _take_list(self, names: dict[str, str], *, has_event: bool) -> bool:
        before, unread_before = dict(self.pools), set(self._unread)
        for name in before:
            if name not in names or names[name] != self._names.get(name):
                del self.pools[name]
        unknown = [name for name, number in names.items() if self._names.get(name) != number]
        if self._is_due_to_ask_others(has_event=has_event):
            unknown = [name for name in names if name not in self.pools]
        for gone in self._unread.keys() - names.keys():
            del self._unread[gone]
        for name in unknown:
            if not self._is_read(name):
                del names[name]  # to be asked again
        self._names = names
        self.listed_at = self._clock()
        is_first, self.is_complete = not self.is_complete, True
        return is_first or before != self.pools or unread_before != set(self._unread)

    def _is_read(self, name: str) -> bool:
        """Find out what a device is; return whether that is known now."""
        unread = self._unread.get(name)
        if not self._is_answering(name):
            self._unread.setdefault(name, _Unread()).why = "waits for a disk"
            return False
        if unread and not unread.backoff.is_over(self._clock()):
            return False
        with self._bulkheads.contain(Stage.POLL, name) as bulkhead:
            device = self._ask(self._kernel.device, name)
            if device is not None and device.kind == "thin-pool":
                self._add(device)
            self._unread.pop(name, None)
            # Without a table it is being made: it is looked at again at its next event.
            return device is None or bool(device.kind)
        unread = self._unread.setdefault(name, _Unread())
        unread.why = quote(str(bulkhead.error))
        unread.backoff.note_failure(self._clock())
        return False

    def _is_due_to_ask_others(self, *, has_event: bool) -> bool:
        self._is_in_doubt |= has_event
        now = self._clock()
        wait = DOUBT_SECONDS if self._is_in_doubt else EVENTLESS_SECONDS
        if now < self._others_asked_at + wait:
            return False
        self._is_in_doubt, self._others_asked_at = False, now
        return True

    def kernel_pools(self) -> tuple[KernelPool, ...]:
        """Return every live pool as last read; safe in any thread."""
        return tuple(seen.pool for seen in tuple(self.pools.values()))

    def reading(self) -> KernelReading | None:
        """Return what the kernel has told so far; None before its first answer."""
        if not self.is_complete:
            return None
        unread = tuple(
            Problem(subject=name, message=unread.why)
            for name, unread in tuple(self._unread.items())
        )
        return KernelReading(pools=self.kernel_pools(), problems=unread)

    def read_times(self) -> dict[str, float]:
        """Return when each pool was last read, by its device; safe in any thread."""
        return {name: seen.read_at for name, seen in tuple(self.pools.items())}

    def _add(self, device: DmDevice) -> None:
        pool = device_mapper.kernel_pool(device, lambda _: None)
        self.pools[device.name] = SeenPool(
            pool, status_of(device), self._clock(), self.interval_seconds
        )


def _group_of(name: str) -> str:
    group, _ = split_dm_name(name) or ("", "")
    return group


def _status(raw: DmStatus, pool: KernelPool) -> PoolStatus:
    try:
        return device_mapper.pool_status(raw, pool.chunk_bytes)
    except ParseError:
        return UNKNOWN_STATUS
