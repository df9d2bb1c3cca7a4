"""What the guard sees: every thin pool's status, straight from the kernel, and its rates.

It reads nothing else, and shares nothing with the collectors: no lock of theirs, and no
hung command, stands between a pool that fills and the guard that notices.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from msgspec import structs

from exporter.devmapper import DmDevice, DmStatus, Kernel, status_of
from exporter.errors import ParseError
from exporter.fill import METADATA_WINDOWS_SECONDS, FillRate
from exporter.model import Device, Filling, KernelPool, PoolMode, PoolStatus, Usage
from exporter.sources import device_mapper

NEVER = float("-inf")
# LVM makes a pool of a device that was another thing a moment ago, often with its name and
# number: after an event, every device that was no pool is looked at anew. Old kernels tell of
# no events.
DOUBT_SECONDS, EVENTLESS_SECONDS = 1.0, 30.0

T = TypeVar("T")


class OvertakenError(Exception):
    """The kernel has answered so late that another thread looks on: this one is to end."""


class SeenPool:
    """One live pool: its last status, and how fast its devices fill."""

    def __init__(self, pool: KernelPool, raw: DmStatus | None) -> None:
        self.pool = pool
        self.due_at = 0.0
        self.pause_seconds = 0.0
        self._raw = raw
        self.filling: dict[Device, Filling] = {}
        self._held_until = NEVER
        self._is_known = False  # whether the rates have had their first reading
        self._rates = {
            Device.DATA: FillRate(),
            Device.METADATA: FillRate(METADATA_WINDOWS_SECONDS),
        }

    def take(self, raw: DmStatus, now: float) -> bool:
        """Take a reading; whether it differs from the last one."""
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
        """Know nothing of it any more, until it is read again."""
        self._raw, self.filling = None, {}
        self.pool = structs.replace(self.pool, status=PoolStatus(mode=PoolMode.UNKNOWN))

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
            usage, (blocks, lasted_seconds) = self._usage(device), rate.present
            if usage is not None and blocks > 0:
                found[device] = Filling(
                    bytes_per_second=blocks * usage.block_bytes,
                    lasted_seconds=lasted_seconds,
                    seconds_until_full=(usage.total_blocks - usage.used_blocks) / blocks,
                )
        return found

    def is_same(self, raw: DmStatus) -> bool:
        """Whether this is still the device that was read, and not another of its name."""
        return (raw.uuid, raw.number) == (self.pool.dm_uuid, self.pool.device_number)

    def _usage(self, device: Device) -> Usage | None:
        status = self.pool.status
        return status.data if device is Device.DATA else status.metadata


class Sight:
    """The live pools by the name of their device."""

    def __init__(self, kernel: Kernel, clock: Callable[[], float]) -> None:
        self._kernel = kernel
        self._clock = clock
        self._names: dict[str, str] = {}
        self._is_in_doubt = False
        self._others_asked_at = NEVER
        self.pools: dict[str, SeenPool] = {}
        self.is_complete = False  # whether the devices have been listed at all
        self.looked_at = NEVER
        # Devices whose status waits for a disk, as long as it does.
        self.mute: set[str] = set()
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
        """Read the pools that are due, or all; returns those that have changed.

        One that will be due within half its pause is read as well: otherwise every pool
        with a pause of its own would wake the loop by itself. What is gone, or another
        under the same name, is found by `list_devices`.
        Raises KernelError, and OvertakenError.
        """
        now = self.looked_at = self._clock()
        changed = []
        for name, seen in self.pools.items():
            if not is_all and now + seen.pause_seconds / 2 < seen.due_at:
                continue
            seen.due_at = now + seen.pause_seconds
            if name in self.mute:
                continue
            raw = self._ask(self._kernel.status, name)
            if raw is None or not seen.is_same(raw):
                self._names.pop(name, None)
            elif seen.take(raw, now):
                changed.append(seen)
        return changed

    def pace(self, seen: SeenPool, seconds: float) -> None:
        """Look at this pool again so long after the last look."""
        seen.pause_seconds = seconds
        seen.due_at = self.looked_at + seconds

    def due_times(self) -> list[float]:
        """When each pool is to be read next."""
        return [seen.due_at for seen in self.pools.values()]

    def postpone(self, seconds: float) -> None:
        """Try again later: the kernel has not answered."""
        for seen in self.pools.values():
            seen.due_at = self._clock() + seconds

    def list_devices(self, *, has_event: bool = False) -> bool:
        """Find pools that are new, renamed, made anew or gone; whether there were any.

        Raises KernelError, and OvertakenError.
        """
        names = dict(self._kernel.names())
        before = dict(self.pools)
        for name in before:
            if name not in names or names[name] != self._names.get(name):
                del self.pools[name]
        unknown = [name for name, number in names.items() if self._names.get(name) != number]
        if self._is_due_to_ask_others(has_event=has_event):
            unknown = [name for name in names if name not in self.pools]
        for name in unknown:
            if name in self.mute:
                del names[name]  # to be found when it answers
                continue
            device = self._ask(self._kernel.device, name)
            if device and not device.kind:
                del names[name]  # being made: to be looked at again at its next event
            self._add(device)
        self._names = names
        is_first, self.is_complete = not self.is_complete, True
        return is_first or before != self.pools

    def _is_due_to_ask_others(self, *, has_event: bool) -> bool:
        self._is_in_doubt |= has_event
        now = self._clock()
        wait = DOUBT_SECONDS if self._is_in_doubt else EVENTLESS_SECONDS
        if now < self._others_asked_at + wait:
            return False
        self._is_in_doubt, self._others_asked_at = False, now
        return True

    def kernel_pools(self) -> tuple[KernelPool, ...]:
        """Every live pool as last read; safe in any thread."""
        return tuple(seen.pool for seen in tuple(self.pools.values()))

    def _add(self, device: DmDevice | None) -> None:
        if device is None or device.kind != "thin-pool":
            return
        try:
            pool = device_mapper.kernel_pool(device, lambda _: None)
        except ParseError:
            return  # the collector's slow reading says what is wrong with it
        self.pools[device.name] = SeenPool(pool, status_of(device))


def _status(raw: DmStatus, pool: KernelPool) -> PoolStatus:
    try:
        return device_mapper.pool_status(raw, pool.chunk_bytes)
    except ParseError:
        return PoolStatus(mode=PoolMode.UNKNOWN)
