"""What the guard decides and has done."""

from __future__ import annotations

from msgspec import Struct

from exporter.model.host import PoolStatus
from exporter.model.words import Device, Failure, GuardMode, Reason, Stage


class Extension(Struct, frozen=True, kw_only=True):
    """One LV that is to grow, to an absolute size so that a repetition does no harm.

    `wanted_extents` is what is asked for, `extents` what fits; `is_anticipated` that the
    policy itself would not have asked yet.
    """

    device: Device
    from_extents: int
    wanted_extents: int
    extents: int
    extent_bytes: int
    is_anticipated: bool = False

    @property
    def is_clamped(self) -> bool:
        """Whether the VG, the reserve or a limit gives less than the policy asks for."""
        return self.extents < self.wanted_extents

    @property
    def size_bytes(self) -> int:
        """The LV's size after the extension."""
        return self.extents * self.extent_bytes

    @property
    def wanted_bytes(self) -> int:
        """The LV's size if all that the policy asks for were possible."""
        return self.wanted_extents * self.extent_bytes

    @property
    def added_bytes(self) -> int:
        """What the extension adds."""
        return (self.extents - self.from_extents) * self.extent_bytes


class NextStep(Struct, frozen=True, kw_only=True):
    """What the policy will ask for at the next crossing, and what the VG could give now."""

    device: Device
    wanted_bytes: int
    possible_bytes: int


class Decision(Struct, frozen=True, kw_only=True):
    """What to do with one pool, and why. Metadata comes first in `extensions`."""

    reason: Reason
    extensions: tuple[Extension, ...] = ()
    detail: str = ""
    is_data_alone: bool = False  # LVM makes no device for it, and need not wait for udev

    @property
    def is_over_threshold(self) -> bool:
        """Whether LVM's own policy would extend the pool."""
        return any(not extension.is_anticipated for extension in self.extensions)


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one LV: the kernel's totals before and after, or why it failed."""

    extension: Extension
    before_bytes: int
    after_bytes: int
    failure: Failure | None = None

    @property
    def has_grown(self) -> bool:
        """Whether the kernel shows more than before."""
        return self.after_bytes > self.before_bytes


class Attempt(Struct, frozen=True, kw_only=True):
    """One lvextend, ended: its outcomes, how long it took, and what it said.

    `status` is the pool's afterwards.
    """

    outcomes: tuple[Outcome, ...]
    duration_seconds: float
    exit_status: int
    message: str
    status: PoolStatus | None = None
    # Where it could not, LVM has kept no copy of the VG's former metadata.
    is_archived: bool = True

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The LVs that did not grow as they should."""
        return tuple(outcome for outcome in self.outcomes if outcome.failure)


class PastExtension(Struct, frozen=True, kw_only=True):
    """One LV that the guard has extended, and when (seconds since the epoch)."""

    at: float
    device: Device
    before_bytes: int
    after_bytes: int
    is_clamped: bool = False
    is_anticipated: bool = False


class DeviceCounters(Struct, frozen=True, kw_only=True):
    """What the guard did to one device of one pool since it started."""

    extends: int = 0
    extended_bytes: int = 0
    failures: dict[Failure, int] = {}


class Filling(Struct, frozen=True, kw_only=True):
    """How fast a device fills, for how long it has, and when it will be full at that rate.

    `is_ongoing` is false when nothing has been gained lately: the burst is over.
    """

    bytes_per_second: float
    lasted_seconds: float
    seconds_until_full: float
    is_ongoing: bool = True


class PoolGuard(Struct, frozen=True, kw_only=True):
    """The guard's view of one pool."""

    mode: GuardMode
    is_responsible: bool
    reason: Reason
    detail: str = ""
    steps: tuple[NextStep, ...] = ()
    counters: dict[Device, DeviceCounters] = {}
    clamped_extends: int = 0
    anticipated_extends: int = 0
    takeovers: int = 0
    is_taken_over: bool = False  # although dmeventd monitors it
    unarchived_extends: int = 0
    attainable_bytes: dict[Device, int] = {}  # each device alone, with all that its VG can give
    last_extend_at: float | None = None
    last_extensions: tuple[PastExtension, ...] = ()  # the newest first
    filling: dict[Device, Filling] = {}  # of the devices that fill
    # While the pool is full and its writes wait: how long until the kernel fails them.
    queue_seconds_left: float | None = None


class Histogram(Struct, frozen=True, kw_only=True):
    """Durations in seconds: counts per upper bound (not cumulative; the last is +Inf)."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total_seconds: float = 0.0


class GuardNote(Struct, frozen=True, kw_only=True):
    """What a running guard says of itself; `pools` by `vg/pool`."""

    pid: int
    mode: GuardMode
    pools: dict[str, GuardMode] = {}


class ProcessFigures(Struct, frozen=True, kw_only=True):
    """What a process uses, from /proc: seconds, bytes, seconds since the epoch, descriptors."""

    cpu_seconds: float
    resident_bytes: int
    virtual_bytes: int
    started_at: float
    open_files: int
    max_files: int


class GuardReport(Struct, frozen=True, kw_only=True):
    """The guard as a whole; `pools` by the pool's label (`vg/pool`)."""

    last_cycle_at: float | None
    extend_durations: Histogram
    note: GuardNote
    pools: dict[str, PoolGuard] = {}
    errors: dict[Stage, int] = {}  # caught since the start
    process: ProcessFigures | None = None  # where another process serves this
    is_memory_locked: bool | None = None  # None: it need not be, since it may not extend
    hook_calls: dict[str, int] | None = None  # by outcome; None: no hook is configured
