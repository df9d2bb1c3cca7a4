"""The configuration file: Settings, or every fault at once."""

from exporter.config.load import load, parse
from exporter.config.settings import (
    CollectSettings,
    Commands,
    GuardSettings,
    HookSettings,
    PoolSettings,
    Settings,
)

__all__ = [
    "CollectSettings",
    "Commands",
    "GuardSettings",
    "HookSettings",
    "PoolSettings",
    "Settings",
    "load",
    "parse",
]
