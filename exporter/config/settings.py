"""What the configuration decides: frozen, with every default."""

from __future__ import annotations

from msgspec import Struct, field

from exporter.model import GuardMode


class GuardSettings(Struct, frozen=True, kw_only=True):
    """What the guard may do and how eagerly."""

    mode: GuardMode = GuardMode.AUTO
    reserve_bytes: int = 0
    takeover_after_seconds: float = 30.0
    anticipate: bool = True
    horizon_seconds: float = 10.0
    interval_seconds: float = 1.0


class CollectSettings(Struct, frozen=True, kw_only=True):
    """When each source is read, and how long an answer may take."""

    lvm_interval_seconds: float = 15.0
    policy_interval_seconds: float = 60.0
    docker_interval_seconds: float = 60.0
    lvm_deadline_seconds: float = 30.0
    docker_deadline_seconds: float = 10.0
    extend_deadline_seconds: float = 60.0
    top_volumes: int = 10
    require_docker: bool = False


class PoolSettings(Struct, frozen=True, kw_only=True):
    """What differs for one pool; None where nothing does."""

    max_size_bytes: int | None = None
    mode: GuardMode | None = None
    anticipate: bool | None = None


class Commands(Struct, frozen=True, kw_only=True):
    """Where the host's programs are."""

    lvm: str = "/sbin/lvm"
    docker: str = "/usr/bin/docker"


class HookSettings(Struct, frozen=True, kw_only=True):
    """The user's command; None where nothing is to be run."""

    command: str | None = None
    deadline_seconds: float = 60.0


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that the configuration decides; `pools` by `vg/pool`."""

    guard: GuardSettings = field(default_factory=GuardSettings)
    collect: CollectSettings = field(default_factory=CollectSettings)
    pools: dict[str, PoolSettings] = {}
    commands: Commands = field(default_factory=Commands)
    hook: HookSettings = field(default_factory=HookSettings)
