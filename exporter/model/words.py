"""The closed sets of words: LVM's, the kernel's and the guard's own."""

from __future__ import annotations

from enum import Enum


class Text(str, Enum):
    """A closed set of words; prints as the word itself (StrEnum needs Python 3.11)."""

    __str__ = str.__str__


class PoolMode(Text):
    """Mode of a pool, in the words of the kernel's status line where it has one."""

    RW = "rw"
    RO = "ro"
    OUT_OF_DATA_SPACE = "out_of_data_space"
    FAILED = "failed"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"


class Device(Text):
    """Which of a pool's two devices a figure belongs to."""

    DATA = "data"
    METADATA = "metadata"


class PoolSource(Text):
    """Who owns a pool: LVM, or somebody who called device-mapper directly."""

    LVM = "lvm"
    DEVICE_MAPPER = "device_mapper"


class Collector(Text):
    """The sources, as `thinpool_collector_success` names them."""

    DEVICE_MAPPER = "device_mapper"
    LVM = "lvm"
    POLICY = "policy"
    DOCKER = "docker"


class Engine(Text):
    """Who keeps containers' data, as `thinpool_storage_root_info` names it."""

    DOCKER = "docker"
    CONTAINERD = "containerd"
    PODMAN = "podman"


class Content(Text):
    """What an engine keeps in a directory."""

    DATA = "data"
    IMAGES = "images"  # and the writable layers of containers
    VOLUMES = "volumes"


class Absence(Text):
    """Why there is no Docker to ask. This is wrong only if Docker is required."""

    NOT_INSTALLED = "not installed"
    NOT_RUNNING = "not running"
    PODMAN = "not installed: podman answers in its place"
    NERDCTL = "not installed: nerdctl answers in its place"


class GuardMode(Text):
    """What the guard may do; see design.md, "Growing a pool"."""

    AUTO = "auto"
    ALWAYS = "always"
    OBSERVE = "observe"
    OFF = "off"


class Reason(Text):
    """Why the guard acts on a pool, or does not: exactly one holds at a time."""

    BELOW_THRESHOLD = "below_threshold"
    EXTEND = "extend"
    EXTEND_CLAMPED = "extend_clamped"
    EXTEND_ANTICIPATED = "extend_anticipated"
    OBSERVE_ONLY = "observe_only"
    GUARD_OFF = "guard_off"
    DMEVENTD_MONITORS = "dmeventd_monitors"
    POLICY_OFF = "policy_off"
    POLICY_STEP_ZERO = "policy_step_zero"
    POLICY_UNKNOWN = "policy_unknown"
    PROFILE_MISSING = "profile_missing"
    USAGE_UNKNOWN = "usage_unknown"
    LAYOUT_UNKNOWN = "layout_unknown"
    LAYOUT_DIFFERS = "layout_differs"
    NOT_LVM = "not_lvm"
    INACTIVE = "inactive"
    SUSPENDED = "suspended"
    FAILED = "failed"
    NEEDS_CHECK = "needs_check"
    READ_ONLY = "read_only"
    LOCKED = "locked"
    NOT_WRITABLE = "not_writable"
    VG_EXPORTED = "vg_exported"
    VG_PARTIAL = "vg_partial"
    VG_SHARED = "vg_shared"
    VG_FOREIGN = "vg_foreign"
    NO_SPACE = "no_space"
    AT_MAX_SIZE = "at_max_size"
    AT_METADATA_LIMIT = "at_metadata_limit"
    BUSY = "busy"
    LATCHED_REFUSED = "latched_refused"
    LATCHED_INEFFECTIVE = "latched_ineffective"
    INTERNAL_ERROR = "internal_error"


class Failure(Text):
    """How an extension failed, for the failure counter."""

    REFUSED = "refused"
    INEFFECTIVE = "ineffective"
    STUCK = "stuck"
    UNREADABLE = "unreadable"
    INTERNAL_ERROR = "internal_error"


class Stage(Text):
    """What an exception was caught around, as `thinpool_guard_errors_total` names it."""

    CYCLE = "cycle"  # one round of the guard's loop, outside all that follows
    LIST_DEVICES = "list_devices"  # the kernel's list of devices
    POLL = "poll"  # the kernel's status of one pool
    DECIDE = "decide"  # the decision for one pool
    PREPARE = "prepare"  # having the next lvextend ready
    EXTEND = "extend"  # one extension
    READ_VG = "read_vg"  # reading one VG again
    SOURCE = "source"  # a collector
    REPORT = "report"  # what is published of one pool or one part
    PUBLISH = "publish"  # publishing a Snapshot
    STATE_FILE = "state_file"  # what a guard keeps through a restart
    HOOK = "hook"  # the user's command
    SCHEDULE = "schedule"  # the schedule of the collectors
    THREAD = "thread"  # a thread that could not be started, or met an exception
