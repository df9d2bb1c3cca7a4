"""The settings in, the parts' own options out: what each part takes from the configuration."""

from __future__ import annotations

from exporter import manner
from exporter.bulkhead import Bulkheads
from exporter.collection import Collection, HostAccess, Programs
from exporter.config import Settings
from exporter.events import Log
from exporter.extend import Extender
from exporter.guard import Clocks, PoolRule, Rules
from exporter.hooks import Hooks
from exporter.model import Collector


def programs(settings: Settings) -> Programs:
    """Take what the sources need from the settings."""
    return Programs(
        lvm=settings.commands.lvm,
        docker=settings.commands.docker,
        lvm_deadline_seconds=settings.collect.lvm_deadline_seconds,
        docker_deadline_seconds=settings.collect.docker_deadline_seconds,
        lvm_interval_seconds=settings.collect.lvm_interval_seconds,
        is_docker_required=settings.collect.require_docker,
    )


def rules(settings: Settings) -> Rules:
    """Take what the guard needs from the settings."""
    return Rules(
        mode=settings.guard.mode,
        reserve_bytes=settings.guard.reserve_bytes,
        takeover_after_seconds=settings.guard.takeover_after_seconds,
        anticipate=settings.guard.anticipate,
        horizon_seconds=settings.guard.horizon_seconds,
        interval_seconds=settings.guard.interval_seconds,
        pools={
            label: PoolRule(
                mode=pool.mode,
                max_size_bytes=pool.max_size_bytes,
                anticipate=pool.anticipate,
            )
            for label, pool in settings.pools.items()
        },
    )


def intervals(settings: Settings) -> dict[str, float]:
    """Take how often each source is to be read, in seconds by the collector's name."""
    collect = settings.collect
    seconds = {
        Collector.DEVICE_MAPPER: collect.lvm_interval_seconds,
        Collector.LVM: collect.lvm_interval_seconds,
        Collector.POLICY: collect.policy_interval_seconds,
        Collector.DOCKER: collect.docker_interval_seconds,
    }
    return {name.value: interval for name, interval in seconds.items()}


def make_extender(
    host: HostAccess, settings: Settings, collection: Collection, *, clocks: Clocks
) -> Extender:
    """Wire what changes the host."""
    extender = Extender(
        host.runner,
        settings.commands.lvm,
        deadline_seconds=settings.collect.extend_deadline_seconds,
        clock=clocks.monotonic,
        can_archive=lambda: host.can_archive(collection.programs.lvm_deadline_seconds),
        manner=lambda: manner.choose(
            collection.dialect,
            dmeventd=host.dmeventd,
            has_devices_of_dmeventd=host.has_devices_of_dmeventd(),
        ),
    )
    extender.has_stale_hints = collection.has_stale_hints
    return extender


def make_hooks(
    host: HostAccess,
    settings: Settings,
    *,
    clocks: Clocks,
    log: Log,
    bulkheads: Bulkheads,
) -> Hooks:
    """Wire the user's command."""
    return Hooks(
        host.runner,
        settings.hook.command,
        deadline_seconds=settings.hook.deadline_seconds,
        clock=clocks.monotonic,
        log=log,
        bulkheads=bulkheads,
    )
